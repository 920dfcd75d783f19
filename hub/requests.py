"""What participants ask for as of right: filed, perhaps put off once, answered or refused. Acts in `work`.

Words that somebody writes stand in the log sealed under the participant's key; kinds and dates in clear. Of
two who close one request at once the first counts, as the log has it, in whichever order both are applied.
"""

import base64
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa

from hub import accounting, acts, deadlines
from hub.appender import Appender
from hub.casetables import petitions
from hub.store import Store, chunks, upsert
from hub.vault import Vault
from schemas.errors import Erased, Invalid, Refused

TEXT_CHARS_MAX: Final = 4_000
OF_ONE_MAX: Final = 500  # requests of one participant
PAGE_MAX: Final = 100
KINDS: Final = frozenset(
    {acts.REQUEST_FILED, acts.REQUEST_EXTENDED, acts.REQUEST_ANSWERED, acts.REQUEST_REFUSED}
)
_OUTCOMES: Final = {acts.REQUEST_ANSWERED: "answered", acts.REQUEST_REFUSED: "refused"}

State = Literal["open", "closed"]


class Request(NamedTuple):
    """One request. Times in epoch milliseconds; `outcome` is None, `answered` or `refused`."""

    id: str
    kind: str
    participant: str
    by: str
    filed_at: int
    first_due_at: int
    due_at: int
    extended_at: int | None
    extended_by: str | None
    closed_at: int | None
    closed_by: str | None
    outcome: str | None

    def overdue(self, now_ms: int) -> bool:
        """Whether its day has passed without an answer."""
        return self.outcome is None and now_ms > self.due_at

    def extensible(self, now_ms: int) -> bool:
        """Whether it may be put off: once, where the rule knows that, and before its first day has passed."""
        more = deadlines.RIGHTS[self.kind].more_days if self.kind in deadlines.RIGHTS else 0
        return more > 0 and self.outcome is None and self.extended_at is None and now_ms <= self.first_due_at


class Words(NamedTuple):
    """What was written: by the participant, as the reason to put it off, as the answer. None where nothing
    was, or where the key is gone."""

    asked: str | None
    extended_why: str | None
    closed_why: str | None


class Page(NamedTuple):
    """Some of the queue; `after` is what the next page is asked for with, None at the end."""

    requests: list[Request]
    after: str | None


_COLUMNS: Final = tuple(petitions.c[name] for name in Request._fields)


def apply(connection: sa.Connection, work: Mapping[str, Any], offset: int) -> None:
    """What a decoded `Work` record at that offset means. Applying it again changes nothing."""
    body = json.loads(work["body"])
    if work["kind"] == acts.REQUEST_FILED:
        empty = dict.fromkeys(column.name for column in petitions.columns if column.nullable)
        filed = {
            "id": body["about"],
            "kind": body["asks"],
            "participant": work["participant"],
            "by": work["by"],
            "filed_at": work["at"],
            "asked": work["sealed"],
            "first_due_at": body["due_at"],
            "due_at": body["due_at"],
        }
        upsert(connection, petitions, [empty | filed])
        return
    mine = petitions.c.id == body["about"]
    row = connection.execute(sa.select(petitions).where(mine).with_for_update()).one_or_none()
    if row is None:
        return  # thrown away; it comes again in its order
    if work["kind"] == acts.REQUEST_EXTENDED:
        first = min(one for one in (row.extended_offset, row.closed_offset, offset) if one is not None)
        if first != offset or row.extended_offset == offset:
            return
        put_off = {"due_at": body["due_at"], "extended_at": work["at"], "extended_by": work["by"]}
        change = put_off | {"extended_why": work["sealed"], "extended_offset": offset}
    else:
        if row.closed_offset is not None and row.closed_offset <= offset:
            return
        ended = {"closed_at": work["at"], "closed_by": work["by"], "outcome": _OUTCOMES[work["kind"]]}
        change = ended | {"closed_why": work["sealed"], "closed_offset": offset}
        if row.extended_offset is not None and row.extended_offset > offset:  # it came too late
            change |= dict.fromkeys(("extended_at", "extended_by", "extended_why", "extended_offset"))
            change |= {"due_at": row.first_due_at}
    connection.execute(petitions.update().where(mine).values(**change))


class Requests:
    """Files, puts off and closes them, and tells what is due. `by` is a principal (`person:<account>`, …)."""

    def __init__(
        self, store: Store, vault: Vault, appender: Appender, zone: tzinfo, clock_ms: Callable[[], int]
    ) -> None:
        """In: the store, the keys, the way to the log, where the program is, and the time."""
        self._store = store
        self._vault = vault
        self._appender = appender
        self._zone = zone
        self._clock = clock_ms

    def file(self, kind: str, participant: str, by: str, text: str = "", *, once: str | None = None) -> str:
        """A participant asks for something. Out: the request's id, as soon as the log has it.

        In: one of `deadlines.RIGHTS`; who wrote it down; the participant's own words, at most
        `TEXT_CHARS_MAX` characters; `once`, any text by which a repeat is known: then it is the same request.
        Raises `Invalid`, `Refused` (`not-found`, `erased`) for nobody, `Unavailable`.
        """
        deadlines.right(kind)
        if not accounting.known(self._store, participant):
            raise Refused("no such participant", path="/participant", code="not-found")
        name = _new_id() if once is None else self._named(participant, kind, once)
        with self._store.read() as connection:
            if connection.execute(sa.select(petitions.c.id).where(petitions.c.id == name)).scalar():
                return name
        now = self._clock()
        try:
            sealed = self._sealed(participant, name, "asked", _checked(text, needed=False))
        except Erased:
            raise Refused("this participant was erased", path="/participant", code="erased") from None
        body = {"about": name, "asks": kind, "due_at": deadlines.due(kind, now, self._zone)}
        self._write(acts.REQUEST_FILED, by, participant, body, now, sealed)
        return name

    def extend(self, name: str, by: str, reason: str) -> Request:
        """Puts a request off, once, for the reason that the participant is then told.

        Raises `Refused` (`not-found`, `closed`, `no-extension`, `extended`, `too-late`), `Invalid` without a
        reason, `Unavailable`.
        """
        now, text, request = self._clock(), _checked(reason), self._open(name)
        of = deadlines.right(request.kind)
        if not of.more_days:
            raise Refused(f"{of.source} knows no extension", code="no-extension", citation=of.source)
        if request.extended_at is not None:
            raise Refused("a request is put off once only", code="extended", citation=of.source)
        if now > request.first_due_at:
            raise Refused("its day has passed; it can only be answered now", code="too-late")
        due_at = deadlines.due(request.kind, request.filed_at, self._zone, extended=True)
        body = {"about": name, "due_at": max(due_at, request.first_due_at)}
        return self._done(acts.REQUEST_EXTENDED, request, by, body, now, "extended_why", text)

    def answer(self, name: str, by: str, text: str) -> Request:
        """Closes a request as fulfilled; what the participant is told. Raises as `extend` does."""
        return self._close(acts.REQUEST_ANSWERED, name, by, text)

    def refuse(self, name: str, by: str, reason: str) -> Request:
        """Closes a request as refused, for the reason that the participant is told. Raises as `extend`."""
        return self._close(acts.REQUEST_REFUSED, name, by, reason)

    def of(self, participant: str) -> list[Request]:
        """A participant's requests, newest first, at most `OF_ONE_MAX`."""
        query = (
            sa.select(*_COLUMNS)
            .where(petitions.c.participant == participant)
            .order_by(petitions.c.filed_at.desc(), petitions.c.id)
            .limit(OF_ONE_MAX)
        )
        with self._store.read() as connection:
            return [Request(*row) for row in connection.execute(query)]

    def one(self, name: str) -> Request:
        """One request. Raises `Refused` (`not-found`)."""
        with self._store.read() as connection:
            row = connection.execute(sa.select(*_COLUMNS).where(petitions.c.id == name)).one_or_none()
        if row is None:
            raise Refused("there is no such request", path="/request", code="not-found")
        return Request(*row)

    def words(self, name: str) -> Words:
        """What was written about it. To be recorded by who shows it. Raises `Refused` (`not-found`)."""
        columns = (petitions.c.participant, *(petitions.c[part] for part in Words._fields))
        with self._store.read() as connection:
            row = connection.execute(sa.select(*columns).where(petitions.c.id == name)).one_or_none()
        if row is None:
            raise Refused("there is no such request", path="/request", code="not-found")
        return Words(
            *(self._opened(row.participant, name, part, getattr(row, part)) for part in Words._fields)
        )

    def queue(self, state: State = "open", after: str | None = None, limit: int = PAGE_MAX) -> Page:
        """Open requests, what is due soonest first; or closed ones, the last first. By pages.

        In: `after` of the page before. Raises `Invalid` for one that none of ours was.
        """
        limit = max(1, min(limit, PAGE_MAX))
        key = petitions.c.due_at if state == "open" else petitions.c.closed_at
        query = sa.select(*_COLUMNS)
        if state == "open":
            query = query.where(petitions.c.closed_at.is_(None)).order_by(key, petitions.c.id)
        else:
            query = query.where(petitions.c.closed_at.is_not(None))
            query = query.order_by(key.desc(), petitions.c.id.desc())
        if after is not None:
            at, name = _cursor(after)
            here, there = sa.tuple_(key, petitions.c.id), sa.tuple_(sa.literal(at), sa.literal(name))
            query = query.where(here > there if state == "open" else here < there)
        with self._store.read() as connection:
            rows = connection.execute(query.limit(limit + 1)).all()
        found = [Request(*row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(found, None)
        last = found[-1]
        return Page(found, f"{last.due_at if state == 'open' else last.closed_at}.{last.id}")

    def waiting(self, participants: Iterable[str]) -> dict[str, list[Request]]:
        """The open requests of these people, what is due soonest first."""
        found: dict[str, list[Request]] = {}
        query = (
            sa.select(*_COLUMNS)
            .where(petitions.c.closed_at.is_(None))
            .order_by(petitions.c.due_at, petitions.c.id)
        )
        with self._store.read() as connection:
            for some in chunks(sorted(set(participants))):
                for row in connection.execute(query.where(petitions.c.participant.in_(some))):
                    found.setdefault(row.participant, []).append(Request(*row))
        return found

    def _open(self, name: str) -> Request:
        request = self.one(name)
        if request.outcome is not None:
            raise Refused("this request was closed already", code="closed")
        return request

    def _close(self, kind: str, name: str, by: str, text: str) -> Request:
        request, said = self._open(name), _checked(text)
        return self._done(kind, request, by, {"about": name}, self._clock(), "closed_why", said)

    def _done(
        self, kind: str, request: Request, by: str, body: Mapping[str, Any], now: int, part: str, text: str
    ) -> Request:
        try:
            sealed = self._sealed(request.participant, request.id, part, text)
        except Erased:  # what an erasure was answered with cannot be kept; that it was answered can
            sealed = None
        self._write(kind, by, request.participant, body, now, sealed)
        after = self.one(request.id)
        mine = after.extended_by == by if kind == acts.REQUEST_EXTENDED else after.closed_by == by
        if not mine:
            raise Refused("somebody else was first", code="closed")
        return after

    def _write(
        self, kind: str, by: str, participant: str, body: Mapping[str, Any], at: int, sealed: bytes | None
    ) -> None:
        work = acts.did(kind, by, participant, body["about"], body, at, sealed)
        place = acts.write(self._appender, work, participant)
        with self._store.write() as connection:
            apply(connection, work, place.offset)

    def _named(self, participant: str, kind: str, once: str) -> str:
        digest = self._vault.mac("requests", "\0".join((participant, kind, once)).encode())
        return f"r-{digest[:26]}"

    def _sealed(self, participant: str, name: str, part: str, text: str) -> bytes | None:
        sealed = self._vault.sealer(participant).seal(_aad(name, part), text.encode())
        return sealed if text else None

    def _opened(self, participant: str, name: str, part: str, sealed: bytes | None) -> str | None:
        if sealed is None:
            return None
        try:
            return self._vault.sealer(participant).open(_aad(name, part), sealed).decode()
        except Erased:
            return None


def _aad(name: str, part: str) -> bytes:
    return f"request/{name}/{part}".encode()


def _new_id() -> str:
    """An id that says nothing: 130 random bits."""
    return "r-" + base64.b32encode(secrets.token_bytes(20)).decode("ascii")[:26].lower()


def _checked(text: str, *, needed: bool = True) -> str:
    """A person's words without what is around them. Raises `Invalid`."""
    said = text.strip()
    if needed and not said:
        raise Invalid.one("/text", "required", "the participant is owed a reason in words")
    if len(said) > TEXT_CHARS_MAX:
        raise Invalid.one("/text", "too-large", f"at most {TEXT_CHARS_MAX:,} characters")
    if any(not (one.isprintable() or one in "\n\r\t") for one in said):
        raise Invalid.one("/text", "not-text", "text has no control characters")
    return said


def _cursor(text: str) -> tuple[int, str]:
    at, _, name = text.partition(".")
    if not (at.isdecimal() and at.isascii() and len(at) <= 18 and name.startswith("r-") and len(name) <= 64):
        raise Invalid.one("/after", "bad-cursor", "take it from the page before")
    return int(at), name
