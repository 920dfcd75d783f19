"""What enforce writes about an event: decided for everybody who wants it, and put into bytes.

People who are answered alike are decided about together: the rule is asked about one of them, and what it
says is written for the others with the names of their own grants in it (`consent.alike`).
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, Final

from consent import Decision, Event, Governance, State, Subscription, decide_all
from consent.alike import Alike, standing, steady, unchanged
from schemas.raw import Cut, Traits
from streams.templates import Pattern, Template, Written, listed, written

kinds_max: Final = 10_000
alike_max: Final = 8_192  # standings, of one kind of event each, for which it is known what is written
seen_max: Final = 8_192  # of which it is known how often they came
often_min: Final = 4  # until it pays to make a pattern: many are of one participant alone

Together = tuple[Alike, Pattern]
Lasting = tuple[int, int, int, int]
_UNKNOWN: Final[Any] = object()


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
        self._alike: dict[tuple[Kind, Hashable], Together | None] = {}
        self._seen: dict[tuple[Kind, Hashable], int] = {}
        self._filled: list[Pattern] = []
        self._alone: list[Decision] = []

    def changed(self) -> None:
        """Forgets what was decided by governance as it was."""
        self._kinds.clear()
        self._alike.clear()
        self._seen.clear()

    def effects(self) -> Counter[tuple[str, str]]:
        """How often each effect was decided for each reason, since this was asked last."""
        found: Counter[tuple[str, str]] = Counter([(one.effect, one.reason) for one in self._alone])
        for pattern, often in Counter(self._filled).items():
            for which, count in pattern.effects.items():
                found[which] += count * often
        self._filled.clear()
        self._alone.clear()
        return found

    def decide(self, cut: Cut, at: int, state: State, already: Sequence[str] = ()) -> Written:
        """What is written about an event to those who want it, but for stakeholders `already` served.

        `at` is in epoch milliseconds; `state` is the participant's.
        """
        kind = self._kind(cut.traits, at)
        if already:
            pairs = zip(kind.wanted, kind.templates, strict=True)
            left = [pair for pair in pairs if pair[0].stakeholder not in already]
            return self._by_itself(cut, [one for one, _ in left], [one for _, one in left], at, state)
        common = standing(state, at, cut.occurred_at)
        if common is not None:
            known = self._known((kind, common), cut, at, state)
            if known is not None:
                alike, pattern = known
                self._filled.append(pattern)
                return pattern.filled([listed(one) for one in alike.names(state)])
        return self._by_itself(cut, kind.wanted, kind.templates, at, state)

    def lasting(self, cut: Cut, at: int, state: State) -> tuple[bytes, Lasting | None]:
        """The outcomes that `decide` writes about an event, and within which instants of deciding, and of
        having occurred, they stay the same about such an event for this state and governance: each from when
        to before when, in milliseconds.

        None where that is not known, as of whoever is decided about alone.
        """
        kind = self._kind(cut.traits, at)
        common = standing(state, at, cut.occurred_at)
        known = None if common is None else self._known((kind, common), cut, at, state)
        if known is None:
            return self._by_itself(cut, kind.wanted, kind.templates, at, state)[0], None
        alike, pattern = known
        since, before, early, late = steady(state, at, cut.occurred_at)
        outcomes = pattern.outcomes([listed(one) for one in alike.names(state)])
        return outcomes, (max(since, kind.since), min(before, kind.before), early, late)

    def _kind(self, traits: Traits, at: int) -> Kind:
        kind = self._kinds.get(traits)
        if kind is not None and kind.since <= at < kind.before:
            return kind
        governance = self._governance
        wanted = governance.wanting(traits.category, traits.discloser)
        kind = Kind(wanted, *unchanged(at, wanted, traits.discloser, governance.stakeholders))
        if len(self._kinds) >= kinds_max:
            self._kinds.clear()
        self._kinds[traits] = kind
        return kind

    def _known(self, key: tuple[Kind, Hashable], cut: Cut, at: int, state: State) -> Together | None:
        known: Any = self._alike.get(key, _UNKNOWN)
        return self._together(key, cut, at, state) if known is _UNKNOWN else known

    def _together(self, key: tuple[Kind, Hashable], cut: Cut, at: int, state: State) -> Together | None:
        """What is written about all of this standing; None until it came often, or where there is no such
        thing.
        """
        often = self._seen.pop(key, 0) + 1
        if often < often_min:
            if len(self._seen) >= seen_max:
                self._seen.clear()
            self._seen[key] = often
            return None
        kind, governance = key[0], self._governance
        alike = Alike.of(
            event_of(cut),
            kind.wanted,
            at,
            state,
            governance.policy,  # type: ignore[arg-type]  # without one everything is indeterminate
            governance.stakeholders,
        )
        made = None if alike is None else (alike, Pattern(kind.templates, alike.decisions, alike.gaps))
        if len(self._alike) >= alike_max:
            self._alike.clear()
        self._alike[key] = made
        return made

    def _by_itself(
        self,
        cut: Cut,
        wanted: Sequence[Subscription],
        templates: Sequence[Template],
        at: int,
        state: State,
    ) -> Written:
        governance = self._governance
        decisions = decide_all(
            event_of(cut),
            wanted,
            at,
            state,
            governance.policy,  # type: ignore[arg-type]  # without one everything is indeterminate
            governance.stakeholders,
        )
        self._alone += decisions
        return written(templates, decisions)


def event_of(cut: Cut) -> Event:
    """What the rule looks at of an event."""
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
