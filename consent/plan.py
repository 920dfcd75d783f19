"""What is settled about subscriptions before an event comes: who asks, what for, what the matrix allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consent.decision import EMERGENCY, INDETERMINATE, NO_CONSENT, PROCEEDINGS, ROLE, Decision
from consent.policy import Policy
from consent.stakeholder import Stakeholders
from consent.untyped import ALWAYS_MS, NEVER_MS

plans_max: Final = 4096


class Wanted(Protocol):
    """Who asks for events, and what for: a subscription."""

    @property
    def stakeholder(self) -> str:
        """The id of the stakeholder that would receive."""

    @property
    def purpose(self) -> str:
        """The one purpose of it."""


@dataclass(frozen=True, slots=True)
class Asker:
    """One recipient asking for one purpose about one category.

    `place` is its place among those who ask, `row` the compartments that the matrix allows (None: no row),
    `since` and `until` bound its agreement, in milliseconds.
    """

    place: int
    id: str
    in_class: bool
    medical: bool
    since: int
    until: int
    row: int | None
    purpose: str
    proceedings: bool
    emergency: bool

    @classmethod
    def of(
        cls,
        place: int,
        name: object,
        purpose: object,
        category: str,
        policy: Policy,
        stakeholders: Stakeholders,
    ) -> "Asker | None":
        """The asker, or None where recipient or purpose is not one that can be decided about."""
        recipient = stakeholders.get(name)
        if recipient is None or not recipient.sound:
            return None
        if not isinstance(purpose, str) or purpose not in policy.purposes:
            return None
        return cls(
            place=place,
            id=recipient.id,
            in_class=recipient.in_class,
            medical=recipient.medical,
            since=recipient.since,
            until=recipient.until,
            row=policy.shareable(recipient.role, category, purpose),
            purpose=purpose,
            proceedings=purpose == PROCEEDINGS,
            emergency=purpose == EMERGENCY,
        )


class Plan:
    """The askers of one category, and what is settled about them whatever the event is about.

    `settled` holds an answer for each: what the first rule or the matrix denies, and for the others that
    there is no consent. It is right while the instant lies between `since` and `until` (all agreements in
    force), but for those whom a grant, an order or an emergency may serve: these are in `open`; those of
    them who ask for proceedings or emergencies in `special`, the rest in `ordinary`, by purpose.
    """

    __slots__ = ("askers", "open", "ordinary", "settled", "since", "special", "until")

    def __init__(
        self, category: str, wanted: Sequence[Wanted], policy: Policy, stakeholders: Stakeholders
    ) -> None:
        self.settled: list[Decision] = [INDETERMINATE] * len(wanted)
        self.askers: list[Asker] = []
        self.since, self.until = ALWAYS_MS, NEVER_MS
        for place, one in enumerate(wanted):
            asker = Asker.of(place, one.stakeholder, one.purpose, category, policy, stakeholders)
            if asker is not None:
                self.askers.append(asker)
                self.since, self.until = max(self.since, asker.since), min(self.until, asker.until)
                self.settled[place] = ROLE if asker.row is None else NO_CONSENT
        self.open = [asker for asker in self.askers if asker.row is not None]
        self.special = [asker for asker in self.open if asker.proceedings or asker.emergency]
        by_purpose: dict[str, list[Asker]] = {}
        for asker in self.open:
            if not (asker.proceedings or asker.emergency):
                by_purpose.setdefault(asker.purpose, []).append(asker)
        self.ordinary = list(by_purpose.items())


class Plans:
    """Plans that were made before, for tuples of subscriptions: the same tuple gets the same plan."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int, str], tuple[object, Plan]] = {}

    def get(
        self, category: str, wanted: Sequence[Wanted], policy: Policy, stakeholders: Stakeholders
    ) -> Plan:
        """The plan for these subscriptions; made once where they are an immutable tuple."""
        if type(wanted) is not tuple:
            return Plan(category, wanted, policy, stakeholders)
        key = (id(wanted), id(policy), id(stakeholders), category)
        made = self._made.get(key)
        if made is None:
            # what the ids stand for is kept with the plan: none of them can come to mean another thing
            made = (wanted, policy, stakeholders), Plan(category, wanted, policy, stakeholders)
            if len(self._made) >= plans_max:
                self._made.clear()
            self._made[key] = made
        return made[1]
