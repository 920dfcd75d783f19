"""The decision point: one pure function decides every disclosure. What it cannot decide it denies."""

from collections.abc import Mapping, Sequence

from consent import decision as says
from consent.block import Block
from consent.decision import CONSENT, COURT_ORDER, EMERGENCY, OBLIGATIONS, Decision
from consent.event import Event
from consent.plan import Asker, Plan, Plans, Wanted
from consent.policy import Policy
from consent.question import Question
from consent.stakeholder import Stakeholders
from consent.state import State
from consent.untyped import ALL, TREATING

_plans = Plans()
_new = tuple.__new__


def decide(
    event: Event | Mapping[str, object] | None,
    recipient: object,
    purpose: object,
    at: int | str | None,
    state: State,
    policy: Policy,
    stakeholders: Stakeholders,
) -> Decision:
    """May `recipient` (a stakeholder's id) have this event for this purpose, at that instant?

    `event` is an `Event` or its JSON object; `at` is RFC 3339 text or UTC milliseconds; `state` is what the
    participant's directives fold to. Never raises: what cannot be decided is denied as `indeterminate`.
    """
    try:
        question = Question.of(event, at, state, policy, stakeholders)
        if question is None:
            return says.INDETERMINATE
        asker = Asker.of(0, recipient, purpose, question.category, policy, stakeholders)
        return says.INDETERMINATE if asker is None else _answer(question, asker)
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
    """The same decision for every subscription in `wanted`, in their order; `at` in UTC milliseconds.

    Quickest where `wanted` is a tuple that is handed in again: what is settled about it is kept.
    """
    try:
        question = Question.of(event, at, state, policy, stakeholders)
        if question is None:
            return [says.INDETERMINATE] * len(wanted)
        plan = _plans.get(question.category, wanted, policy, stakeholders)
        decisions = plan.settled.copy()
        if not plan.since <= question.at <= plan.until:
            long_way = plan.askers
        elif question.notes or question.restrictions or len(question.candidates) > 1:
            long_way = plan.open
        else:
            long_way = plan.special
            if question.candidates:
                _serve(question, plan, decisions)
        for asker in long_way:
            decisions[asker.place] = _answer(question, asker)
    except Exception:  # what spoils one decision must not spoil the others
        return [
            decide(event, one.stakeholder, one.purpose, at, state, policy, stakeholders) for one in wanted
        ]
    return decisions


def _serve(question: Question, plan: Plan, decisions: list[Decision]) -> None:
    """The rules from the ninth on, for the ordinary askers whom a grant of the only block reaches.

    For all of them the rules before are settled: every agreement is in force, there is a row, and neither
    restrictions nor counselling notes come into it.
    """
    block, covering, alive, listing_class = question.candidates[0]
    purposes, recipients = block.index.purposes, block.index.recipients
    made: dict[tuple[int, int], Decision] = {}  # many askers are alike
    for purpose, askers in plan.ordinary:
        serving = covering & purposes.get(purpose, 0)
        if serving:
            in_class = serving & listing_class
            for asker in askers:
                reach = serving & recipients.get(asker.id, 0)
                if asker.in_class:
                    reach |= in_class
                if reach:
                    live = reach & alive
                    if live and block.parties:
                        live &= ~_revoked(block, asker)
                    if live:
                        row = asker.row or 0
                        alike = made.get((live, row))
                        if alike is None:
                            names, granted = block.granted(live, question.policy)
                            alike = made[live, row] = _permit(question, asker, CONSENT, names, granted & row)
                        decisions[asker.place] = alike
                    else:
                        decisions[asker.place] = _nearly(((block, reach),), question.at, asker)


def _answer(question: Question, asker: Asker) -> Decision:  # noqa: PLR0911, PLR0912  # one return for each rule
    """The rules from the second on, in their order."""
    if not asker.since <= question.at <= asker.until:
        return says.NO_AGREEMENT
    if asker.row is None:
        return says.ROLE
    if asker.proceedings:
        orders = _orders(question, asker)
        if orders:
            return _permit(question, asker, COURT_ORDER, orders, asker.row)
    reaching, counting = [], []
    for block, covering, alive, listing_class in question.candidates:
        listing = block.index.recipients.get(asker.id, 0)
        if asker.in_class:
            listing |= listing_class
        reach = covering & listing & block.index.purposes.get(asker.purpose, 0)
        if reach:
            reaching.append((block, reach))
            live = reach & alive
            if live and block.parties:
                live &= ~_revoked(block, asker)
            if live:
                counting.append((block, live))
    if asker.proceedings:
        counting = [(block, left) for block, live in counting if (left := live & block.proceedings)]
        if not counting:
            return says.NO_DEDICATED_PROCEEDINGS
    if question.notes:
        counting = [(block, left) for block, live in counting if (left := live & block.notes)]
        if not counting:
            return says.NO_DEDICATED_NOTES
    if asker.emergency:
        declared = _emergencies(question, asker)
        if not declared:
            return says.NO_EMERGENCY
        return _permit(question, asker, EMERGENCY, declared, asker.row & question.policy.emergency)
    if question.restrictions and _restricted(question, asker):
        return says.RESTRICTION
    if counting:
        names, granted = _granted(counting, question.policy)
        return _permit(question, asker, CONSENT, names, asker.row & granted)
    return _nearly(reaching, question.at, asker) if reaching else says.NO_CONSENT


def _revoked(block: Block, asker: Asker) -> int:
    """The grants of a block that were revoked, altogether or for this recipient."""
    revoked = block.revoked | block.parties.get(asker.id, 0)
    return revoked | block.parties.get(TREATING, 0) if asker.in_class else revoked


def _nearly(reaching: Sequence[tuple[Block, int]], at: int, asker: Asker) -> Decision:
    """Why no grant survives: the first of revoked, expired, not started that alone stands in the way."""
    expired = early = False
    for block, reach in reaching:
        signed, started, unexpired = block.periods(at)
        revoked = _revoked(block, asker)
        if reach & signed & started & unexpired & revoked:
            return says.REVOKED
        kept = reach & signed & ~revoked
        expired = expired or bool(kept & started & ~unexpired)
        early = early or bool(kept & unexpired & ~started)
    if expired:
        return says.EXPIRED
    return says.NOT_STARTED if early else says.NO_CONSENT


def _granted(counting: Sequence[tuple[Block, int]], policy: Policy) -> tuple[tuple[str, ...], int]:
    """The sorted names of the grants that count, and the union of their compartments."""
    block, live = counting[0]
    names, granted = block.granted(live, policy)
    if len(counting) > 1:
        some = [block.granted(live, policy) for block, live in counting]
        names = tuple(sorted({name for more, _ in some for name in more}))
        for _, others in some:
            granted |= others
    return names, granted


def _orders(question: Question, asker: Asker) -> tuple[str, ...]:
    """The ids of the orders that apply."""
    applying = sorted(
        order.id
        for order in question.state.orders
        if order.subpoena
        and order.recipient == asker.id
        and order.starts_at <= question.at <= order.expires_at
        and any(category in order.categories for category in question.lineage)
    )
    return tuple(applying)


def _emergencies(question: Question, asker: Asker) -> tuple[str, ...]:
    """The ids of the emergencies that apply."""
    if not asker.medical:
        return ()
    applying = sorted(
        one.id
        for one in question.state.emergencies
        if one.recipient == asker.id and one.declared_at <= question.at <= one.expires_at
    )
    return tuple(applying)


def _restricted(question: Question, asker: Asker) -> bool:
    """Whether one of the restrictions that concern the event matches recipient and purpose too."""
    for one in question.restrictions:
        listed = asker.id in one.recipients or ALL in one.recipients
        if not listed and asker.in_class:
            listed = TREATING in one.recipients
        if listed and (asker.purpose in one.purposes or ALL in one.purposes):
            return True
    return False


def _permit(question: Question, asker: Asker, basis: str, grants: tuple[str, ...], allowed: int) -> Decision:
    """A permit of what the event carries of these compartments; a denial where nothing is left."""
    shared = question.carried & allowed
    if not shared:
        return says.NOTHING_SHAREABLE
    obligations = OBLIGATIONS[basis, question.part2, asker.proceedings]
    compartments = question.policy.names(shared)
    return _new(Decision, ("permit", basis, basis, grants, compartments, obligations))  # the quickest way
