"""The clock: tells when something that was recorded earlier starts or ends. A Faust app, at human rates.

Its table holds, for each participant, opaque ids and due times. What a decision waits for is told on `clock`,
what people are to be reminded of on `rings`: that a consent ends soon, and whatever somebody asked for on
`alarms`. Should it be told twice, after a crash between telling and forgetting, the two records are the same.
"""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from schemas import codec, instant
from schemas.bells import EXPIRES_SOON, FOR_PEOPLE
from schemas.calendar import days_before
from schemas.errors import BadTime
from schemas.topics import partition_of
from streams.timed import RAW, Timed

APP: Final = "faust"
TABLE: Final = "timers"
dues_max: Final = 1_000  # of one participant, for decisions; and as many for people

_log = structlog.get_logger()
_TIMES: Final = {
    "consent-granted": (
        "consent",
        (("signed_at", "signed"), ("starts_at", "starts"), ("expires_at", "expires")),
    ),
    "order-filed": ("order", (("starts_at", "starts"), ("expires_at", "expires"))),
    "emergency-declared": ("emergency", (("declared_at", "starts"), ("expires_at", "expires"))),
}


class Due(NamedTuple):
    """Something that falls due: `kind` such as `consent-starts`, an opaque id, epoch milliseconds."""

    kind: str
    ref: str
    due_at: int


def dues(directive: Mapping[str, Any]) -> list[Due]:
    """What a decoded `Directive` says about later times: those after it was recorded."""
    about = _TIMES.get(directive["type"])
    if about is None:
        return []
    noun, times = about
    body = json.loads(directive["body"])
    subject = body.get(noun)
    if not isinstance(subject, dict) or not isinstance(subject.get("id"), str):
        return []
    found = []
    for name, what in times:
        try:
            due_at = instant.parse(subject.get(name))  # type: ignore[arg-type]  # anything else is no time
        except BadTime:
            continue
        if due_at > directive["recorded_at"]:
            found.append(Due(f"{noun}-{what}", subject["id"], due_at))
    return found


def ahead(directive: Mapping[str, Any], days: Sequence[int], zone: tzinfo) -> list[Due]:
    """When people are to be told that the consent of a decoded `Directive` ends: so many days before.

    In: whole days, by the clocks of that zone. The ids are `<consent>/<days>`.
    """
    ends = [due for due in dues(directive) if due.kind == "consent-expires"]
    told = [
        Due(EXPIRES_SOON, f"{due.ref}/{count}", days_before(due.due_at, count, zone))
        for due in ends
        for count in days
    ]
    return [due for due in told if due.due_at > directive["recorded_at"]]


def changed(known: set[Due], alarm: Due) -> set[Due]:
    """What is due once an alarm was set: at its time and no other, or at none where that is 0."""
    others = {due for due in known if (due.kind, due.ref) != (alarm.kind, alarm.ref)}
    return others | {alarm} if alarm.due_at > 0 else others


def kept(known: set[Due]) -> list[Due]:
    """As much as there is room for, earliest first: reminders never take the place of decisions."""
    found = []
    for people in (False, True):
        some = sorted(
            (due for due in known if (due.kind in FOR_PEOPLE) == people), key=lambda due: due.due_at
        )
        found += some[:dues_max]
    return found


class Clock(Timed):
    """The app and its table.

    People are told so many `ahead_days` before that a consent ends, by the clocks of `zone`.
    """

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        instance_id: str,
        partitions: int,
        ahead_days: Sequence[int] = (),
        zone: tzinfo = UTC,
        **faust_settings: Any,
    ) -> None:
        reads = ("consent", "alarms")
        super().__init__(APP, reads, bootstrap, folder, instance_id, partitions, **faust_settings)
        self._ahead_days = tuple(ahead_days)
        self._zone = zone
        self._consent = self.app.topic("consent", **RAW)
        self._alarms = self.app.topic("alarms", **RAW)
        self._clock = self.app.topic("clock", **RAW)
        self._rings = self.app.topic("rings", **RAW)
        text: dict[str, Any] = {"key_type": str, "key_serializer": "raw", "value_serializer": "json"}
        self._table = self.app.Table(
            TABLE,
            default=list,
            partitions=partitions,
            changelog_topic=self.app.topic(TABLE, partitions=partitions, compacting=True, **text),
            key_type=str,
        )
        self.app.agent(self._consent, name="read")(self._read)
        self.app.agent(self._alarms, name="alarms")(self._read_alarms)

    async def _read(self, stream: Any) -> None:
        """Notes later times. A directive that cannot be read ends the app: it is the hub's own."""
        await self._take(stream, "consent", self._note)

    async def _read_alarms(self, stream: Any) -> None:
        """Notes what somebody is to be reminded of. One that cannot be read ends the app, too."""
        await self._take(stream, "alarms", self._note_alarm)

    def _note(self, value: bytes) -> None:
        directive = codec.decode_as("Directive", value)
        found = dues(directive) + ahead(directive, self._ahead_days, self._zone)
        if found:
            participant = directive["participant"]
            self._keep(participant, self._known(participant) | set(found))

    def _note_alarm(self, value: bytes) -> None:
        alarm = codec.decode_as("Clock", value)
        participant = alarm.pop("participant")
        known = self._known(participant)
        after = changed(known, Due(**alarm))
        if after != known:
            self._keep(participant, after)

    def _known(self, participant: str) -> set[Due]:
        return {Due(*one) for one in self._table.get(participant) or ()}

    def _keep(self, participant: str, known: set[Due]) -> None:
        left = kept(known)
        if len(left) < len(known):
            _log.warning("times dropped", dropped=len(known) - len(left))
        if left:
            self._table[participant] = [list(due) for due in left]
        else:
            self._table.pop(participant, None)

    async def turn(self) -> None:
        """Tells what has come due, then forgets it."""
        await self._tell(time.time_ns() // 1_000_000)

    async def _tell(self, now: int) -> None:
        for participant, entries in list(self._table.items()):
            due = [Due(*one) for one in entries if one[2] <= now]
            if not due:
                continue
            key = participant.encode()
            for one in due:
                value = codec.encode("Clock", {"participant": participant, **one._asdict()})
                topic = self._rings if one.kind in FOR_PEOPLE else self._clock
                sent = await topic.send(key=key, value=value, partition=partition_of(key, self._partitions))
                await sent
            told = set(due)  # while they were sent, others may have been noted
            self._keep(participant, self._known(participant) - told)
            _log.info("told", dues=len(due))
