"""Adding a person, and telling the hub under which ids the agencies know them."""

import base64
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa

from hub.appender import Appender
from hub.crosswalk import local_aad, local_hash
from hub.governance import Register
from hub.store import Store, upsert
from hub.tables import crosswalk, merges
from hub.vault import Vault
from schemas import codec
from schemas.errors import Invalid, Refused

LOCAL_ID_CHARS_MAX: Final = 128
_ROLE: Final = "case-management"


class Linked(NamedTuple):
    """A participant, and whether this call made the person or the link known to the hub."""

    participant: str
    new: bool


class Participants:
    """Creates participants and links them. Every call may be repeated; the second one changes nothing."""

    def __init__(
        self, store: Store, vault: Vault, appender: Appender, register: Callable[[], Register]
    ) -> None:
        """In: the store, the keys, the way to the log, and what gives the register as of now."""
        self._store = store
        self._vault = vault
        self._appender = appender
        self._register = register

    def create(self, agency: str, local_id: str, by: str) -> Linked:
        """The participant whom case management knows as `local_id`, made where there is none yet.

        Raises `Refused` for an agency of another role, `Invalid` for an id that is empty or too long,
        `Unavailable` where the log does not take the link (repeat then).
        """
        self._require_case_management(agency)
        return self._claim(_new_id(), agency, _checked(local_id), by)

    def link(self, participant: str, agency: str, local_id: str, by_agency: str, by: str) -> Linked:
        """Says that `agency` knows `participant` as `local_id`.

        Raises as `create`, and `Refused` for a participant or an agency that does not exist (`not-found`) and
        for a local id that is somebody else's (`conflict`).
        """
        self._require_case_management(by_agency)
        if not self._register().registered(agency):
            raise Refused("no such agency", path="/agency", code="not-found")
        if not self.exists(participant):
            raise Refused("no such participant", path="/participant", code="not-found")
        linked = self._claim(participant, agency, _checked(local_id), by)
        if linked.participant != participant:
            raise Refused("this local id is somebody else's", path="/local_id", code="conflict")
        return linked

    def unlink(self, participant: str, agency: str, local_id: str, by: str) -> bool:
        """Ends a link, out: whether there was one."""
        local = local_hash(self._vault, agency, _checked(local_id))
        mine = sa.and_(
            crosswalk.c.agency == agency, crosswalk.c.local == local, crosswalk.c.participant == participant
        )
        with self._store.read() as connection:
            row = connection.execute(sa.select(crosswalk.c.sealed).where(mine)).one_or_none()
        if row is None:
            return False
        self._write("unlinked", participant, agency, local, row.sealed, by)
        with self._store.write() as connection:
            connection.execute(crosswalk.delete().where(mine))
        return True

    def forget(self, participant: str, by: str) -> int:
        """Ends every link of a participant. Out: how many there were. Raises `Unavailable`; repeat then."""
        mine = crosswalk.c.participant == participant
        with self._store.read() as connection:
            rows = connection.execute(sa.select(crosswalk).where(mine)).all()
        for row in rows:
            self._write("unlinked", participant, row.agency, row.local, b"", by)
            here = sa.and_(crosswalk.c.agency == row.agency, crosswalk.c.local == row.local, mine)
            with self._store.write() as connection:
                connection.execute(crosswalk.delete().where(here))
        return len(rows)

    def exists(self, participant: str) -> bool:
        """Whether anybody is linked to this id."""
        query = sa.select(sa.literal(1)).where(crosswalk.c.participant == participant).limit(1)
        with self._store.read() as connection:
            return connection.execute(query).scalar() is not None

    def merged_into(self, participant: str) -> str | None:
        """Who this participant turned out to be (`hub/merging.py`); None for nobody else."""
        query = sa.select(merges.c.survivor).where(merges.c.absorbed == participant)
        with self._store.read() as connection:
            return connection.execute(query).scalar()

    def claim(self, participant: str, agency: str, local: str, sealed: bytes, at: int, by: str) -> int:
        """Writes a link as of `at`, in epoch ms. In: the keyed hash, the local id sealed. Out: its offset."""
        return self._write("linked", participant, agency, local, sealed, by, at)

    def release(self, participant: str, agency: str, local: str, sealed: bytes, by: str) -> int:
        """Writes that a link ended. Out: the offset of that."""
        return self._write("unlinked", participant, agency, local, sealed, by)

    def of(self, agency: str, local_id: str) -> str | None:
        """Whom an agency knows by this id; None for nobody."""
        query = sa.select(crosswalk.c.participant).where(
            crosswalk.c.agency == agency, crosswalk.c.local == local_hash(self._vault, agency, local_id)
        )
        with self._store.read() as connection:
            return connection.execute(query).scalar()

    def _claim(self, participant: str, agency: str, local_id: str, by: str) -> Linked:
        """Reserves the local id in the store, where only one can win, then writes the winner to the log."""
        local = local_hash(self._vault, agency, local_id)
        here = sa.and_(crosswalk.c.agency == agency, crosswalk.c.local == local)
        with self._store.read() as connection:
            row = connection.execute(sa.select(crosswalk).where(here)).one_or_none()
        if row is None:
            sealed = self._vault.sealer(participant).seal(local_aad(agency, local), local_id.encode())
            new = {
                "agency": agency,
                "local": local,
                "participant": participant,
                "sealed": sealed,
                "at": _now(),
                "offset": None,
            }
            with self._store.write() as connection:
                upsert(connection, crosswalk, [new])
                row = connection.execute(sa.select(crosswalk).where(here)).one()
        if row.offset is not None:
            return Linked(row.participant, new=False)
        offset = self._write("linked", row.participant, agency, local, row.sealed, by)
        with self._store.write() as connection:
            connection.execute(
                crosswalk.update().where(here, crosswalk.c.offset.is_(None)).values(offset=offset)
            )
        return Linked(row.participant, new=True)

    def _write(
        self,
        kind: str,
        participant: str,
        agency: str,
        local: str,
        sealed: bytes,
        by: str,
        at: int | None = None,
    ) -> int:
        value = codec.encode(
            "Identity",
            {
                "kind": kind,
                "participant": participant,
                "agency": agency,
                "local": local,
                "sealed": sealed,
                "at": _now() if at is None else at,
                "by": by,
            },
        )
        return self._appender.append("identity", participant, value).offset

    def _require_case_management(self, agency: str) -> None:
        if self._register().role(agency) != _ROLE:
            raise Refused("only case management adds and links people", code="role")


def _new_id() -> str:
    """An id that says nothing: 130 random bits."""
    return "p-" + base64.b32encode(secrets.token_bytes(20)).decode("ascii")[:26].lower()


def _checked(local_id: str) -> str:
    if (
        not 0 < len(local_id) <= LOCAL_ID_CHARS_MAX
        or not local_id.isprintable()
        or local_id != local_id.strip()
    ):
        raise Invalid.one(
            "/local_id", "bad-local-id", f"a local id has 1 to {LOCAL_ID_CHARS_MAX} printable characters"
        )
    return local_id


def _now() -> int:
    return time.time_ns() // 1_000_000
