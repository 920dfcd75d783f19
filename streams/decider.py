"""What enforce writes about an event: decided for everybody who wants it, and put into bytes.

People who are answered alike are decided about together: the rule is asked about one of them, and what it
says is written for the others with the names of their own grants in it (`consent.alike`).
"""

from collections.abc import Hashable, Sequence
from typing import Final

from consent import Event, Governance, State, Subscription, decide_all
from consent.alike import Alike, standing, unchanged
from schemas.raw import Cut, Traits
from streams.templates import Pattern, Template, listed

kinds_max: Final = 10_000
alike_max: Final = 8_192


class Kind:
    """One kind of event: who wants it, and from `since` to before `before` (milliseconds) no agreement of
    theirs, nor the discloser's, begins or ends.
    """

    __slots__ = ("before", "since", "templates", "wanted")

    def __init__(self, wanted: tuple[Subscription, ...], since: int, before: int) -> None:
        self.wanted = wanted
        self.templates = [Template(one) for one in wanted]
        self.since, self.before = since, before


class Decider:
    """Decides by `governance` as it is. To be told when that has changed."""

    def __init__(self, governance: Governance) -> None:
        self._governance = governance
        self._kinds: dict[Traits, Kind] = {}
        self._alike: dict[tuple[Kind, Hashable], tuple[Alike, Pattern] | None] = {}

    def changed(self) -> None:
        """Forgets what was decided by governance as it was."""
        self._kinds.clear()
        self._alike.clear()

    def decide(
        self, cut: Cut, at: int, state: State, already: Sequence[str] = ()
    ) -> tuple[Pattern, Sequence[bytes]]:
        """What is written about an event, and what goes into its gaps. `already` are left out.

        `at` is in epoch milliseconds; `state` is the participant's.
        """
        traits, _, _, occurred_at, _, _, _ = cut
        kind = self._kinds.get(traits)
        if kind is None or not kind.since <= at < kind.before:
            kind = self._kind(traits, at)
        if already:
            wanted = [one for one in kind.wanted if one.stakeholder not in already]
            return self._alone(cut, wanted, [Template(one) for one in wanted], at, state)
        common = standing(state, at, occurred_at)
        if common is None:
            return self._alone(cut, kind.wanted, kind.templates, at, state)
        known = self._alike.get((kind, common))
        if known is None:
            known = self._together(cut, kind, common, at, state)
            if known is None:
                return self._alone(cut, kind.wanted, kind.templates, at, state)
        alike, pattern = known
        return pattern, [listed(one) for one in alike.names(state)]

    def _kind(self, traits: Traits, at: int) -> Kind:
        governance = self._governance
        wanted = governance.wanting(traits.category, traits.discloser)
        kind = Kind(wanted, *unchanged(at, wanted, traits.discloser, governance.stakeholders))
        if len(self._kinds) >= kinds_max:
            self._kinds.clear()
        self._kinds[traits] = kind
        return kind

    def _together(
        self, cut: Cut, kind: Kind, common: Hashable, at: int, state: State
    ) -> tuple[Alike, Pattern] | None:
        """What is written about all of this standing, from the second one on; None where that isn't known."""
        made = None
        if (kind, common) in self._alike:
            governance = self._governance
            alike = Alike.of(
                _event(cut),
                kind.wanted,
                at,
                state,
                governance.policy,  # type: ignore[arg-type]  # without one everything is indeterminate
                governance.stakeholders,
            )
            if alike is not None:
                made = alike, Pattern(kind.templates, alike.decisions, alike.gaps)
        if len(self._alike) >= alike_max:
            self._alike.clear()
        self._alike[kind, common] = made
        return made

    def _alone(
        self,
        cut: Cut,
        wanted: Sequence[Subscription],
        templates: Sequence[Template],
        at: int,
        state: State,
    ) -> tuple[Pattern, Sequence[bytes]]:
        governance = self._governance
        decisions = decide_all(
            _event(cut),
            wanted,
            at,
            state,
            governance.policy,  # type: ignore[arg-type]  # without one everything is indeterminate
            governance.stakeholders,
        )
        names = [listed(one.grants) for one in decisions]
        return Pattern(templates, decisions, range(len(decisions))), names


def _event(cut: Cut) -> Event:
    traits = cut.traits
    return Event(
        cut.id,
        cut.participant,
        traits.type,
        traits.category,
        traits.labels,
        traits.discloser,
        cut.occurred_at,
        traits.compartments,
    )
