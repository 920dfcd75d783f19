"""`hub request`: what participants ask for as of right, and by when it is due. Acts in the log."""

import json
import sys
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from hub import acts, bootstrap, deadlines, settings
from hub.bootstrap import Hub
from hub.requests import PAGE_MAX, TEXT_CHARS_MAX, Request
from schemas import instant

BY: Final = "operator"
TEXT_BYTES_MAX: Final = 4 * TEXT_CHARS_MAX

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="What participants ask for as of right, and by when it is due.",
    epilog="Example: hub request list",
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="The request, from `hub request list`.", show_default=False)]
Words = Annotated[
    Path | None,
    typer.Option("--words", help="A file with what is said, `-` for standard input; else it is asked for."),
]


@app.command(
    epilog="""Example: hub request add p-k2nm7p3q accounting --words letter.txt

What may be asked for, and by when it is answered: """
    + "; ".join(
        f"{kind} {of.days} days{f' and once {of.more_days} more' if of.more_days else ''} ({of.source})"
        for kind, of in deadlines.RIGHTS.items()
    )
)
def add(
    participant: Annotated[str, typer.Argument(help="The participant's id in the hub.", show_default=False)],
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(deadlines.RIGHTS)}.", show_default=False)],
    words: Annotated[
        Path | None, typer.Option("--words", help="A file with what they said, `-` for standard input.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write down what a participant asked for, today. Their words are sealed under their key."""
    if kind not in deadlines.RIGHTS:
        raise typer.BadParameter(f"expected one of {', '.join(deadlines.RIGHTS)}", param_hint="KIND")
    text = _said(words) if words is not None else ""
    with _hub() as hub:
        name = hub.requests.file(kind, participant, BY, text)
        _print(hub.requests.one(name), as_json)


@app.command("list", epilog="Example: hub request list --closed --json")
def list_(
    closed: Annotated[bool, typer.Option("--closed", help="Those that were closed, the last first.")] = False,
    participant: Annotated[str | None, typer.Option(help="Only this participant's, newest first.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on from here: `after` of the page before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many.")] = PAGE_MAX,
    as_json: AsJson = False,
) -> None:
    """Print open requests, what is due soonest first. Ends with 1 where one is overdue."""
    with _hub() as hub:
        if participant is None:
            found, more = hub.requests.queue("closed" if closed else "open", after, limit)
        else:
            found, more = [one for one in hub.requests.of(participant) if bool(one.outcome) is closed], None
        zone = hub.zone
    now = bootstrap.now_ms()
    late = [one for one in found if one.overdue(now)]
    if as_json:
        typer.echo(json.dumps({"requests": [_shown(one, now) for one in found], "after": more}))
    else:
        table = Table(Column("request", no_wrap=True), box=None)
        for name in ("asked for", "participant", "filed", "due", "state"):
            table.add_column(name, overflow="fold")
        for one in found:
            due = _day(one.due_at, zone) + (" OVERDUE" if one.overdue(now) else "")
            state = one.outcome or ("put off" if one.extended_at else "open")
            table.add_row(one.id, one.kind, one.participant, _day(one.filed_at, zone), due, state)
        Console().print(table)
        if not found:
            typer.echo("nothing waits" if not closed else "nothing was closed yet")
        if more:
            typer.echo(f"more: --after {more}")
    if late:
        raise typer.Exit(1)


@app.command(epilog="Example: hub request show r-k2nm7p3q --words")
def show(
    request: Id,
    words: Annotated[
        bool, typer.Option("--words", help="With what was written. That you read it is recorded.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print one request."""
    with _hub() as hub:
        one = hub.requests.one(request)
        said = _shown(one, bootstrap.now_ms())
        if words:
            acts.access(hub.appender, acts.REQUEST_READ, BY, {"about": request}, one.participant)
            said |= hub.requests.words(request)._asdict()
    if as_json:
        typer.echo(json.dumps(said))
        return
    for name, value in said.items():
        typer.echo(f"{name:<14} {'' if value is None else value}")


@app.command(epilog="Example: hub request extend r-k2nm7p3q --words reason.txt")
def extend(request: Id, words: Words = None, as_json: AsJson = False) -> None:
    """Put a request off, once and before it is due, for a reason that the participant is told."""
    _act(request, "extend", words, as_json)


@app.command(epilog="Example: hub request answer r-k2nm7p3q --words answer.txt")
def answer(request: Id, words: Words = None, as_json: AsJson = False) -> None:
    """Say that a request was fulfilled, and how; the participant is told."""
    _act(request, "answer", words, as_json)


@app.command(epilog="Example: hub request refuse r-k2nm7p3q --words reason.txt")
def refuse(request: Id, words: Words = None, as_json: AsJson = False) -> None:
    """Refuse a request, for a reason that the participant is told."""
    _act(request, "refuse", words, as_json)


def _act(request: str, what: str, words: Path | None, as_json: bool) -> None:
    text = _said(words)
    with _hub() as hub:
        act = {"extend": hub.requests.extend, "answer": hub.requests.answer, "refuse": hub.requests.refuse}
        _print(act[what](request, BY, text), as_json)


def _said(words: Path | None) -> str:
    """What is to be said. Never an argument: what stands there, others on this machine can read."""
    if words is None:
        return str(typer.prompt("What is the participant told", err=True))
    try:
        if str(words) == "-":
            data = sys.stdin.buffer.read(TEXT_BYTES_MAX + 1)
        else:
            with words.open("rb") as file:
                data = file.read(TEXT_BYTES_MAX + 1)
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(
            f"it cannot be read as text: {type(error).__name__}", param_hint="--words"
        ) from None


def _day(ms: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(ms / 1000, zone).date().isoformat()


def _shown(one: Request, now: int) -> dict[str, Any]:
    of = deadlines.RIGHTS.get(one.kind)
    return {
        "request": one.id,
        "kind": one.kind,
        "rule": of.source if of else None,
        "participant": one.participant,
        "state": one.outcome or "open",
        "filed": instant.format(one.filed_at),
        "filed_by": one.by,
        "due": instant.format(one.due_at),
        "overdue": one.overdue(now),
        "first_due": instant.format(one.first_due_at),
        "extended": instant.format(one.extended_at) if one.extended_at is not None else None,
        "extended_by": one.extended_by,
        "closed": instant.format(one.closed_at) if one.closed_at is not None else None,
        "closed_by": one.closed_by,
    }


def _print(one: Request, as_json: bool) -> None:
    said = _shown(one, bootstrap.now_ms())
    if as_json:
        typer.echo(json.dumps(said))
    elif one.outcome:
        typer.echo(f"{one.id}: {one.outcome}; written to the log")
    else:
        typer.echo(f"{one.id}: due {said['due']}; written to the log")


def _hub() -> Hub:
    return bootstrap.bootstrap(settings.load())
