"""The table at the end: a line for each stakeholder, and whether everything is accounted for."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from examples.county.comparison import Line

unexplained_shown_max = 20


def exact(lines: Mapping[str, Line]) -> bool:
    """Whether nothing at all is left unexplained."""
    return not any(line.unexplained for line in lines.values())


def table(lines: Mapping[str, Line], names: Mapping[str, str]) -> Table:
    """One line for each stakeholder; the totals below."""
    shown = Table(title="What was published, and what became of it", show_footer=True)
    total = {
        name: sum(getattr(line, name) for line in lines.values())
        for name in ("published", "permitted", "raced", "delivered", "withheld", "repeated")
    }
    shown.add_column("stakeholder", footer="all", no_wrap=True)
    for name in ("published", "permitted", "delivered"):
        shown.add_column(name, footer=str(total[name]), justify="right")
    shown.add_column(
        "denied", footer=str(sum(line.denied.total() for line in lines.values())), justify="right"
    )
    shown.add_column("why", overflow="fold")
    for name in ("raced", "withheld", "repeated"):
        shown.add_column(name, footer=str(total[name]), justify="right")
    unexplained = sum(len(line.unexplained) for line in lines.values())
    shown.add_column("unexplained", footer=str(unexplained), justify="right")
    for stakeholder, line in lines.items():
        why = ", ".join(f"{reason} {count}" for reason, count in line.denied.most_common())
        shown.add_row(
            names[stakeholder],
            str(line.published),
            str(line.permitted),
            str(line.delivered),
            str(line.denied.total()),
            why,
            str(line.raced),
            str(line.withheld),
            str(line.repeated),
            str(len(line.unexplained)),
            style="red" if line.unexplained else None,
        )
    return shown


def show(console: Console, lines: Mapping[str, Line], names: Mapping[str, str]) -> None:
    """Prints the table, what it means, and the first of whatever is unexplained."""
    console.print(table(lines, names))
    console.print(
        "published = permitted + denied + raced. What raced a revocation may go either way: "
        "withheld counts those that did not go. Repeated came twice under one idempotency key.",
        style="dim",
    )
    strange = [f"{names[who]}: {what}" for who, line in lines.items() for what in line.unexplained]
    for what in strange[:unexplained_shown_max]:
        console.print(f"  unexplained at {what}", style="red", markup=False)
    if strange:
        console.print(f"{len(strange)} deliveries are not what the consents allow.", style="bold red")
    else:
        console.print("What was delivered is exactly what the consents allow.", style="bold green")
