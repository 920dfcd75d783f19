"""What stays the same, from event to event, of the bytes that enforce writes: once for each subscription.

Put together they are byte for byte what `schemas.raw.outcome` and `schemas.raw.share` give.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from consent import Decision, Subscription
from schemas import raw
from schemas.topics import outbox

_DENY: Final = b"\0"
_PERMIT: Final = b"\x02"
_SOME_BASIS: Final = b"\x02"
_NOTHING: Final = b"\0" * 4  # no basis, and three empty lists
_SHORT: Final = 64  # characters whose count takes one byte


class Template:
    """One subscription. `topic` is its stakeholder's outbox. A permit's reason is its basis."""

    __slots__ = ("_denials", "_outcome", "_permits", "_share", "stakeholder", "topic")

    def __init__(self, one: Subscription) -> None:
        names = raw.string(one.id) + raw.string(one.purpose)
        self.stakeholder = one.stakeholder
        self.topic = outbox(one.stakeholder)
        self._outcome = raw.string(one.stakeholder) + names
        self._share = names
        self._denials: dict[str, bytes] = {}
        self._permits: dict[str | None, tuple[bytes, bytes]] = {}

    def denial(self, reason: str) -> bytes:
        """The outcome of a denial for this reason. There are as many as there are reasons."""
        found = self._denials.get(reason)
        if found is None:
            found = self._denials[reason] = self._outcome + _DENY + raw.string(reason) + _NOTHING
        return found

    def permit(self, decision: Decision) -> tuple[bytes, bytes]:
        """The outcome of a permit, and the share that travels with the copy."""
        _, reason, basis, grants, compartments, obligations = decision
        begins = self._permits.get(basis)
        if begins is None:
            named = raw.string(basis or "")
            outcome = self._outcome + _PERMIT + raw.string(reason) + _SOME_BASIS + named
            begins = self._permits[basis] = outcome, self._share + named
        if len(grants) == 1 and len(grants[0]) < _SHORT and grants[0].isascii():
            rest = b"\x02%c%b\0" % (len(grants[0]) << 1, grants[0].encode()) + _ends(
                compartments, obligations
            )
        else:
            rest = raw.strings(grants) + _ends(compartments, obligations)
        return begins[0] + rest, begins[1] + rest


class Copy(NamedTuple):
    """What one stakeholder gets: on which topic, which compartments, and why."""

    topic: str
    compartments: tuple[str, ...]
    shares: list[bytes]


def written(
    templates: Sequence[Template], decisions: Sequence[Decision]
) -> tuple[list[bytes], dict[str, Copy]]:
    """Every outcome as bytes, in order, and the copies by stakeholder, united over its subscriptions."""
    outcomes: list[bytes] = []
    copies: dict[str, Copy] = {}
    for template, decision in zip(templates, decisions, strict=True):
        if decision[0] == "deny":
            outcomes.append(template.denial(decision[1]))
            continue
        outcome, share = template.permit(decision)
        outcomes.append(outcome)
        known = copies.get(template.stakeholder)
        if known is None:
            copies[template.stakeholder] = Copy(template.topic, decision[4], [share])
        else:
            united = tuple(sorted({*known.compartments, *decision[4]}))
            copies[template.stakeholder] = Copy(template.topic, united, [*known.shares, share])
    return outcomes, copies


@lru_cache(maxsize=4_096)
def _ends(compartments: tuple[str, ...], obligations: tuple[str, ...]) -> bytes:
    return raw.strings(compartments) + raw.strings(obligations)
