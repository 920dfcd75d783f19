"""`hub audit as-of`: who could have received what at a moment, and what something else would change."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from consent import Policy
from hub import acts, bootstrap, settings
from hub.receivable import Count, Found, Key, Line, Supposed, everything
from schemas import instant
from schemas.errors import BadTime, Invalid

BY: Final = "operator"
ASKED: Final = "as-of-asked"
LISTS: Final = ("categories", "purposes", "compartments", "matrix")  # without which nothing is permitted
POLICY_BYTES_MAX: Final = 4 * 1024 * 1024


def command(
    when: Annotated[str, typer.Argument(metavar="TIME", help="RFC 3339 with an offset.", show_default=False)],
    policy: Annotated[
        Path | None, typer.Option("--policy", help="What would change under the policy in this file.")
    ] = None,
    without: Annotated[
        str | None, typer.Option("--without", help="What would change without this consent.")
    ] = None,
    participant: Annotated[
        str | None, typer.Option("--participant", help="List this participant's events instead of counting.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Who could have received what at a moment: decided again from what had been recorded by then.

    Counts people and events for each recipient, purpose and kind of event; with --policy or --without besides
    what would change. That you asked is recorded.
    """
    try:
        at = instant.parse(when)
    except BadTime as error:
        raise typer.BadParameter(error.detail, param_hint="TIME") from None
    supposed = Supposed(_policy(policy) if policy is not None else None, without)
    settled = settings.load()
    with bootstrap.bootstrap(settled) as hub:
        body = {"at": when, "policy": policy is not None, "without": without}
        acts.access(hub.appender, ASKED, BY, body, participant)
        client = dict(hub.client)
    shown = (TextColumn("deciding again"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        found = everything(
            client,
            settled.partitions,
            at,
            supposed,
            participant,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        typer.echo(json.dumps(as_json_value(found, at, supposed, participant)))
    elif participant is not None:
        _print_lines(found.lines, supposed)
    else:
        _print_counts(found.counts, supposed)


def as_json_value(found: Found, at: int, supposed: Supposed, participant: str | None) -> dict[str, Any]:
    """As programs read it: the other case's numbers only where there is one."""
    said: dict[str, Any] = {"at": instant.format(at)}
    if participant is not None:
        lines = [one._asdict() | {"occurred_at": instant.format(one.occurred_at)} for one in found.lines]
        return said | {"participant": participant, "events": [_apart(one, supposed) for one in lines]}
    names = ("stakeholder", "purpose", "category")
    rows = [dict(zip(names, key, strict=True)) | one._asdict() for key, one in found.counts.items()]
    return said | {"could_receive": [_apart(row, supposed) for row in rows]}


def _apart(row: dict[str, Any], supposed: Supposed) -> dict[str, Any]:
    if supposed:
        return row
    return {
        name: value
        for name, value in row.items()
        if name not in ("gained", "lost") and not name.startswith("other_")
    }


def _print_counts(counts: Mapping[Key, Count], supposed: Supposed) -> None:
    table = Table("who", "for what", "kind of event", "people", "events", box=None)
    if supposed:
        for name in ("people then", "events then", "only then", "no longer"):
            table.add_column(name)
    for key, one in counts.items():
        table.add_row(*key, *(f"{number:,}" for number in (one if supposed else one[:2])))
    Console().print(table)
    if not counts:
        typer.echo("nobody could have received anything")


def _print_lines(lines: Sequence[Line], supposed: Supposed) -> None:
    table = Table("event", "kind of event", "who", "for what", "shared", "reason", box=None)
    if supposed:
        table.add_column("then")
    for one in lines:
        cells = [one.event, one.category, one.stakeholder, one.purpose]
        cells += ["yes" if one.effect == "permit" else "no", one.reason]
        if supposed:
            same = (one.other_effect, one.other_reason) == (one.effect, one.reason)
            cells.append(
                "the same" if same else f"{one.other_effect or 'not asked'} {one.other_reason or ''}"
            )
        table.add_row(*cells)
    Console().print(table)
    if not lines:
        typer.echo("nothing about this participant had been decided by then")


def _policy(path: Path) -> Mapping[str, Any]:
    """A policy from its file. Raises `typer.BadParameter` for what is none."""
    try:
        with path.open("rb") as file:
            read = json.loads(file.read(POLICY_BYTES_MAX))
        if not isinstance(read, Mapping):
            raise Invalid.one("", "wrong-type", "expected an object")
        for name in LISTS:
            if not isinstance(read.get(name), list) or not read[name]:
                raise Invalid.one(f"/{name}", "missing", f"it has no `{name}`")
        Policy.of(read)
    except (OSError, ValueError, RecursionError, Invalid) as error:
        why = error.detail if isinstance(error, Invalid) else type(error).__name__
        raise typer.BadParameter(f"it is no policy: {why}", param_hint="--policy") from None
    return read
