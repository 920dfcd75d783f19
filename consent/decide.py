"""The decision point: one pure function decides every disclosure. What it cannot decide it denies."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from consent import decision as says
from consent.block import Block
from consent.decision import (
    CONSENT,
    COUNSELLING_NOTES,
    COURT_ORDER,
    EMERGENCY,
    OBLIGATIONS,
    PART2,
    PROCEEDINGS,
    Decision,
)
from consent.event import Event
from consent.policy import Policy
from consent.stakeholder import Stakeholder, Stakeholders
from consent.state import State
from consent.terms import Restriction
from consent.untyped import ALL, TREATING, moment


class Wanted(Protocol):
    """Who asks for events, and what for: a subscription."""

    @property
    def stakeholder(self) -> str:
        """The id of the stakeholder that would receive."""

    @property
    def purpose(self) -> str:
        """The one purpose of it."""


class _Candidates:
    """The grants of one block that cover an event as far as recipient and purpose leave it open."""

    __slots__ = ("block", "covering", "signed", "started", "unexpired")

    def __init__(self, block: Block, covering: int, at: int) -> None:
        self.block = block
        self.covering = covering
        self.signed = self.started = self.unexpired = 0
        for mask, signed_at, starts_at, expires_at in block.parts:
            if signed_at <= at:
                self.signed |= mask
            if starts_at <= at:
                self.started |= mask
            if at <= expires_at:
                self.unexpired |= mask

    def reach(self, recipient: Stakeholder, purpose: str) -> int:
        """Those that list the recipient (or its class) and the purpose."""
        recipients = self.block.recipients
        listing = recipients.get(recipient.id, 0)
        if recipient.in_class:
            listing |= recipients.get(TREATING, 0)
        return listing & self.covering & self.block.purposes.get(purpose, 0)

    def revoked(self, recipient: Stakeholder) -> int:
        """Those that were revoked, altogether or for this recipient."""
        block = self.block
        revoked = block.revoked
        if block.parties:
            revoked |= block.parties.get(recipient.id, 0)
            if recipient.in_class:
                revoked |= block.parties.get(TREATING, 0)
        return revoked


class _Question:
    """One event at one instant, asked about before it is known who would receive it, and what for."""

    __slots__ = (
        "at",
        "candidates",
        "carried",
        "category",
        "lineage",
        "notes",
        "part2",
        "policy",
        "restrictions",
        "state",
    )

    def __init__(self, event: Event, discloser: Stakeholder, at: int, state: State, policy: Policy) -> None:
        self.at = at
        self.state = state
        self.policy = policy
        self.category = event.category
        self.lineage = policy.lineages[event.category]
        self.carried = 0
        for name in event.compartments:
            self.carried |= policy.bits[name]
        self.part2 = PART2 in event.labels
        self.notes = COUNSELLING_NOTES in event.labels
        self.candidates = [
            _Candidates(block, covering, at)
            for block in state.blocks
            if (covering := _covering(block, event, self.lineage, discloser, at))
        ]
        self.restrictions = (
            [one for one in state.restrictions if _concerns(one, self.lineage, event.labels)]
            if state.restrictions
            else ()
        )


def decide(
    event: Event | Mapping[str, object] | None,
    recipient: object,
    purpose: object,
    at: int | str,
    state: State,
    policy: Policy,
    stakeholders: Stakeholders,
) -> Decision:
    """May `recipient` (a stakeholder's id) have this event for this purpose, at that instant?

    `event` is an `Event` or its JSON object; `at` is RFC 3339 text or UTC milliseconds; `state` is what the
    participant's directives fold to. Never raises: what cannot be decided is denied as `indeterminate`.
    """
    try:
        question = _ask(event, at, state, policy, stakeholders)
        return says.INDETERMINATE if question is None else _answer(question, recipient, purpose, stakeholders)
    except Exception:  # fail closed, whatever was handed in
        return says.INDETERMINATE


def decide_all(
    event: Event,
    wanted: Sequence[Wanted],
    at: int,
    state: State,
    policy: Policy,
    stakeholders: Stakeholders,
) -> list[Decision]:
    """The same decision for every subscription in `wanted`, in their order; `at` in UTC milliseconds."""
    try:
        question = _ask(event, at, state, policy, stakeholders)
        if question is not None:
            return [_answer(question, one.stakeholder, one.purpose, stakeholders) for one in wanted]
    except Exception:  # one of them spoils the quick way: each is decided by itself
        return [
            decide(event, one.stakeholder, one.purpose, at, state, policy, stakeholders) for one in wanted
        ]
    return [says.INDETERMINATE] * len(wanted)


def _ask(
    event: Event | Mapping[str, object] | None,
    at: int | str,
    state: State,
    policy: Policy,
    stakeholders: Stakeholders,
) -> _Question | None:
    """The question, or None where the first rule makes it indeterminate for everybody."""
    asked = event if isinstance(event, Event) else Event.of(event)
    instant = moment(at) if isinstance(at, str) else at
    if asked is None or type(instant) is not int or not asked.readable or not policy.sound:
        return None
    discloser = stakeholders.get(asked.discloser)
    if discloser is None or not discloser.sound or asked.category not in policy.lineages:
        return None
    if not policy.labels.issuperset(asked.labels) or not policy.bits.keys() >= set(asked.compartments):
        return None
    return _Question(asked, discloser, instant, state, policy)


def _answer(  # noqa: PLR0911, PLR0912  # one return for each rule
    question: _Question, name: object, purpose: object, stakeholders: Stakeholders
) -> Decision:
    """The rules in their order, for one recipient and purpose."""
    recipient = stakeholders.get(name)
    policy, at = question.policy, question.at
    if recipient is None or not recipient.sound:
        return says.INDETERMINATE
    if not isinstance(purpose, str) or purpose not in policy.purposes:
        return says.INDETERMINATE
    if not recipient.since <= at <= recipient.until:
        return says.NO_AGREEMENT
    row = policy.shareable(recipient.role, question.category, purpose)
    if row is None:
        return says.ROLE
    shareable = row & question.carried
    if purpose == PROCEEDINGS:
        orders = _orders(question, recipient)
        if orders:
            return _permit(question, COURT_ORDER, orders, shareable, purpose)
    counting = _counting(question, recipient, purpose)
    if purpose == PROCEEDINGS:
        counting = [(some, left) for some, live in counting if (left := live & some.block.proceedings)]
        if not counting:
            return says.NO_DEDICATED_PROCEEDINGS
    if question.notes:
        counting = [(some, left) for some, live in counting if (left := live & some.block.notes)]
        if not counting:
            return says.NO_DEDICATED_NOTES
    if purpose == EMERGENCY:
        declared = _emergencies(question, recipient)
        if not declared:
            return says.NO_EMERGENCY
        return _permit(question, EMERGENCY, declared, shareable & policy.emergency, purpose)
    if question.restrictions and _restricted(question, recipient, purpose):
        return says.RESTRICTION
    if counting:
        granted = _granted(question, counting)
        names = sorted({name for some, live in counting for name in some.block.names(live)})
        return _permit(question, CONSENT, names, shareable & granted, purpose)
    return _nearly(question, recipient, purpose)


def _covering(block: Block, event: Event, lineage: Sequence[str], discloser: Stakeholder, at: int) -> int:
    """The grants of a block that cover discloser, category, labels and time of the event."""
    covering = block.disclosers.get(discloser.id, 0)
    if discloser.since <= at <= discloser.until:
        covering |= block.disclosers.get(ALL, 0)
    if not covering:
        return 0
    listing = 0
    for category in lineage:
        listing |= block.categories.get(category, 0)
    covering &= listing
    for label in event.labels:
        covering &= block.labels.get(label, 0)
    return block.within(covering, event.occurred_at)


def _counting(question: _Question, recipient: Stakeholder, purpose: str) -> list[tuple[_Candidates, int]]:
    """The surviving covering grants, block by block."""
    counting = []
    for some in question.candidates:
        reach = some.reach(recipient, purpose)
        if reach:
            live = reach & some.signed & some.started & some.unexpired & ~some.revoked(recipient)
            if live:
                counting.append((some, live))
    return counting


def _nearly(question: _Question, recipient: Stakeholder, purpose: str) -> Decision:
    """Why no grant covers it: the first of revoked, expired, not started that alone stands in the way."""
    expired = early = False
    for some in question.candidates:
        reach = some.reach(recipient, purpose) & some.signed
        if reach:
            revoked = some.revoked(recipient)
            if reach & some.started & some.unexpired & revoked:
                return says.REVOKED
            kept = reach & ~revoked
            expired = expired or bool(kept & some.started & ~some.unexpired)
            early = early or bool(kept & some.unexpired & ~some.started)
    if expired:
        return says.EXPIRED
    return says.NOT_STARTED if early else says.NO_CONSENT


def _granted(question: _Question, counting: list[tuple[_Candidates, int]]) -> int:
    """The union of the compartments of the grants that count."""
    bits, granted = question.policy.bits, 0
    for some, live in counting:
        for name, listing in some.block.compartments.items():
            if listing & live:
                granted |= question.policy.everything if name == ALL else bits.get(name, 0)
    return granted


def _orders(question: _Question, recipient: Stakeholder) -> list[str]:
    """The ids of the orders that apply."""
    return sorted(
        order.id
        for order in question.state.orders
        if order.subpoena
        and order.recipient == recipient.id
        and order.starts_at <= question.at <= order.expires_at
        and any(category in order.categories for category in question.lineage)
    )


def _emergencies(question: _Question, recipient: Stakeholder) -> list[str]:
    """The ids of the emergencies that apply."""
    if not recipient.medical:
        return []
    return sorted(
        one.id
        for one in question.state.emergencies
        if one.recipient == recipient.id and one.declared_at <= question.at <= one.expires_at
    )


def _concerns(one: Restriction, lineage: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a restriction matches the event's category and labels."""
    return (ALL in one.categories or any(category in one.categories for category in lineage)) and (
        ALL in one.labels or any(label in one.labels for label in labels)
    )


def _restricted(question: _Question, recipient: Stakeholder, purpose: str) -> bool:
    """Whether one of the restrictions that concern the event matches recipient and purpose too."""
    for one in question.restrictions:
        listed = recipient.id in one.recipients or ALL in one.recipients
        if not listed and recipient.in_class:
            listed = TREATING in one.recipients
        if listed and (purpose in one.purposes or ALL in one.purposes):
            return True
    return False


def _permit(question: _Question, basis: str, grants: Sequence[str], shared: int, purpose: str) -> Decision:
    """A permit of these compartments with its obligations; a denial where none is left."""
    if not shared:
        return says.NOTHING_SHAREABLE
    obligations = OBLIGATIONS[basis, question.part2, purpose == PROCEEDINGS]
    return Decision("permit", basis, basis, tuple(grants), question.policy.names(shared), obligations)
