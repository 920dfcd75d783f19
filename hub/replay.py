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

from consent import Governance, State
from consent.record import Placed
from consent.states import States
from hub import bootstrap, scan, settings
from hub.errors import OperatorError
from hub.ledger.reading import Topics
from schemas import codec, raw
from schemas.errors import HubError
from streams.decider import Decider

DIFFERENCES_MAX: Final = 100  # that are named; the others are counted
COMPILED_MAX: Final = 262_144
GOVERNANCES_MAX: Final = 32  # whose answers are remembered
COUNTED_MAX: Final = 4_096
SLICE_RECORDS: Final = 200_000  # between two words about how far it is


class HistoryDiffers(OperatorError):
    """Something was decided otherwise than the rule decides it."""


class Difference(NamedTuple):
    """One decision that does not come out again. `what` says how, without anything personal."""

    place: str
    decision: str
    what: str


class Replay:
    """One partition's decisions, in the order of the log.

    Directives are told first (`directive`), all of them, then decisions (`decision`).
    """

    def __init__(self, governance: Governance, partition: int) -> None:
        """In: governance as a fold of all its records."""
        self._governance = governance
        self._partition = partition
        self._directives: list[tuple[int, str, str, bytes]] = []
        self._next = 0
        self._states = States(COMPILED_MAX)
        self._applied = -1
        self._counted = 0
        self._deciders: dict[int, Decider] = {}

    def directive(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """One record of `consent`. Raises `BrokenRecord` for what the stages would have stopped at."""
        found = codec.directive(key, value)
        self._directives.append((offset, found["participant"], found["id"], found["body"]))

    def decision(self, offset: int, key: bytes | None, value: bytes | None) -> Difference | None:
        """One record of `decisions`; out: how it differs, None where it comes out the same."""
        place = f"decisions/{self._partition}@{offset}"
        try:
            found = raw.recorded(value or b"")
        except HubError as error:
            return Difference(place, "", f"it cannot be read: {error.detail}")
        if (wrong := self._unlike(key, found)) is not None:
            return Difference(place, found.id, wrong)
        try:
            what = self._judged(found)
        except HubError as error:
            what = f"it cannot be decided again: {error.detail}"
        return None if what is None else Difference(place, found.id, what)

    def _unlike(self, key: bytes | None, found: raw.Recorded) -> str | None:
        """What it says of itself that cannot be."""
        if key != found.cut.participant.encode():
            return "it stands under another key than its participant's"
        if found.partition != self._partition and found.cause == "first":
            return "its event stands in another partition"
        if found.governance_offset > self._governance.offset:
            return f"it was decided by governance at {found.governance_offset}, which is not in the log"
        if found.consent_offset > (self._directives[-1][0] if self._directives else -1):
            return f"it was decided by consent at {found.consent_offset}, which is not in the log"
        if found.cause == "first" and found.id != "d" + found.cut.id[1:]:
            return "its id is not that of its event"
        return None

    def _judged(self, found: raw.Recorded) -> str | None:
        state = self._state(found.cut.participant, found.consent_offset)
        decider = self._decider(found.governance_offset)
        rightly, _ = decider.decide(found.cut, found.at, state)
        self._counted += 1
        if self._counted >= COUNTED_MAX:  # what it counts for the stage's metrics is of no use here
            self._counted = 0
            for one in self._deciders.values():
                one.effects()
        return None if rightly == found.outcomes else _compared(found, rightly)

    def _state(self, participant: str, offset: int) -> State:
        """The participant's state when consent had been applied up to an offset."""
        if offset < self._applied:  # an earlier owner's last words: refolded for this participant alone
            return State([Placed(*one) for one in self._until(participant, offset)])
        directives, states = self._directives, self._states
        while self._next < len(directives) and directives[self._next][0] <= offset:
            place, who, name, body = directives[self._next]
            states.apply(who, place, body, name)
            self._next += 1
        self._applied = offset
        return states.get(participant)

    def _until(self, participant: str, offset: int) -> Iterator[tuple[int, str, Any]]:
        for place, who, name, body in self._directives:
            if place > offset:
                return
            if who == participant:
                yield place, name, json.loads(body)

    def _decider(self, offset: int) -> Decider:
        decider = self._deciders.get(offset)
        if decider is None:
            if len(self._deciders) >= GOVERNANCES_MAX:
                del self._deciders[next(iter(self._deciders))]
            decider = self._deciders[offset] = Decider(self._governance.at(offset))
        return decider


def _compared(found: raw.Recorded, outcomes: bytes) -> str | None:
    """Which outcome differs and in what; None where those who had it before were left out."""
    recorded, rightly = _outcomes(found.outcomes), _outcomes(outcomes)
    there = {one["subscription"]: one for one in recorded}
    if len(there) < len(recorded):
        return "it decides about a subscription twice"
    missing = [one for one in rightly if one["subscription"] not in there]
    if found.cause == "reconsider":
        decided = {one["stakeholder"] for one in recorded}
        missing = [one for one in missing if one["stakeholder"] in decided]
    if missing:
        return f"it does not decide about {missing[0]['subscription']}"
    expected = {one["subscription"]: one for one in rightly}
    for one in recorded:
        other = expected.get(one["subscription"])
        if other is None:
            return f"it decides about {one['subscription']}, which did not want it"
        for name, value in one.items():
            if other[name] != value:
                return f"{one['subscription']}: {name} is {_said(value)}, the rule says {_said(other[name])}"
    return None if found.cause == "reconsider" else "its outcomes stand in another order"


def _said(value: object) -> str:
    return ", ".join(value) or "nothing" if isinstance(value, list) else str(value)


_HEAD: Final = {
    "id": "d",
    "cause": "first",
    "event": {
        **dict.fromkeys(("source", "type", "category", "discloser", "id", "participant"), ""),
        "labels": [],
        "compartments": [],
        "occurred_at": 0,
        "admitted_at": 0,
        "consent_at_least": None,
    },
    "position": {"topic": "", "partition": 0, "offset": 0},
    "at": 0,
    "consent_offset": 0,
    "governance_offset": 0,
    "outcomes": [],
}


def _outcomes(array: bytes) -> list[dict[str, Any]]:
    """The outcomes in an array's bytes, decoded. Raises `BrokenRecord`."""
    found: list[dict[str, Any]] = codec.decode_as("Decision", _empty() + array)["outcomes"]
    return found


def _empty() -> bytes:
    """A decision up to its outcomes."""
    return codec.encode("Decision", _HEAD)[:-1]


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
