"""The crosswalk: which agency's local id is which participant. Nobody's local id is ever passed to another.

A link stands in the topic `identity` as a keyed hash of the local id, by which events find their participant,
and as the id itself sealed under the participant's key, for telling the agency its own id again.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol

import sqlalchemy as sa

from hub.store import NAMED_MAX, Store
from hub.tables import crosswalk
from schemas.errors import Erased, Unsealable

Who = tuple[str, str]  # an agency, and a participant


class Hashes(Protocol):
    """What makes keyed hashes: the vault."""

    def mac(self, purpose: str, data: bytes) -> str:
        """64 hexadecimal digits, the same for the same purpose and data."""


class Opener(Protocol):
    """Opens under one participant's key."""

    def open(self, aad: bytes, sealed: bytes) -> bytes:
        """Raises `Erased` or `Unsealable`."""


class Keys(Protocol):
    """What hands out participants' keys: the vault."""

    def sealer(self, participant: str) -> Opener:
        """The one participant's."""


def local_hash(vault: Hashes, agency: str, local_id: str) -> str:
    """The keyed hash that stands for an agency's local id, as 64 hexadecimal digits."""
    return vault.mac("crosswalk", agency.encode() + b"\0" + local_id.encode())


def local_aad(agency: str, local: str) -> bytes:
    """Associated data of a sealed local id: the agency and the id's keyed hash."""
    return b"identity\0" + agency.encode() + b"\0" + local.encode()


class Links:
    """The fold of `identity`: whom each local id means, for admitting events.

    Partitions may be read in any order relative to each other: where several participants claim one local id,
    the claim that was made first counts, until it is ended.
    """

    def __init__(self) -> None:
        """Starts without any link."""
        self._sole: dict[bytes, tuple[int, str]] = {}
        self._rivals: dict[bytes, dict[str, int]] = {}

    def apply(self, record: Mapping[str, Any]) -> None:
        """One decoded `Identity` record, in order within its partition."""
        key, participant, at = bytes.fromhex(record["local"]), record["participant"], record["at"]
        claims = self._rivals.pop(key, None)
        if claims is None:
            sole = self._sole.pop(key, None)
            claims = {} if sole is None else {sole[1]: sole[0]}
        if record["kind"] == "linked":
            claims.setdefault(participant, at)
        elif record["kind"] == "unlinked":
            claims.pop(participant, None)
        if len(claims) == 1:
            self._sole[key] = next((at, participant) for participant, at in claims.items())
        elif claims:
            self._rivals[key] = claims

    def participant(self, local: str) -> str | None:
        """Whom the keyed hash of a local id (`local_hash`) means; None for nobody known."""
        key = bytes.fromhex(local)
        if sole := self._sole.get(key):
            return sole[1]
        claims = self._rivals.get(key)
        return min((at, participant) for participant, at in claims.items())[1] if claims else None

    def __len__(self) -> int:
        """How many local ids are linked."""
        return len(self._sole) + len(self._rivals)


class Crosswalk:
    """The agency's own id of a participant, for what is delivered to that agency. Reads the store."""

    def __init__(self, store: Store, vault: Keys) -> None:
        """In: the store that the auditor and `hub/participants.py` fill, and the keys."""
        self._store = store
        self._vault = vault

    def local_id(self, agency: str, participant: str) -> str | None:
        """The agency's own id, the latest where it has several; None without a link, or once erased."""
        asked = (agency, participant)
        return self.local_ids([asked]).get(asked)

    def local_ids(self, asked: Collection[Who]) -> dict[Who, str]:
        """The same for many at once, each an agency and a participant; who has none is left out."""
        latest: dict[Who, tuple[str, bytes]] = {}
        for agency in sorted({agency for agency, _ in asked}):
            people = sorted({participant for one, participant in asked if one == agency})
            for start in range(0, len(people), NAMED_MAX):
                with self._store.read() as connection:
                    rows = connection.execute(
                        _LINKS, {"agency": agency, "participants": people[start : start + NAMED_MAX]}
                    ).all()
                for row in rows:
                    latest.setdefault((agency, row.participant), (row.local, row.sealed))
        found = {who: self._opened(who, *sealed) for who, sealed in latest.items()}
        return {who: name for who, name in found.items() if name is not None}

    def _opened(self, who: Who, local: str, sealed: bytes) -> str | None:
        agency, participant = who
        try:
            return self._vault.sealer(participant).open(local_aad(agency, local), sealed).decode()
        except (Erased, Unsealable):
            return None


_LINKS: Final = (
    sa.select(crosswalk.c.participant, crosswalk.c.local, crosswalk.c.sealed)
    .where(
        crosswalk.c.participant.in_(sa.bindparam("participants", expanding=True)),
        crosswalk.c.agency == sa.bindparam("agency"),
        crosswalk.c.offset.is_not(None),
    )
    .order_by(crosswalk.c.at.desc(), crosswalk.c.local)
)
