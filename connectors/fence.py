"""When a narrowing is final: what `deliveries` says about all who could still be acting on older consent.

An owner acknowledges, in the partition of its intents and only after a transaction of its own was accepted
there, how far it has applied consent and governance. `closed` is said when each outbox concerned has an
acknowledgement at or past the narrowing and no older intent on what was taken back is without its receipt. An
intent that stays without one past the send deadline is in doubt: it is listed, and never ruled away by age.

`Fence` is a pure fold over the records; `connectors.follower` feeds it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Final, Literal, NamedTuple

open_intents_max: Final = 200_000  # per process; past it nothing is called closed any more
CLASS: Final = "class:"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What was taken back, and where it stands in the log.

    Either `partition` and `consent_offset` (a participant's directive) or `governance_offset` (a change for
    all) is given. None in the other fields means no bound: all recipients, all consents, everybody.
    """

    partition: int | None = None
    consent_offset: int | None = None
    governance_offset: int | None = None
    participant: str | None = None
    recipients: frozenset[str] | None = None
    consent: str | None = None
    grants: frozenset[str] = frozenset()

    @classmethod
    def of_directive(
        cls, partition: int, offset: int, participant: str, body: Mapping[str, Any]
    ) -> "Narrowing":
        """What a directive takes back, by its place in `consent` and its rule; the wider where in doubt."""
        if body.get("type") == "consent-revoked":
            consent = body.get("consent_id")
            return cls(
                partition=partition,
                consent_offset=offset,
                participant=participant,
                recipients=_named(body.get("recipients")),
                consent=consent if isinstance(consent, str) else None,
                grants=frozenset(item for item in body.get("grants") or () if isinstance(item, str)),
            )
        restriction = body.get("restriction")
        listed = restriction.get("recipients") if isinstance(restriction, Mapping) else None
        return cls(
            partition=partition,
            consent_offset=offset,
            participant=participant,
            recipients=_named(listed),
        )

    @classmethod
    def of_governance(cls, offset: int, kind: str, stakeholder: str | None = None) -> "Narrowing":
        """The narrowing that a governance record is: of what goes to one stakeholder, or of everything.

        Only a subscription's change concerns its stakeholder alone; a stakeholder also discloses to others.
        """
        named = frozenset({stakeholder}) if kind == "subscription" and stakeholder is not None else None
        return cls(governance_offset=offset, recipients=named)

    def concerns(self, intent: "Open") -> bool:
        """Whether an intent is on what was taken back."""
        if self.participant is not None and intent.participant != self.participant:
            return False
        if self.consent is None:
            return self.recipients is None or intent.stakeholder in self.recipients
        resting = [grant for grant in intent.grants if grant.startswith(self.consent + "/")]
        if not resting:
            return False
        if self.recipients is None and not self.grants:
            return True
        if self.recipients is not None and intent.stakeholder in self.recipients:
            return True
        return any(f"{self.consent}/{grant}" in resting for grant in self.grants)

    def before(self, consent_offset: int, governance_offset: int) -> bool:
        """Whether something checked at these offsets had not seen the narrowing yet."""
        if self.consent_offset is not None:
            return consent_offset < self.consent_offset
        return self.governance_offset is not None and governance_offset < self.governance_offset


def _named(recipients: Any) -> frozenset[str] | None:
    """The recipients listed; None (all) for an empty list, `*`, a class, or what is no list of names."""
    if not isinstance(recipients, list) or not recipients:
        return None
    if any(not isinstance(name, str) or name == "*" or name.startswith(CLASS) for name in recipients):
        return None
    return frozenset(recipients)


class Open(NamedTuple):
    """An intent without a receipt. `at` in epoch milliseconds."""

    key: str
    stakeholder: str
    adapter: str
    event: str
    participant: str
    attempt: int
    at: int
    consent_offset: int
    governance_offset: int
    grants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """`closed`: nothing that was taken back can begin to leave. `closing`: not known yet.

    `closed-in-doubt`: nothing new can begin, except that `in_doubt`, oldest first, may have gone or may go.
    """

    state: Literal["closed", "closing", "closed-in-doubt"]
    in_doubt: tuple[Open, ...] = ()


class _Seen(NamedTuple):
    consent_offset: int
    governance_offset: int


class Fence:
    """The fold. One instance covers all partitions of `deliveries`.

    `send_ms_max` is the engine's send deadline, `grace_ms` what clocks and queues may add to it.
    """

    def __init__(self, partitions: int, send_ms_max: int, grace_ms: int = 2_000) -> None:
        self._partitions = partitions
        self._overdue_ms = send_ms_max + grace_ms
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._open: list[dict[str, dict[tuple[str, int], Open]]] = [{} for _ in range(partitions)]
        self._count = 0
        self._overflowed = False

    def __len__(self) -> int:
        return self._count

    def apply(self, partition: int, value: Mapping[str, Any]) -> None:
        """Take in one decoded record of `deliveries`, in the order of its partition."""
        if (intent := value["intent"]) is not None:
            self._opened(partition, intent)
        elif (receipt := value["receipt"]) is not None:
            self._ended(partition, receipt)
        elif (told := value["acknowledgement"]) is not None:
            if told["partition"] != partition:
                return  # elsewhere it would not stand behind the intents that it has to stand behind
            for stakeholder in told["stakeholders"]:
                self._acknowledged(stakeholder, partition, told)

    def state(self, partition: int) -> dict[str, Any] | None:
        """What one partition adds up to, to be taken up by `restore`; None once not all of it was kept."""
        if self._overflowed:
            return None
        told = [
            {"stakeholder": stakeholder, **seen._asdict()}
            for (stakeholder, number), seen in self._seen.items()
            if number == partition
        ]
        held = [held for mine in self._open[partition].values() for held in mine.items()]
        superseded = [intent for (key, _), intent in held if key != intent.key]
        current = [intent for (key, _), intent in held if key == intent.key]
        return {"acknowledged": told, "open": [intent._asdict() for intent in (*superseded, *current)]}

    def restore(self, partition: int, state: Mapping[str, Any]) -> None:
        """Take up what `state` said of a partition of which nothing has been applied yet."""
        for told in state["acknowledged"]:
            self._acknowledged(told["stakeholder"], partition, told)
        for one in state["open"]:
            self._add(partition, Open(**{**one, "grants": tuple(one["grants"])}))

    def _acknowledged(self, stakeholder: str, partition: int, told: Mapping[str, Any]) -> None:
        known = self._seen.get((stakeholder, partition), _Seen(-1, -1))
        self._seen[stakeholder, partition] = _Seen(
            max(known.consent_offset, told["consent_offset"]),
            max(known.governance_offset, told["governance_offset"]),
        )

    def _opened(self, partition: int, intent: Mapping[str, Any]) -> None:
        grants = tuple(sorted({grant for share in intent["shares"] for grant in share["grants"]}))
        entry = Open(
            intent["key"],
            intent["stakeholder"],
            intent["adapter"],
            intent["event"],
            intent["participant"],
            intent["attempt"],
            intent["at"],
            intent["consent_offset"],
            intent["governance_offset"],
            grants,
        )
        self._add(partition, entry)

    def _add(self, partition: int, entry: Open) -> None:
        if self._count >= open_intents_max:
            self._overflowed = True
            return
        mine = self._open[partition].setdefault(entry.participant, {})
        older = mine.get((entry.key, entry.attempt))
        if older is not None and older != entry:
            # The event was withheld, permitted again, and its attempts are counted anew. Receipts now speak
            # of the newer one; of the older one nobody will, so it stays in doubt.
            place = (
                f"{older.key}#{older.at}#{older.consent_offset}#{older.governance_offset}",
                older.attempt,
            )
            self._count += place not in mine
            mine[place] = older
        self._count += older is None
        mine[entry.key, entry.attempt] = entry

    def _ended(self, partition: int, receipt: Mapping[str, Any]) -> None:
        mine = self._open[partition].get(receipt["participant"])
        if mine and mine.pop((receipt["key"], receipt["attempt"]), None):
            self._count -= 1
            if not mine:
                del self._open[partition][receipt["participant"]]

    def offsets(self, stakeholder: str, partition: int) -> tuple[int, int]:
        """The consent and governance offsets last acknowledged for an outbox partition; -1 for none."""
        return self._seen.get((stakeholder, partition), _Seen(-1, -1))

    def answer(self, narrowing: Narrowing, stakeholders: Iterable[str], now_ms: int) -> Answer:
        """How far the fence around a narrowing is. `stakeholders`: everybody who has an outbox."""
        partitions = range(self._partitions) if narrowing.partition is None else (narrowing.partition,)
        if self._overflowed:
            return Answer("closing")
        for stakeholder in stakeholders:
            for partition in partitions:
                if narrowing.before(*self.offsets(stakeholder, partition)):
                    return Answer("closing")
        older = [intent for partition in partitions for intent in self._older(partition, narrowing)]
        if any(intent.at + self._overdue_ms > now_ms for intent in older):
            return Answer("closing")
        older.sort(key=lambda intent: (intent.at, intent))
        return Answer("closed-in-doubt", tuple(older)) if older else Answer("closed")

    def doubts(self, now_ms: int, most: int) -> list[Open]:
        """The intents that have been without a receipt for longer than an attempt may last, oldest first."""
        overdue = (
            intent
            for people in self._open
            for mine in people.values()
            for intent in mine.values()
            if intent.at + self._overdue_ms <= now_ms
        )
        return nsmallest(most, overdue, key=lambda intent: (intent.at, intent))

    def _older(self, partition: int, narrowing: Narrowing) -> Iterable[Open]:
        of_whom = self._open[partition]
        groups: Collection[dict[tuple[str, int], Open]] = (
            of_whom.values() if narrowing.participant is None else [of_whom.get(narrowing.participant, {})]
        )
        for group in groups:
            for intent in group.values():
                if narrowing.before(intent.consent_offset, intent.governance_offset) and narrowing.concerns(
                    intent
                ):
                    yield intent
