"""Grants compiled for look-up: for every name that a grant may list, the grants that list it, as bits."""

from collections.abc import Iterable, Iterator, Sequence
from sys import intern
from typing import Final, NamedTuple

from consent.decision import COUNSELLING_NOTES, PROCEEDINGS
from consent.record import Held
from consent.terms import Grant
from consent.untyped import ALWAYS_MS, NEVER_MS

grants_max: Final = 60  # in a block, so that a set of them is a small integer
_shared_masks_max: Final = 1 << 12
_shared: Final[dict[int, int]] = {}  # equal sets are one object in all blocks
_NONE: Final[dict[str, int]] = {}  # read only

Masks = dict[str, int]


class Part(NamedTuple):
    """The grants of one consent within a block (`mask`), and the instants between which they hold."""

    mask: int
    signed_at: int
    starts_at: int
    expires_at: int


class Block:
    """Up to `grants_max` grants of a participant, compiled. Sets of grants are integers, one bit for each.

    `data` has a pair of instants for each grant, or is None where none of them bounds its data period;
    `parties` are the recipients for whom some of the grants are revoked.
    """

    __slots__ = (
        "categories",
        "compartments",
        "data",
        "disclosers",
        "ids",
        "labels",
        "notes",
        "parties",
        "parts",
        "proceedings",
        "purposes",
        "recipients",
        "revoked",
    )

    def __init__(self, pieces: Sequence[tuple[Held, Sequence[Grant]]]) -> None:
        grants = [grant for _, some in pieces for grant in some]
        self.disclosers = _index(grant.disclosers for grant in grants)
        self.recipients = _index(grant.recipients for grant in grants)
        self.purposes = _index(grant.purposes for grant in grants)
        self.categories = _index(grant.categories for grant in grants)
        self.labels = _index(grant.labels for grant in grants)
        self.compartments = _index(grant.compartments for grant in grants)
        periods = tuple([(grant.data_from, grant.data_until) for grant in grants])
        self.data = None if all(one == (ALWAYS_MS, NEVER_MS) for one in periods) else periods
        self.ids: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self.parts: tuple[Part, ...] = ()
        self.parties = _NONE
        self.revoked = self.proceedings = self.notes = 0
        first = 0
        for held, some in pieces:
            self._add(held, some, first)
            first += len(some)

    def _add(self, held: Held, grants: Sequence[Grant], first: int) -> None:
        consent = held.consent
        mask = ((1 << len(grants)) - 1) << first
        self.parts += (Part(_share(mask), consent.signed_at, consent.starts_at, held.expires_at),)
        self.ids += ((consent.id, tuple([intern(grant.id or "") for grant in grants])),)
        if held.revoked:
            self.revoked |= mask
        for place, grant in enumerate(grants, first):
            if grant.id in held.grants:
                self.revoked |= 1 << place
        if held.parties and not held.revoked:
            self.parties = dict(self.parties)
            for party in held.parties:
                self.parties[party] = self.parties.get(party, 0) | mask
        if consent.dedicated(PROCEEDINGS):
            self.proceedings |= mask
        if consent.names(COUNSELLING_NOTES):
            self.notes |= mask

    def within(self, grants: int, occurred_at: int) -> int:
        """Those of these grants whose data period holds the instant."""
        if self.data is None:
            return grants
        rest = grants
        while rest:
            lowest = rest & -rest
            rest ^= lowest
            since, until = self.data[lowest.bit_length() - 1]
            if not since <= occurred_at <= until:
                grants ^= lowest
        return grants

    def names(self, grants: int) -> Iterator[str]:
        """`consent_id/grant_id` of each."""
        place = 1
        for consent, ids in self.ids:
            for grant in ids:
                if grants & place:
                    yield f"{consent}/{grant}"
                place <<= 1


def blocks(held: Iterable[Held]) -> tuple[Block, ...]:
    """All grants of these consents that can ever cover something, in as few blocks as they fill."""
    compiled: list[Block] = []
    pieces: list[tuple[Held, Sequence[Grant]]] = []
    room = grants_max
    for one in held:
        usable = [grant for grant in one.consent.grants if grant.id is not None]
        while usable:
            pieces.append((one, usable[:room]))
            usable, room = usable[room:], max(room - len(usable), 0)
            if room == 0:
                compiled.append(Block(pieces))
                pieces, room = [], grants_max
    if pieces:
        compiled.append(Block(pieces))
    return tuple(compiled)


def _index(lists: Iterable[Iterable[str]]) -> Masks:
    found: Masks = {}
    place = 1
    for names in lists:
        for name in names:
            known = found.get(name)
            if known is None:
                found[intern(name)] = place
            else:
                found[name] = known | place
        place <<= 1
    for name, mask in found.items():
        found[name] = _share(mask)
    return found


def _share(mask: int) -> int:
    return _shared.setdefault(mask, mask) if mask < _shared_masks_max else mask
