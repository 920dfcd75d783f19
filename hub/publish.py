"""`hub publish FILE`: a file of CloudEvents in JSON lines, or of records by a mapping, through the gateway.

Sending is repeatable: the hub knows an event by its source and id, so a batch whose answer was lost is sent
again. What this side can't even read is handed to the hub's quarantine, so that nothing is lost between the
two.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, NamedTuple, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from connectors import archive, mapping
from connectors.mapping import Mapper, Mappers
from connectors.rows import BadHeader, Row, record_bytes_max
from hub.posting import Gateway, Rejected, Unreachable
from schemas import strict, topics
from schemas.cloudevents import event_bytes_max, source_of
from schemas.errors import Invalid, Problem

batch_events_max: Final = 250
batch_bytes_max: Final = 4 * 1024 * 1024
problems_shown_max: Final = 50
problems_kept_max: Final = 10_000


class Entry(NamedTuple):
    """One record of the file: its first line, the event's bytes as JSON, or why there are none."""

    line: int
    event: bytes | None
    problems: tuple[Problem, ...]
    original: bytes
    size: int
    row: Row | None = None

    def where(self, pointer: str) -> str:
        """Where in the file something is that an error's JSON Pointer names, if that is known."""
        return pointer if self.row is None else self.row.where(pointer)


@dataclass
class Tally:
    """What became of a file, so far."""

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    unreadable: int = 0
    skipped: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def note(self, line: int, problem: Problem, event: str | None = None) -> None:
        """Keep one problem for the report, while there is room."""
        if len(self.problems) < problems_kept_max:
            self.problems.append({"line": line, "id": event, **problem.as_json()})


def json_lines(stream: BinaryIO) -> Iterator[Entry]:
    """The events of a file with one CloudEvent in JSON a line. Blank lines are left out."""
    line = 0
    while raw := stream.readline(record_bytes_max):
        line += 1
        size = len(raw)
        if not raw.endswith(b"\n"):
            while more := stream.readline(65_536):  # past its bound: only the beginning is kept
                size += len(more)
        text = raw.removeprefix(b"\xef\xbb\xbf").strip() if line == 1 else raw.strip()
        if text:
            yield _entry(line, text, raw, size)


def _entry(line: int, text: bytes, raw: bytes, size: int) -> Entry:
    try:
        if size > event_bytes_max:
            strict.refuse("", "too-large", f"{size} bytes, an event has at most {event_bytes_max}")
        if not isinstance(strict.load(text), dict):
            strict.refuse("", "not-an-event", "an event is a JSON object")
    except Invalid as error:
        return Entry(line, None, error.problems, raw, size)
    return Entry(line, text, (), raw, size)


def records(stream: BinaryIO, mapper: Mapper | Mappers, agency: str) -> Iterator[Entry]:
    """The events of a file by a mapping. Raises `BadHeader`."""
    for row in archive.read(stream, mapper, source_of(agency)):
        event = None if row.event is None else json.dumps(row.event, separators=(",", ":")).encode("ascii")
        yield Entry(row.line, event, row.problems, row.original, row.size, row)


def send(entries: Iterator[Entry], gateway: Gateway, tally: Tally) -> Iterator[int]:
    """Send the entries in batches, in order; yields the bytes of the file that are done.

    Raises `Unreachable` when the hub stays away, `Rejected` when it does not take requests of this token.
    """
    batch: list[Entry] = []
    held = 0
    for entry in entries:
        tally.read += 1
        if entry.event is None:
            _set_aside(entry, gateway, tally)
            yield entry.size
            continue
        if batch and (len(batch) >= batch_events_max or held + len(entry.event) > batch_bytes_max):
            yield _send_batch(batch, gateway, tally)
            batch, held = [], 0
        batch.append(entry)
        held += len(entry.event)
    if batch:
        yield _send_batch(batch, gateway, tally)


def _send_batch(batch: list[Entry], gateway: Gateway, tally: Tally) -> int:
    results = gateway.events([entry.event or b"" for entry in batch])
    for entry, result in zip(batch, results, strict=True):
        if result["status"] == "accepted":
            tally.accepted += 1
            continue
        tally.rejected += 1
        for error in result["errors"]:
            problem = Problem(entry.where(error["path"]), error["code"], error["detail"])
            tally.note(entry.line, problem, result.get("id"))
    return sum(entry.size for entry in batch)


def _set_aside(entry: Entry, gateway: Gateway, tally: Tally) -> None:
    if not entry.problems:
        tally.skipped += 1
        return
    tally.unreadable += 1
    for problem in entry.problems:
        tally.note(entry.line, problem)
    first = entry.problems[0]
    gateway.quarantine(first if first.path else first._replace(path=f"line {entry.line}"), entry.original)


def publish(
    file: Annotated[
        Path, typer.Argument(help="JSON lines of CloudEvents; CSV, XML or a zip with --mapping; - is stdin.")
    ],
    mapping_name: Annotated[
        str | None, typer.Option("--mapping", help="A ready mapping's name, or a mapping file.")
    ] = None,
    agency: Annotated[
        str | None, typer.Option(envvar="HUB_AGENCY", help="Your organisation's id; needed with --mapping.")
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="HUB_TOKEN", help="Your bearer token.")] = None,
    url: Annotated[str, typer.Option(envvar="HUB_URL", help="Where the hub is.")] = "http://127.0.0.1:8080",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Send a file of events through the gateway.

    Exit status: 0 all accepted, 1 something was refused or the hub is away, 2 called wrongly.

    Example: hub publish CurrentLivingSituation.csv --mapping hmis-current-living-situation --agency reach
    """
    if not token:
        _stop("a token is needed: --token or HUB_TOKEN; `hub agency token ID` makes one")
    mapper: Mapper | Mappers | None = None
    if mapping_name is not None:
        try:
            mapper = mapping.load(mapping_name)
            agency = topics.stakeholder_id(agency or "")
        except Invalid as error:
            _stop("\n".join(f"{p.path or 'mapping'}: {p.detail}" for p in error.problems))
    tally = Tally()
    with ExitStack() as stack:
        try:
            stream = sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
        except OSError as error:
            _stop(f"cannot read the file: {error.strerror}")
        gateway = stack.enter_context(Gateway(url, token))
        entries = records(stream, mapper, agency or "") if mapper is not None else json_lines(stream)
        status = _run(entries, gateway, tally, _size(stream), quiet=as_json)
    if as_json:
        report = {"file": str(file), **vars(tally)}
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(tally)
    raise typer.Exit(status or (1 if tally.rejected or tally.unreadable else 0))


def _run(
    entries: Iterator[Entry],
    gateway: Gateway,
    tally: Tally,
    size: int | None,
    quiet: bool,
) -> int:
    """Send everything, with a progress bar on standard error. Out: the exit status so far."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), DownloadColumn())
    with Progress(*columns, console=console, disable=quiet) as progress:
        task = progress.add_task("Publishing", total=size)
        try:
            for done in send(entries, gateway, tally):
                progress.advance(task, done)
            progress.update(task, completed=size)
        except BadHeader as error:
            tally.unreadable += 1
            for problem in error.problems:
                tally.note(1, problem)
            gateway.quarantine(error.problems[0], error.original)
            return 1
        except Unreachable as error:
            console.print(
                f"The hub could not be reached: {error}. Run the same again; nothing is sent twice."
            )
            return 1
        except Rejected as error:
            console.print(f"The hub did not take this: {error}")
            return 2
    return 0


def _size(stream: BinaryIO) -> int | None:
    with suppress(OSError, ValueError):
        return os.fstat(stream.fileno()).st_size or None
    return None


def _show(tally: Tally) -> None:
    console = Console()
    if tally.problems:
        table = Table("Line", "Where", "Code", "Why", title="Refused, and kept in quarantine")
        for problem in tally.problems[:problems_shown_max]:
            where = str(problem["path"]).removeprefix(f"line {problem['line']}, ")
            table.add_row(str(problem["line"]), where, problem["code"], problem["detail"])
        console.print(table)
        left = len(tally.problems) - problems_shown_max
        if left > 0:
            console.print(f"and {left} more; --json shows them all")
    console.print(
        f"{tally.read} read: {tally.accepted} accepted, {tally.rejected} rejected, "
        f"{tally.unreadable} unreadable, {tally.skipped} left out by the mapping"
    )


def _stop(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)
