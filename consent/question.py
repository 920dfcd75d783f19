"""One event at one instant, before it is known who would receive it and what for."""

from collections.abc import Mapping, Sequence

from consent.block import Block
from consent.decision import COUNSELLING_NOTES, PART2
from consent.event import Event
from consent.policy import Policy
from consent.stakeholder import Stakeholder, Stakeholders
from consent.state import State
from consent.terms import Restriction
from consent.untyped import ALL, TREATING, moment

About = tuple[Stakeholder, int, tuple[str, ...]]


class Question:
    """An event with all that its decisions have in common.

    `candidates` are the blocks with a grant that covers the event, whoever receives and whatever for; with
    each those grants, the ones in force, and the ones that list all treating providers.
    """

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

    def __init__(self, event: Event, about: About, at: int, state: State, policy: Policy) -> None:
        labels = event.labels
        discloser, self.carried, self.lineage = about
        self.at = at
        self.state = state
        self.policy = policy
        self.category = event.category
        self.part2 = PART2 in labels
        self.notes = COUNSELLING_NOTES in labels
        self.candidates: list[tuple[Block, int, int, int]] = []
        for block in state.blocks:
            covering = _covering(block, event, self.lineage, discloser, at)
            if covering:
                self.candidates.append(
                    (block, covering, block.alive(at), block.index.recipients.get(TREATING, 0))
                )
        self.restrictions: Sequence[Restriction] = ()
        if state.restrictions:
            self.restrictions = [one for one in state.restrictions if concerns(one, self.lineage, labels)]

    @classmethod
    def of(
        cls,
        event: Event | Mapping[str, object] | None,
        at: int | str | None,
        state: State,
        policy: Policy,
        stakeholders: Stakeholders,
    ) -> "Question | None":
        """The question, or None where the first rule makes it indeterminate whoever asks."""
        asked = event if isinstance(event, Event) else Event.of(event)
        instant = moment(at) if isinstance(at, str) else at
        if asked is None or type(instant) is not int:
            return None
        about = _about(asked, policy, stakeholders)
        return None if about is None else cls(asked, about, instant, state, policy)


def _about(event: Event, policy: Policy, stakeholders: Stakeholders) -> About | None:
    """The discloser, the compartments carried, and the category's lineage; None where one can't be read."""
    if not event.readable or not policy.sound:
        return None
    discloser, lineage = stakeholders.get(event.discloser), policy.lineages.get(event.category)
    if discloser is None or not discloser.sound or lineage is None or not policy.labelled(event.labels):
        return None
    carried = policy.carried(event.compartments)
    return None if carried is None else (discloser, carried, lineage)


def _covering(block: Block, event: Event, lineage: Sequence[str], discloser: Stakeholder, at: int) -> int:
    """The grants of a block that cover discloser, category, labels and time of the event."""
    index = block.index
    covering = index.disclosers.get(discloser.id, 0)
    if discloser.since <= at <= discloser.until:
        covering |= index.disclosers.get(ALL, 0)
    listing = 0
    for category in lineage:
        listing |= index.categories.get(category, 0)
    covering &= listing
    for label in event.labels:
        covering &= index.labels.get(label, 0)
    return index.within(covering, event.occurred_at) if covering else 0


def concerns(one: Restriction, lineage: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a restriction matches the event's category and labels."""
    return (ALL in one.categories or any(category in one.categories for category in lineage)) and (
        ALL in one.labels or any(label in one.labels for label in labels)
    )
