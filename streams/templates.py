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


class Copy(NamedTuple):
    """What one stakeholder gets: on which topic, which compartments, and why (an array of shares)."""

    topic: str
    compartments: tuple[str, ...]
    shares: bytes


Written = tuple[bytes, Sequence[Copy]]  # every outcome in order, as an array; a copy for each stakeholder


def written(templates: Sequence[Template], decisions: Sequence[Decision]) -> Written:
    """What is written about these decisions, one for each template. Copies are united over subscriptions."""
    outcomes = []
    copies: dict[str, tuple[str, tuple[str, ...], list[bytes]]] = {}
    for template, decision in zip(templates, decisions, strict=True):
        if decision[0] == "deny":
            outcomes.append(template.denial(decision[1]))
            continue
        before, says, after = template.permit(decision)
        rest = listed(decision[3]) + after
        outcomes.append(before + rest)
        known = copies.get(template.stakeholder)
        if known is None:
            copies[template.stakeholder] = template.topic, decision[4], [says + rest]
        else:
            united = tuple(sorted({*known[1], *decision[4]}))
            copies[template.stakeholder] = template.topic, united, [*known[2], says + rest]
    return _array(outcomes), [Copy(topic, some, _array(shares)) for topic, some, shares in copies.values()]


class Pattern:
    """What is written about everybody who is answered alike: as `written`, with gaps for the names of grants.

    `gaps` says for each decision which of the names it has (-1: none), as in `consent.alike.Alike`.
    """

    __slots__ = ("_copies", "_outcomes", "effects")

    def __init__(
        self, templates: Sequence[Template], decisions: Sequence[Decision], gaps: Sequence[int]
    ) -> None:
        self.effects = Counter([decision[:2] for decision in decisions])
        outcomes: list[bytes | int] = [raw.long(len(decisions))]
        copies: dict[str, tuple[str, set[str], list[bytes | int]]] = {}
        for template, decision, gap in zip(templates, decisions, gaps, strict=True):
            if decision.effect == "deny":
                outcomes.append(template.denial(decision.reason))
                continue
            before, says, after = template.permit(decision)
            outcomes += [before, gap, after]
            _, compartments, shares = copies.setdefault(template.stakeholder, (template.topic, set(), []))
            compartments.update(decision.compartments)
            shares += [says, gap, after]
        self._outcomes = _Gapped([*outcomes, _END] if decisions else [_END])
        self._copies = [
            (topic, tuple(sorted(compartments)), _Gapped([raw.long(len(shares) // 3), *shares, _END]))
            for topic, compartments, shares in copies.values()
        ]

    def outcomes(self, names: Sequence[bytes]) -> bytes:
        """The outcomes of what is `filled`."""
        return self._outcomes.filled(names)

    def filled(self, names: Sequence[bytes]) -> Written:
        """What is written about one of them, whose grants have these names (as `listed`)."""
        copies = [
            Copy(topic, compartments, gapped.filled(names)) for topic, compartments, gapped in self._copies
        ]
        return self._outcomes.filled(names), copies


class _Gapped:
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


def _array(items: Sequence[bytes]) -> bytes:
    """Items as Avro writes an array of them: one block, then the end."""
    return b"".join((raw.long(len(items)), *items, _END)) if items else _END
