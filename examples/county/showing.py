"""Live progress of the play: on a terminal a line for each thing being done, elsewhere one for each scene."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

SCENES = {
    "weeks": "Six weeks of events, and what everybody agreed to",
    "taken-back": "Some take back what they gave",
    "opened": "Late consents, a court order, an emergency, late links, a referral on the sidewalk",
    "after": "A new day",
    "race": "Taken back in the very moment of publishing",
    "settled": "Until everything has come to rest",
}


class Showing:
    """The progress of one performance."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leaves the bars as they are."""
        self.bars.stop()

    def scene(self, name: str) -> None:
        """A scene begins."""
        self.tasks.clear()
        self.console.print(SCENES[name], style="bold")

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of one thing is done."""
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)
