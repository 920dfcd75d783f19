"""Two participants who turn out to be one person, and back: links move, every "no" is carried, no consent is.

The one who is absorbed gets no more events, and what the log has about them is closed by a restriction of
the hub's own. The other is held to whatever either of them forbade or took back (`consent/merging.py`). All
of it is directives, links and acts in the log, so enforcing and replaying know nothing of merging. Whatever
is cut short is done by the repeat.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from consent.merging import Never, carried
from consent.record import Record
from consent.untyped import ALL
from hub import acts
from hub.appender import Appender
from hub.crosswalk import local_aad
from hub.governance import canonical
from hub.participants import Participants
from hub.rule import letters
from hub.store import Store, upsert
from hub.tables import crosswalk, merges
from hub.vault import Vault
from schemas import codec
from schemas.errors import Erased, Refused, Unsealable

KINDS: Final = frozenset({acts.MERGED, acts.UNMERGED})
EVERYTHING: Final = Never((ALL,), (ALL,), (ALL,), (ALL,))
LISTED_MAX: Final = 10_000


class Merge(NamedTuple):
    """Who was taken into whom, and when, in epoch milliseconds."""

    absorbed: str
    survivor: str
    at: int


class Moved(NamedTuple):
    """What was done: links that moved, restrictions that were placed on the survivor."""

    links: int
    restrictions: int


def apply(connection: sa.Connection, record: Mapping[str, Any], offset: int) -> None:
    """A decoded `Work` record of `KINDS`, into the store; by its place, as often as wanted."""
    absorbed, body = record["participant"], json.loads(record["body"])
    older = sa.and_(merges.c.absorbed == absorbed, merges.c.place < offset)
    if record["kind"] == acts.UNMERGED:
        connection.execute(merges.delete().where(older))
        return
    row = {"absorbed": absorbed, "survivor": body["into"], "links": body["links"], "at": record["at"]}
    upsert(
        connection,
        merges,
        [row | {"place": offset}],
        update=("survivor", "links", "at", "place"),
        newer="place",
    )


def everyone(store: Store, participant: str) -> tuple[str, ...]:
    """Every id that is this person's: the one that stays first, then those that were absorbed, sorted."""
    with store.read() as connection:
        into = sa.select(merges.c.survivor).where(merges.c.absorbed == participant)
        stays: str = connection.execute(into).scalar() or participant
        theirs = sa.select(merges.c.absorbed).where(merges.c.survivor == stays)
        return (stays, *sorted(connection.execute(theirs).scalars()))


class Merging:
    """Merges and takes apart. Every call may be repeated."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        appender: Appender,
        participants: Participants,
        record: Callable[[str], Record],
    ) -> None:
        """In: the store, the keys, the way to the log, who exists; what reads a participant's record from the
        log as it is now.
        """
        self._store = store
        self._vault = vault
        self._appender = appender
        self._participants = participants
        self._record = record

    def merge(self, survivor: str, absorbed: str, by: str) -> Moved:
        """From now on both are `survivor`. Raises `Refused` for who is not there, or merged otherwise."""
        row = self._row(absorbed)
        if row is None:
            self._mergeable(survivor, absorbed)
            with self._store.read() as connection:
                theirs = sa.and_(crosswalk.c.participant == absorbed, crosswalk.c.offset.is_not(None))
                found = sa.select(crosswalk.c.agency, crosswalk.c.local).where(theirs)
                links = [list(one) for one in connection.execute(found.order_by(crosswalk.c.agency))]
            self._act(acts.MERGED, by, absorbed, {"into": survivor, "links": links})
            row = self._row(absorbed)
            assert row is not None, "it was written just now"
        elif row.survivor != survivor:
            raise Refused("they were merged with somebody else; take that apart first", code="conflict")
        self._restrict(absorbed, row.place, 0, EVERYTHING, by)
        nevers = [one for one in carried(self._record(absorbed)) if one != EVERYTHING]
        for number, never in enumerate(nevers):
            self._restrict(survivor, row.place, number + 1, never, by)
        return Moved(self._move(row.links, absorbed, survivor, by), len(nevers))

    def unmerge(self, absorbed: str, by: str) -> Moved:
        """Gives the links back that were moved, and opens the record again.

        What was placed on the survivor stays there: only the participant lifts a restriction. Raises
        `Refused` where there was no merge.
        """
        row = self._row(absorbed)
        if row is None:
            raise Refused("nobody was merged under this id", code="not-found")
        moved = self._move(row.links, row.survivor, absorbed, by)
        lifted = {"type": "restriction-lifted", "restriction_id": self._name(absorbed, row.place, 0)}
        self._write(absorbed, row.place, lifted, by)
        self._act(acts.UNMERGED, by, absorbed, {"from": row.survivor, "links": row.links})
        return Moved(moved, 0)

    def listed(self) -> list[Merge]:
        """Who is merged now, the newest first."""
        query = sa.select(merges.c.absorbed, merges.c.survivor, merges.c.at).order_by(merges.c.at.desc())
        with self._store.read() as connection:
            return [Merge(*row) for row in connection.execute(query.limit(LISTED_MAX))]

    def _mergeable(self, survivor: str, absorbed: str) -> None:
        if survivor == absorbed:
            raise Refused("that is one participant already", code="conflict")
        for one in (survivor, absorbed):
            if not self._participants.exists(one):
                raise Refused("no such participant", code="not-found")
        with self._store.read() as connection:
            into = sa.select(merges.c.absorbed).where(merges.c.survivor == absorbed).limit(1)
            if connection.execute(into).scalar() is not None:
                raise Refused("somebody was merged into them; take that apart first", code="conflict")

    def _row(self, absorbed: str) -> "sa.Row[Any] | None":
        with self._store.read() as connection:
            return connection.execute(sa.select(merges).where(merges.c.absorbed == absorbed)).one_or_none()

    def _act(self, kind: str, by: str, absorbed: str, body: Mapping[str, Any]) -> None:
        """Writes the act, and does what the auditor will do with it."""
        record = acts.did(kind, by, absorbed, f"{absorbed} {time.time_ns()}", body, _now())
        place = acts.write(self._appender, record, absorbed)
        with self._store.write() as connection:
            apply(connection, record, place.offset)

    def _name(self, participant: str, place: int, number: int) -> str:
        return "r-" + letters(self._vault.mac("names", canonical(["merge", participant, place, number])))

    def _restrict(self, participant: str, place: int, number: int, never: Never, by: str) -> None:
        body = {"id": self._name(participant, place, number), **never._asdict()}
        self._write(participant, place, {"type": "restriction-placed", "restriction": body}, by)

    def _write(self, participant: str, place: int, rule: Mapping[str, Any], by: str) -> None:
        """A directive; the same one for the same merge, so that a repeat changes nothing."""
        named = self._vault.mac("directives", canonical(["merge", participant, place, rule]))
        value = codec.encode(
            "Directive",
            {
                "id": "d-" + letters(named),
                "participant": participant,
                "sender": by,
                "recorded_at": _now(),
                "type": rule["type"],
                "body": canonical(rule),
                "sealed": None,
            },
        )
        self._appender.append("consent", participant, value)

    def _move(self, links: list[list[str]], source: str, target: str, by: str) -> int:
        """Links from one to the other, those of them that still are the one's. Out: how many.

        The new claim is dated before the old one, so that it counts as soon as it is read, in whatever order
        the two are, and no event meanwhile finds nobody.
        """
        moved = 0
        for agency, local in links:
            here = sa.and_(crosswalk.c.agency == agency, crosswalk.c.local == local)
            with self._store.read() as connection:
                row = connection.execute(sa.select(crosswalk).where(here)).one_or_none()
            if row is None or row.participant != source:
                continue
            aad = local_aad(agency, local)
            try:
                own = self._vault.sealer(source).open(aad, row.sealed)
                sealed = self._vault.sealer(target).seal(aad, own)
            except (Erased, Unsealable):
                continue  # nobody can tell the agency its own id any more
            offset = self._participants.claim(target, agency, local, sealed, row.at - 1, by)
            self._participants.release(source, agency, local, row.sealed, by)
            with self._store.write() as connection:
                changes = {"participant": target, "sealed": sealed, "at": row.at - 1, "offset": offset}
                connection.execute(crosswalk.update().where(here).values(**changes))
            moved += 1
        return moved


def _now() -> int:
    return time.time_ns() // 1_000_000
