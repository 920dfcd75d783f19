"""A participant's record: what their directives come to, in plain terms and with the offsets they have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from consent.terms import Consent, Emergency, Order, Restriction
from consent.untyped import NEVER_MS, moment, text, texts

NARROWS: Final = "narrows"
WIDENS: Final = "widens"

_DIRECTIONS: Final = {
    "consent-granted": frozenset({WIDENS}),
    "consent-revoked": frozenset({NARROWS}),
    "restriction-placed": frozenset({NARROWS, WIDENS}),  # it may replace a broader one
    "restriction-lifted": frozenset({WIDENS}),
    "order-filed": frozenset({NARROWS, WIDENS}),  # it may replace one that allows more
    "order-vacated": frozenset({NARROWS}),
    "emergency-declared": frozenset({NARROWS, WIDENS}),  # the same
    "program-exited": frozenset({NARROWS}),
}
DIRECTIVES: Final = frozenset(_DIRECTIONS)

_Term = TypeVar("_Term", Restriction, Order, Emergency)


def direction(directive_type: str) -> frozenset[str]:
    """What a directive of this type may do to what is allowed: `narrows`, `widens`, or both.

    A type that isn't known does nothing, so the set is empty.
    """
    return _DIRECTIONS.get(directive_type, frozenset())


class Placed(NamedTuple):
    """One directive where it stands: its offset in the log, its own id if it has one, and its body."""

    offset: int
    id: str | None
    body: object


@dataclass(slots=True)
class Held:
    """One consent on record, and what was taken back of it since.

    `exited_at` is the earliest exit recorded after it, in milliseconds. `offsets` are those of the directives
    that gave it and changed it, in order.
    """

    consent: Consent
    offsets: list[int]
    place: int
    revoked: bool = False
    parties: set[str] = field(default_factory=set)
    grants: set[str] = field(default_factory=set)
    exited_at: int = NEVER_MS

    @property
    def expires_at(self) -> int:
        """The last instant at which the consent holds, in milliseconds."""
        fixed = self.consent.expires_at
        return min(fixed, self.exited_at) if self.consent.on_exit else fixed


class Record:
    """The fold of one participant's directives, each dict by the id of what it holds.

    `standing` tells the offset at which a restriction, order or emergency (by kind and id) was last placed.
    """

    __slots__ = ("_exits", "_seen", "consents", "emergencies", "offset", "orders", "restrictions", "standing")

    def __init__(self, directives: Iterable[Placed] = ()) -> None:
        self.consents: dict[str, Held] = {}
        self.restrictions: dict[str, Restriction] = {}
        self.orders: dict[str, Order] = {}
        self.emergencies: dict[str, Emergency] = {}
        self.standing: dict[tuple[str, str], int] = {}
        self.offset = -1
        self._seen: set[str] = set()
        self._exits: list[tuple[int, int, int]] = []
        for one in directives:
            self._add(one)
        self._leave()

    def _add(self, directive: Placed) -> None:
        self.offset = offset = directive.offset
        if directive.id is not None:
            if directive.id in self._seen:
                return
            self._seen.add(directive.id)
        body = directive.body
        if not isinstance(body, Mapping):
            return
        match body.get("type"):
            case "consent-granted":
                self._grant(body, offset)
            case "consent-revoked":
                self._revoke(body, offset)
            case "restriction-placed":
                self._keep("restriction", Restriction.of(body.get("restriction")), self.restrictions, offset)
            case "restriction-lifted":
                self._drop("restriction", text(body.get("restriction_id")), self.restrictions)
            case "order-filed":
                self._keep("order", Order.of(body.get("order")), self.orders, offset)
            case "order-vacated":
                self._drop("order", text(body.get("order_id")), self.orders)
            case "emergency-declared":
                self._keep("emergency", Emergency.of(body.get("emergency")), self.emergencies, offset)
            case "program-exited":
                left = moment(body.get("at"))
                if left is not None:
                    self._exits.append((len(self.consents), left, offset))

    def _grant(self, body: Mapping[object, object], offset: int) -> None:
        consent = Consent.of(body.get("consent"))
        if consent is not None and consent.id not in self.consents:
            self.consents[consent.id] = Held(consent, [offset], len(self.consents))

    def _revoke(self, body: Mapping[object, object], offset: int) -> None:
        name = text(body.get("consent_id"))
        held = None if name is None else self.consents.get(name)
        if held is None:
            return
        parties, grants = texts(body.get("recipients")), texts(body.get("grants"))
        held.revoked = held.revoked or not (parties or grants)
        held.parties.update(parties)
        held.grants.update(grants)
        held.offsets.append(offset)

    def _keep(self, kind: str, term: _Term | None, kept: dict[str, _Term], offset: int) -> None:
        if term is not None:
            kept[term.id] = term
            self.standing[kind, term.id] = offset

    def _drop(self, kind: str, name: str | None, kept: dict[str, _Term]) -> None:
        if name is not None and kept.pop(name, None) is not None:
            del self.standing[kind, name]

    def _leave(self) -> None:
        """Let each exit end the consents on record before it, in one pass from the last exit to the first."""
        earliest, offset = NEVER_MS, -1
        exits = self._exits
        for held in reversed(self.consents.values()):
            while exits and exits[-1][0] > held.place:
                _, left, stands_at = exits.pop()
                if left <= earliest:
                    earliest, offset = left, stands_at
            if held.consent.on_exit and earliest != NEVER_MS:
                held.exited_at = earliest
                held.offsets.append(offset)
