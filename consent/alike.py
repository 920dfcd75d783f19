"""Answers that are alike: whoever signed the same, and holds the same of it, is answered the same.

A program has a handful of forms and thousands of participants. What `decide_all` says about an event depends
on the participant only by what a `standing` tells; apart from that, they differ in what consents are called.
"""

from collections.abc import Hashable, Sequence
from typing import Final

from consent.block import Index, grants_max
from consent.decide import decide_all
from consent.decision import INDETERMINATE, Decision
from consent.event import Event
from consent.plan import Wanted
from consent.policy import Policy
from consent.stakeholder import Stakeholders
from consent.state import State
from consent.untyped import ALWAYS_MS, NEVER_MS

_ALL: Final = tuple([(1 << count) - 1 for count in range(grants_max + 1)])


def standing(state: State, at: int, occurred_at: int) -> Hashable | None:
    """What of a state decides its answers at `at`, about an event of `occurred_at` (both in milliseconds).

    Two participants with equal standings are answered alike. None for whoever has a restriction, an order, an
    emergency, a recipient from whom something was taken back, or too many grants for one block: they are
    answered by themselves.
    """
    blocks = state.blocks
    if state.restrictions or state.orders or state.emergencies:
        return None
    if not blocks:
        return ()
    block = blocks[0]
    if len(blocks) > 1 or block.parties:
        return None
    index = block.index
    window = index.window(occurred_at)
    if block.alive(at) == _ALL[len(index.ids)]:  # the usual case: all of it holds
        return index, window
    return index, window, block.periods(at), block.revoked


def steady(state: State, at: int, occurred_at: int) -> tuple[int, int, int, int]:
    """Within which instants of deciding, and of having occurred, a state that has a standing keeps it.

    Each from when (included) to when (not included), in milliseconds.
    """
    if not state.blocks:
        return ALWAYS_MS, NEVER_MS, ALWAYS_MS, NEVER_MS
    block = state.blocks[0]
    return *block.steady(at), *block.index.stretch(occurred_at)


class Alike:
    """The answers to one kind of event, for everybody of one standing.

    `decisions` are those about whom it was made of, in the order of what was wanted. Each of them stands for
    the others too, but for its grants: `gaps` says for each which of the `names` these are, -1 for none.
    """

    __slots__ = ("_policy", "_sets", "decisions", "gaps")

    def __init__(
        self, decisions: Sequence[Decision], sets: Sequence[int], index: Index | None, policy: Policy
    ) -> None:
        distinct = sorted({one for one in sets if one})
        self.decisions = tuple(decisions)
        self.gaps = tuple([distinct.index(one) if one else -1 for one in sets])
        self._sets = [(one, *_single(one, index)) for one in distinct]
        self._policy = policy

    @classmethod
    def of(
        cls,
        event: Event,
        wanted: Sequence[Wanted],
        at: int,
        state: State,
        policy: Policy,
        stakeholders: Stakeholders,
    ) -> "Alike | None":
        """What `decide_all` says of these, made good for others of the same standing.

        None where that cannot be: what could not be decided is tried anew each time, and of two grants with
        one name it would not be known which is meant.
        """
        if standing(state, at, event.occurred_at) is None:
            return None
        decisions = decide_all(event, wanted, at, state, policy, stakeholders)
        if INDETERMINATE in decisions:
            return None
        places: dict[str, int] = {}
        index = None
        for block in state.blocks:
            index = block.index
            for place, name in enumerate(index.ids):
                places[f"{block.consents[index.owners[place]]}/{name}"] = 1 << place
            if len(places) < len(index.ids):
                return None
        sets = [sum([places[name] for name in one.grants]) for one in decisions]
        return cls(decisions, sets, index, policy)

    def names(self, state: State) -> list[tuple[str, ...]]:
        """The grants to be named for this participant, whose standing must be that of whom this was made."""
        if not self._sets:
            return []
        block = state.blocks[0]
        consents = block.consents
        return [
            block.granted(grants, self._policy)[0] if owner is None else (f"{consents[owner]}/{name}",)
            for grants, owner, name in self._sets
        ]

    def answers(self, state: State) -> list[Decision]:
        """The decisions about this participant: what `decide_all` would say."""
        names = self.names(state)
        return [
            one if gap < 0 else one._replace(grants=names[gap])
            for one, gap in zip(self.decisions, self.gaps, strict=True)
        ]


def _single(grants: int, index: Index | None) -> tuple[int | None, str]:
    """The place of its consent and the name of a grant, where it is the only one of a set: the usual case."""
    if index is None or grants & (grants - 1):
        return None, ""
    place = grants.bit_length() - 1
    return index.owners[place], index.ids[place]


def unchanged(
    at: int, wanted: Sequence[Wanted], discloser: str, stakeholders: Stakeholders
) -> tuple[int, int]:
    """From when (included) to when (not included) it is all the same for these, which instant around `at` it
    is: no agreement of those who want or disclose begins or ends in between. In milliseconds.
    """
    since, before = ALWAYS_MS, NEVER_MS
    for name in {discloser, *[one.stakeholder for one in wanted]}:
        party = stakeholders.get(name)
        if party is not None:
            for change in (party.since, party.until + 1):
                if change <= at:
                    since = max(since, change)
                else:
                    before = min(before, change)
    return since, before
