"""What stays the same, from event to event, of the bytes that enforce writes: once for each subscription.

Put together they are byte for byte what `schemas.raw.outcome` and `schemas.raw.share` give.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

from consent import Decision, Subscription
from schemas import raw
from schemas.topics import outbox

_DENY: Final = b"\0"
_PERMIT: Final = b"\x02"
_SOME_BASIS: Final = b"\x02"
_NOTHING: Final = b"\0" * 4  # no basis, and three empty lists
_END: Final = b"\0"  # of an array
_SHORT: Final = 64  # bytes whose count takes one byte


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

    def permit(self, decision: Decision) -> tuple[bytes, bytes, bytes]:
        """What stands before the grants in the outcome of a permit, before them in the share that travels
        with the copy, and after them in both.
        """
        begins = self._permits.get(decision.basis)
        if begins is None:
            named = raw.string(decision.basis or "")
            outcome = self._outcome + _PERMIT + raw.string(decision.reason) + _SOME_BASIS + named
            begins = self._permits[decision.basis] = outcome, self._share + named
        return *begins, _ends(decision.compartments, decision.obligations)


class Gapped:
    """Bytes with gaps. `pieces` are bytes, and where a gap is the number of the value that fills it."""

    __slots__ = ("_format", "_values")

    def __init__(self, pieces: Sequence[bytes | int]) -> None:
        self._format = b"".join(
            [b"%b" if isinstance(one, int) else one.replace(b"%", b"%%") for one in pieces]
        )
        gaps = [one for one in pieces if isinstance(one, int)]
        self._values = itemgetter(*gaps) if gaps else _nothing

    def filled(self, values: Sequence[bytes]) -> bytes:
        """The bytes, with these in their gaps."""
        return self._format % self._values(values)


class Copy(NamedTuple):
    """What one stakeholder gets: on which topic, which compartments, and why (an array of shares)."""

    topic: str
    compartments: tuple[str, ...]
    shares: Gapped


class Pattern:
    """What is written about an event: every outcome in order, as an array, and a copy for each stakeholder,
    united over its subscriptions. The names of grants are left open, so that it serves all who are answered
    alike; `gaps` says for each decision which of the names it has, as in `consent.alike.Alike`.
    """

    __slots__ = ("copies", "effects", "outcomes")

    def __init__(
        self, templates: Sequence[Template], decisions: Sequence[Decision], gaps: Sequence[int]
    ) -> None:
        self.effects = Counter([(one.effect, one.reason) for one in decisions]).items()
        outcomes: list[bytes | int] = [raw.long(len(decisions))]
        united: dict[str, tuple[str, set[str], list[list[bytes | int]]]] = {}
        for template, decision, gap in zip(templates, decisions, gaps, strict=True):
            if decision.effect == "deny":
                outcomes.append(template.denial(decision.reason))
                continue
            before, says, after = template.permit(decision)
            outcomes += [before, gap, after]
            _, compartments, shares = united.setdefault(template.stakeholder, (template.topic, set(), []))
            compartments.update(decision.compartments)
            shares.append([says, gap, after])
        self.outcomes = Gapped([*outcomes, _END] if decisions else [_END])
        self.copies = [
            Copy(
                topic,
                tuple(sorted(compartments)),
                Gapped([raw.long(len(shares)), *[piece for one in shares for piece in one], _END]),
            )
            for topic, compartments, shares in united.values()
        ]


def listed(grants: Sequence[str]) -> bytes:
    """The names of grants as Avro writes an array of strings."""
    if len(grants) != 1:
        return raw.strings(grants) if grants else b"\0"
    name = grants[0].encode()
    if len(name) < _SHORT:  # the usual case
        return b"\x02%c%b\0" % (len(name) << 1, name)
    return b"\x02%b%b\0" % (raw.long(len(name)), name)


@lru_cache(maxsize=4_096)
def _ends(compartments: tuple[str, ...], obligations: tuple[str, ...]) -> bytes:
    return raw.strings(compartments) + raw.strings(obligations)


def _nothing(values: Sequence[bytes]) -> tuple[()]:
    return ()
