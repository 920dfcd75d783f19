"""`hub audit replay`: decides all history again from what was recorded, and compares.

A decision records the instant, the consent offset and the governance offset that it was made at; with the
event's envelope these are all of the rule's inputs. So everything that was ever decided can be decided again,
years later, by whoever has the log: what comes out must be the same bytes. What is not is named by its place.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from consent import Governance
from hub import bootstrap, scan, settings
from hub.again import Difference, Replay
from hub.errors import OperatorError
from hub.ledger.reading import Topics

DIFFERENCES_MAX: Final = 100  # that are named; the others are counted
SLICE_RECORDS: Final = 200_000  # between two words about how far it is


class HistoryDiffers(OperatorError):
    """Something was decided otherwise than the rule decides it."""


class Part(NamedTuple):
    """How far one partition is: decisions there are, and were compared; what differs, and how many do."""

    partition: int
    total: int
    compared: int
    differences: tuple[Difference, ...]
    differing: int


def replayed(
    client: Mapping[str, Any], governance: Sequence[tuple[int, dict[str, Any]]], partition: int
) -> Iterator[Part]:
    """Replays one partition, as far as the log went when it began; what is so far, every now and then.

    In: librdkafka settings, the records of `governance` with their offsets. Raises `Unavailable`.
    """
    compiled = Governance()
    for offset, record in governance:
        compiled.apply(offset, record)
    replay = Replay(compiled, partition)
    topics = Topics(client)
    total = topics.end("decisions", partition)
    for one in topics.read("consent", partition):
        replay.directive(*one)
    compared = differing = 0
    named: list[Difference] = []
    for one in topics.read("decisions", partition):
        found = replay.decision(*one)
        compared += 1
        if found is not None:
            differing += 1
            if len(named) < DIFFERENCES_MAX:
                named.append(found)
        if compared % SLICE_RECORDS == 0:
            yield Part(partition, max(total, compared), compared, tuple(named), differing)
    yield Part(partition, compared, compared, tuple(named), differing)


def _last(
    client: Mapping[str, Any],
    governance: Sequence[tuple[int, dict[str, Any]]],
    partition: int,
    told: scan.Told,
) -> Part:
    """Replays one partition in a process of its own; tells how far it is. Out: how it ended."""
    part = Part(partition, 0, 0, (), 0)
    for part in replayed(client, governance, partition):
        told(part.compared, part.total)
    return part


def everything(
    client: Mapping[str, Any],
    partitions: int,
    told: Callable[[int, int], None] = lambda compared, total: None,
    processes: int | None = None,
) -> list[Part]:
    """Replays every partition, several at once.

    In: what is told how many decisions were compared, of how many; at most as many processes as there are
    processors. Raises `Unavailable`, and `BrokenRecord` where governance or consent cannot be read.
    """
    work = partial(_last, dict(client), scan.governance(client))
    return sorted(scan.spread(work, partitions, told, processes))


def replay(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decide all history again from its recorded inputs, and compare. Exit 1 where something differs."""
    settled = settings.load()
    with bootstrap.bootstrap(settled) as hub:
        client = dict(hub.client)
    shown = (TextColumn("deciding again"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        parts = everything(
            client,
            settled.partitions,
            lambda compared, total: bar.update(task, completed=compared, total=total),
        )
    compared, differing = sum(one.compared for one in parts), sum(one.differing for one in parts)
    named = [one for part in parts for one in part.differences]
    if as_json:
        said = {"compared": compared, "differing": differing, "differences": [one._asdict() for one in named]}
        typer.echo(json.dumps(said))
    else:
        for one in named:
            typer.echo(f"{one.place} {one.decision}: {one.what}")
    if differing:
        raise HistoryDiffers(
            f"{differing:,} of {compared:,} decisions do not come out again",
            f"The first is at {named[0].place}.",
        )
    if not as_json:
        typer.echo(f"{compared:,} decisions come out again as they were recorded")
