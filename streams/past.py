"""What was decided about earlier events, and whether something has widened since. Pure.

Everything here follows from `decisions`, `deliveries` and `reconsider` as they stand in the log, so that a
restart asks the same questions and gets the same answers. It needs them only as far back as the policy
reaches: whatever was first decided earlier is dated earlier still, and is never asked about again.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from consent import State
from schemas.topics import DAY_MS

DIRECTIVE: Final = "directive"
GOVERNANCE: Final = "governance"
CLOCK: Final = "clock"

_NOBODY: Final[dict[str, tuple[int, int]]] = {}


class Traits(NamedTuple):
    """What many events have in common; kept once for all of them."""

    type: str
    category: str
    labels: tuple[str, ...]
    discloser: str
    compartments: tuple[str, ...]


class Past:
    """One event and its last decision. `dated` is when it occurred or, dated ahead, when it was admitted, in
    epoch milliseconds: from there the policy's reach is counted. `had` tells for each stakeholder that was
    permitted the consent and governance offsets of its last permit. `asked` and `answered` are offsets in
    `reconsider`, -1 for none; `waiting` is for a request whose offset is not known yet.
    """

    __slots__ = (
        "answered",
        "asked",
        "at",
        "consent_offset",
        "dated",
        "governance_offset",
        "had",
        "occurred_at",
        "offset",
        "topic",
        "traits",
        "waiting",
    )

    def __init__(
        self, traits: Traits, topic: str, offset: int, occurred_at: int, admitted_at: int | None = None
    ) -> None:
        self.traits = traits
        self.topic = topic
        self.offset = offset
        self.occurred_at = occurred_at
        self.dated = occurred_at if admitted_at is None or occurred_at <= admitted_at else admitted_at
        self.at = self.consent_offset = self.governance_offset = self.asked = self.answered = -1
        self.had = _NOBODY
        self.waiting = False

    def decided(self, decision: Mapping[str, Any]) -> None:
        """One more decision about it, in order."""
        self.at = decision["at"]
        self.consent_offset, self.governance_offset = (
            decision["consent_offset"],
            decision["governance_offset"],
        )
        if decision["cause"] == "reconsider":
            self.answered = max(self.answered, int(decision["id"].rpartition("-")[2]))
            self.waiting = False
        known = (self.consent_offset, self.governance_offset)
        permits = {one["stakeholder"]: known for one in decision["outcomes"] if one["effect"] == "permit"}
        if permits:
            self.had = {**self.had, **permits}

    def withheld(self, stakeholder: str, consent_offset: int, governance_offset: int) -> None:
        """It did not get it after all, as far as it had been permitted by then. A later permit stands."""
        consent_then, governance_then = self.had.get(stakeholder, (consent_offset + 1, 0))
        if consent_then <= consent_offset and governance_then <= governance_offset:
            self.had = {name: known for name, known in self.had.items() if name != stakeholder}

    @property
    def open(self) -> bool:
        """Whether it lies before enforce again and was not decided yet."""
        return self.waiting or self.asked > self.answered

    def cause(
        self, widened: int, governance_offset: int, starts: Iterable[int], now: int, lookback_days: int
    ) -> str | None:
        """Why it has to be decided again, None where nothing that could allow more happened since.

        In: the offset of the participant's last directive that widens (-1 for none), the last offset of
        governance, the instants at which something starts to be in force, and now, in epoch milliseconds.
        """
        if self.open or self.dated < now - lookback_days * DAY_MS:
            return None
        if widened > self.consent_offset:
            return DIRECTIVE
        if governance_offset > self.governance_offset:
            return GOVERNANCE
        return CLOCK if any(self.at < start <= now for start in starts) else None


def starts(state: State) -> set[int]:
    """The instants at which something of a participant's starts to allow more."""
    record = state.record()
    found = {order.starts_at for order in record.orders.values()}
    found |= {emergency.declared_at for emergency in record.emergencies.values()}
    for held in record.consents.values():
        found |= {held.consent.signed_at, held.consent.starts_at}
    return found


class Pasts:
    """The events of one partition, by participant."""

    def __init__(self) -> None:
        self._people: dict[str, dict[str, Past]] = {}
        self._asked: dict[str, int] = {}
        self._shared: dict[Traits, Traits] = {}

    def decided(self, decision: Mapping[str, Any]) -> Past:
        """One decoded `Decision`."""
        event, position = decision["event"], decision["position"]
        events = self._people.setdefault(event["participant"], {})
        past = events.get(event["id"])
        if past is None:
            traits = Traits(
                event["type"],
                event["category"],
                tuple(event["labels"]),
                event["discloser"],
                tuple(event["compartments"]),
            )
            shared = self._shared.setdefault(traits, traits)
            at, admitted_at = event["occurred_at"], event["admitted_at"]
            past = Past(shared, position["topic"], position["offset"], at, admitted_at)
            past.asked = self._asked.pop(event["id"], -1)
            events[event["id"]] = past
        past.decided(decision)
        return past

    def asked(self, participant: str, event: str, offset: int) -> None:
        """One record of `reconsider`, as an earlier worker left it."""
        past = self._people.get(participant, {}).get(event)
        if past is None:
            self._asked[event] = offset
        else:
            past.asked = max(past.asked, offset)

    def withheld(self, withheld: Mapping[str, Any]) -> None:
        """One `Withheld` of `deliveries`."""
        past = self._people.get(withheld["participant"], {}).get(withheld["event"])
        if past is not None:
            known = withheld["consent_offset"], withheld["governance_offset"]
            past.withheld(withheld["stakeholder"], *known)

    def of(self, participant: str) -> Mapping[str, Past]:
        """A participant's events by id, in the order in which they were first decided."""
        return self._people.get(participant, {})

    def forget(self, participant: str, before: int) -> None:
        """Forgets a participant's events that are dated before an instant: they are out of reach for good."""
        events = self._people.get(participant, {})
        for event in [event for event, past in events.items() if past.dated < before]:
            del events[event]

    def __iter__(self) -> Iterator[str]:
        return iter(self._people)
