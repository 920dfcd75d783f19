"""Grants compiled for look-up: for every name that a grant may list, the grants that list it, as bits."""

from bisect import bisect_right
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from struct import Struct
from sys import intern
from typing import Final, TypeVar

from consent.known import Known
from consent.policy import Policy
from consent.record import Held
from consent.terms import Consent, Grant
from consent.untyped import ALWAYS_MS, NEVER_MS

grants_max: Final = 60  # in a block, so that a set of them is a small integer
shared_max: Final = 1 << 9

_shared: Final[dict[Hashable, Hashable]] = {}  # equal values are one object in all blocks
_MASKS: Final = tuple(range(1 << 12))  # and so are the sets of up to twelve grants
_PART: Final = Struct("=qqqq")
_LATELY: Final = Struct("=qqq")
_NOT_LATELY: Final = _LATELY.pack(NEVER_MS, NEVER_MS, 0)
_NOBODY: Final[dict[str, int]] = {}  # read only

_T = TypeVar("_T", bound=Hashable)

Masks = dict[str, int]


class Index:
    """What the grants of a block say, whoever they are about: participants who signed the same share one.

    Of each grant there are its id, its consent (`owners`, places in the block's), its data period (`since`,
    `until`; None where no grant bounds it) and its compartments, in `masks` as the `policy` that asked last
    numbers them. `changes` are the instants at which a data period begins or is over.
    """

    __slots__ = (
        "categories",
        "changes",
        "compartments",
        "disclosers",
        "ids",
        "labels",
        "masks",
        "owners",
        "policy",
        "purposes",
        "recipients",
        "since",
        "until",
    )

    def __init__(self, pieces: Sequence[Sequence[Grant]]) -> None:
        grants = [grant for some in pieces for grant in some]
        self.disclosers = _index([grant.disclosers for grant in grants])
        self.recipients = _index([grant.recipients for grant in grants])
        self.purposes = _index([grant.purposes for grant in grants])
        self.categories = _index([grant.categories for grant in grants])
        self.labels = _index([grant.labels for grant in grants])
        self.compartments = tuple([_share(tuple(sorted(set(grant.compartments)))) for grant in grants])
        self.since = _bounds([grant.data_from for grant in grants], ALWAYS_MS)
        self.until = _bounds([grant.data_until for grant in grants], NEVER_MS)
        changes = {change for grant in grants for change in (grant.data_from, grant.data_until + 1)}
        self.changes = _share(tuple(sorted(changes - {ALWAYS_MS, NEVER_MS + 1})))
        self.ids = _share(tuple([intern(grant.id or "") for grant in grants]))
        self.owners = _share(tuple([place for place, some in enumerate(pieces) for _ in some]))
        self.policy: Policy | None = None
        self.masks: Sequence[int] = ()

    def window(self, occurred_at: int) -> int:
        """Which stretch between two `changes` this instant lies in: in each, the same data periods hold."""
        return bisect_right(self.changes, occurred_at) if self.changes else 0

    def stretch(self, occurred_at: int) -> tuple[int, int]:
        """From when (included) to when (not included) that stretch reaches."""
        place, changes = self.window(occurred_at), self.changes
        return changes[place - 1] if place else ALWAYS_MS, changes[place] if place < len(
            changes
        ) else NEVER_MS

    def within(self, grants: int, occurred_at: int) -> int:
        """Those of these grants whose data period holds the instant."""
        if self.since is None and self.until is None:
            return grants
        rest = grants
        while rest:
            lowest = rest & -rest
            rest ^= lowest
            place = lowest.bit_length() - 1
            early = self.since is not None and occurred_at < self.since[place]
            if early or (self.until is not None and occurred_at > self.until[place]):
                grants ^= lowest
        return grants


_indexes: Final = Known[tuple[bytes, ...], Index]()


def _indexed(pieces: Sequence[tuple[Held, tuple[Grant, ...]]]) -> Index:
    """The index of these grants, perhaps one that others have too."""
    grants = [some for _, some in pieces]
    if any(not held.consent.form.key or some is not held.consent.grants for held, some in pieces):
        return Index(grants)  # a part of a form has no key
    key = tuple([held.consent.form.key for held, _ in pieces])
    return _indexes.get(key) or _indexes.put(key, Index(grants))


class Block:
    """Up to `grants_max` grants of a participant, compiled. Sets of grants are integers, one bit for each.

    `index` says what they say, and `consents` whose they are. `parts` packs four numbers for each consent:
    its grants, when it was signed, starts and expires. `parties` are the recipients for whom some of the
    grants are revoked; `proceedings` and `notes` the grants of consents dedicated to these; `exits` those
    that leaving the program would end.
    """

    __slots__ = (
        "consents",
        "exits",
        "index",
        "lately",
        "notes",
        "parties",
        "parts",
        "proceedings",
        "revoked",
    )

    def __init__(self, pieces: Sequence[tuple[Held, tuple[Grant, ...]]]) -> None:
        self.index = _indexed(pieces)
        self.consents = tuple([held.consent.id for held, _ in pieces])
        self.parts = b""
        self.lately = _NOT_LATELY
        self.parties = _NOBODY
        self.revoked = self.proceedings = self.notes = self.exits = 0
        first = 0
        for held, some in pieces:
            self._add(held, some, first)
            first += len(some)

    def by(self, consent: Consent) -> "Block":
        """A block of this consent alone. To be asked of a block of one consent, of which nothing was taken
        back, by the same form and as much ended by leaving the program.
        """
        block = Block.__new__(Block)
        block.index, block.lately, block.parties = self.index, _NOT_LATELY, self.parties
        block.revoked, block.proceedings = self.revoked, self.proceedings
        block.notes, block.exits = self.notes, self.exits
        block.consents = (consent.id,)
        mask = _PART.unpack(self.parts)[0]
        block.parts = _PART.pack(mask, consent.signed_at, consent.starts_at, consent.expires_at)
        return block

    def _add(self, held: Held, grants: Sequence[Grant], first: int) -> None:
        consent = held.consent
        mask = ((1 << len(grants)) - 1) << first
        self.parts += _PART.pack(mask, consent.signed_at, consent.starts_at, held.expires_at)
        if held.revoked:
            self.revoked |= mask
        if held.grants:
            for place, grant in enumerate(grants, first):
                if grant.id in held.grants:
                    self.revoked |= 1 << place
        if held.parties and not held.revoked:
            self.parties = dict(self.parties)
            for party in held.parties:
                self.parties[party] = self.parties.get(party, 0) | mask
        if consent.form.proceedings:
            self.proceedings |= mask
        if consent.form.notes:
            self.notes |= mask
        if consent.on_exit and held.exited_at == NEVER_MS:
            self.exits |= mask

    def alive(self, at: int) -> int:
        """The grants that are signed, started, not expired and not revoked altogether.

        The answer is kept, with the instants between which it holds.
        """
        since: int
        before: int
        alive: int
        since, before, alive = _LATELY.unpack(self.lately)
        if since <= at < before:
            return alive
        since, before, alive = ALWAYS_MS, NEVER_MS, 0
        for mask, signed_at, starts_at, expires_at in _PART.iter_unpack(self.parts):
            if signed_at <= at and starts_at <= at <= expires_at:
                alive |= mask
            for change in (signed_at, starts_at, expires_at + 1):
                if change <= at:
                    since = max(since, change)
                else:
                    before = min(before, change)
        alive &= ~self.revoked
        self.lately = _LATELY.pack(since, before, alive)
        return alive

    def steady(self, at: int) -> tuple[int, int]:
        """From when (included) to when (not included), around `at`, no consent in it begins or is over."""
        self.alive(at)
        since, before, _ = _LATELY.unpack(self.lately)
        return since, before

    def periods(self, at: int) -> tuple[int, int, int]:
        """The grants that are signed, those started, and those not expired."""
        signed = started = unexpired = 0
        for mask, signed_at, starts_at, expires_at in _PART.iter_unpack(self.parts):
            if signed_at <= at:
                signed |= mask
            if starts_at <= at:
                started |= mask
            if at <= expires_at:
                unexpired |= mask
        return signed, started, unexpired

    def lasting(self, names: Container[str]) -> Iterator[tuple[str, int, bool]]:
        """Of each grant among these (`consent_id/grant_id`) the last instant of its consent, past every one
        where none is, and whether leaving the program would end it."""
        for place, (owner, grant) in enumerate(zip(self.index.owners, self.index.ids, strict=True)):
            name = f"{self.consents[owner]}/{grant}"
            if name in names:
                expires_at = _PART.unpack_from(self.parts, owner * _PART.size)[3]
                yield name, expires_at, bool(self.exits >> place & 1)

    def granted(self, grants: int, policy: Policy) -> tuple[tuple[str, ...], int]:
        """The sorted `consent_id/grant_id` of each of these grants, of which there is at least one, and the
        union of their compartments as a set of the policy's.
        """
        index = self.index
        if index.policy is not policy:
            masks = [policy.granted(names) for names in index.compartments]
            index.masks = bytes(masks) if policy.everything < 256 else masks
            index.policy = policy
        place = grants.bit_length() - 1
        name = f"{self.consents[index.owners[place]]}/{index.ids[place]}"
        rest = grants ^ 1 << place
        if not rest:  # the usual case
            return (name,), index.masks[place]
        names, union = self.granted(rest, policy)
        return tuple(sorted({name, *names})), index.masks[place] | union


def blocks(held: Iterable[Held]) -> tuple[Block, ...]:
    """All grants of these consents that can ever cover something, in as few blocks as they fill."""
    compiled: list[Block] = []
    pieces: list[tuple[Held, tuple[Grant, ...]]] = []
    room = grants_max
    for one in held:
        usable = one.consent.grants
        if None in [grant.id for grant in usable]:
            usable = tuple([grant for grant in usable if grant.id is not None])
        while usable:
            pieces.append((one, usable[:room]))
            usable, room = usable[room:], max(room - len(usable), 0)
            if room == 0:
                compiled.append(Block(pieces))
                pieces, room = [], grants_max
    if pieces:
        compiled.append(Block(pieces))
    return tuple(compiled)


def _index(lists: Sequence[Sequence[str]]) -> Masks:
    """For each name the lists that it stands in, as bits."""
    found: Masks = {}
    place = 1
    for names in lists:
        for name in names:
            known = found.get(name)
            if known is None:
                found[name] = place
            else:
                found[name] = known | place
        place <<= 1
    for name, mask in found.items():
        if mask < len(_MASKS):
            found[name] = _MASKS[mask]
    return found


def _bounds(instants: Sequence[int], unbounded: int) -> tuple[int, ...] | None:
    """The instants, or None where all of them are unbounded."""
    return None if set(instants) <= {unbounded} else _share(tuple(instants))


def _share(value: _T) -> _T:
    """An equal value that other blocks have too; what is common comes back soon after the table was full."""
    if len(_shared) >= shared_max:
        _shared.clear()
    return _shared.setdefault(value, value)  # type: ignore[return-value]  # equal, so of its type
