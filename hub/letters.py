"""Letters of the community: a referral, or a report of harm, by anybody and without an account.

What somebody wrote stands in the log (`work`) sealed under the hub's key of the day, which is destroyed after
half a year; kinds, dates and who took a letter in clear. Only the program's desk reads it. Whoever has the
receipt's code is told how far it has come, and nothing else; of the code a keyed hash is kept.
"""

import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
import structlog
from prometheus_client import Counter as Metric

from hub import acts
from hub.appender import Appender
from hub.codes import ALPHABET, plain
from hub.publictables import letter_days, letters
from hub.store import Store, upsert
from hub.vault import Vault
from schemas.errors import Erased, Invalid, Problem, Refused, Unavailable, Unsealable

BOUNDS: Final = {"what": 4_000, "whom": 500, "where": 300, "reach": 300}  # characters of each part
KINDS: Final = ("referral", "harm")
OUTCOMES: Final = ("followed", "passed-on", "nothing-to-do", "not-meant")
ACTS: Final = frozenset({acts.LETTER_RECEIVED, acts.LETTER_TAKEN, acts.LETTER_CLOSED})
CODE_CHARS: Final = 16  # 78 bits
GROUP_CHARS: Final = 4
ONCE_CHARS_MAX: Final = 64
LISTED_MAX: Final = 100
DAYS_SHOWN: Final = 7
COUNT_S: Final = 1.0  # so often at most the store is told how many were turned away
KEY: Final = "letters"
BY: Final = "public"

Kind = Literal["referral", "harm"]
State = Literal["waiting", "taken", "closed"]

_refused = Metric("hub_letters_refused_total", "Letters of the community that were turned away", ["reason"])
_received = Metric("hub_letters_received_total", "Letters of the community that were taken in")
log = structlog.get_logger(__name__)


class Full(Exception):
    """So many came today that no more are taken in. `wait_s`: until the day ends, in seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__("no more letters today")
        self.wait_s = wait_s


class Letter(NamedTuple):
    """One letter without its words. Times in epoch milliseconds; `outcome` once closed, of `OUTCOMES`."""

    id: str
    kind: str
    at: int
    taken_at: int | None
    taken_by: str | None
    closed_at: int | None
    closed_by: str | None
    outcome: str | None

    @property
    def state(self) -> State:
        """How far it has come."""
        if self.closed_at is not None:
            return "closed"
        return "waiting" if self.taken_at is None else "taken"


class Words(NamedTuple):
    """What somebody wrote: what happens or happened, to whom, where, and how they can be reached."""

    what: str
    whom: str = ""
    where: str = ""
    reach: str = ""


class Day(NamedTuple):
    """How many came on a day (as 2026-03-01), and how many were turned away."""

    day: str
    taken: int
    refused: int


_COLUMNS: Final = tuple(letters.c[name] for name in Letter._fields)


def apply(connection: sa.Connection, work: Mapping[str, Any], offset: int) -> None:
    """What a decoded `Work` record at that offset means. Applying it again changes nothing.

    Of two who take or close a letter, the first in the log did.
    """
    body = json.loads(work["body"])
    if work["kind"] == acts.LETTER_RECEIVED:
        empty = dict.fromkeys(column.name for column in letters.columns if column.nullable)
        new = {"id": body["about"], "kind": body["letter"], "at": work["at"], "sealed": work["sealed"]}
        upsert(connection, letters, [empty | new])
        return
    part = "taken" if work["kind"] == acts.LETTER_TAKEN else "closed"
    before = letters.c[f"{part}_offset"]
    change = {f"{part}_at": work["at"], f"{part}_by": work["by"], f"{part}_offset": offset}
    if part == "closed":
        change["outcome"] = body["outcome"]
    first = sa.and_(letters.c.id == body["about"], sa.or_(before.is_(None), before > offset))
    connection.execute(letters.update().where(first).values(**change))


class Letters:
    """Takes letters in, tells their writers how far they are, and lets the desk read, take and close them."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        appender: Appender,
        zone: tzinfo,
        clock_ms: Callable[[], int],
        desk: str | None,
        day_max: int,
    ) -> None:
        """In: the store, the keys, the way to the log, where the program is, the time; which stakeholder
        reads letters, None for nobody; how many are taken in a day."""
        self._store = store
        self._vault = vault
        self._appender = appender
        self._zone = zone
        self._clock = clock_ms
        self.desk = desk
        self._day_max = day_max
        self._guard = threading.Lock()
        self._turned: Counter[str] = Counter()  # away, by day, and not yet in the store
        self._telling = False
        self._full = ""  # the day of which it is known that no more is taken in

    def send(self, kind: str, words: Words, once: str | None = None) -> str:
        """Takes a letter in. Out: the code of its receipt, as soon as the log has it.

        In: one of `KINDS`; `once`, any text by which a repeat is known: then it is the same letter.
        Raises `Invalid`, `Refused` (`no-desk`) where nobody reads letters, `Full`, `Unavailable`.
        """
        if self.desk is None:
            raise Refused("nobody reads letters here", code="no-desk")
        checked = _checked(kind, words)
        code = self._code(once or secrets.token_hex(16))
        name = self._named(code)
        if self._one(name) is not None:
            return code
        now = self._clock()
        day = self._day(now)
        self._let_in(day, now)
        try:
            sealed = self._vault.hub(KEY).seal(_aad(name), json.dumps(checked._asdict()).encode())
            body = {"about": name, "letter": kind}
            self._write(acts.did(acts.LETTER_RECEIVED, BY, "", name, body, now, sealed), name)
        except Unavailable:
            self._count(day, taken=-1)
            self._full = ""
            raise
        _received.inc()
        return code

    def state(self, code: str) -> State:
        """How far a letter is, for who has its code. Raises `Refused` (`not-found`)."""
        found = self._one(self._named(code))
        if found is None:
            raise Refused("no letter has this code", code="not-found")
        return found.state

    def one(self, name: str) -> Letter:
        """A letter without its words. Raises `Refused` (`not-found`)."""
        found = self._one(name)
        if found is None:
            raise Refused("there is no such letter", code="not-found")
        return found

    def read(self, name: str, by: str) -> Words | None:
        """What somebody wrote, once it is recorded that `by` reads it; None where its key is gone.

        Raises `Refused` (`not-found`), `Unavailable`.
        """
        with self._store.read() as connection:
            query = sa.select(letters.c.sealed).where(letters.c.id == name)
            row = connection.execute(query).one_or_none()
        if row is None:
            raise Refused("there is no such letter", code="not-found")
        acts.access(self._appender, acts.LETTER_READ, by, {"about": name})
        try:
            return Words(**json.loads(self._vault.hub(KEY).open(_aad(name), row.sealed)))
        except (Erased, Unsealable):
            return None

    def queue(self, *, closed: bool = False) -> list[Letter]:
        """Letters that wait, oldest first, then those somebody has; or closed ones, the last first."""
        query = sa.select(*_COLUMNS)
        if closed:
            query = query.where(letters.c.closed_at.is_not(None)).order_by(letters.c.closed_at.desc())
        else:
            query = query.where(letters.c.closed_at.is_(None))
            query = query.order_by(letters.c.taken_at.is_not(None), letters.c.at)
        with self._store.read() as connection:
            return [
                Letter(*row) for row in connection.execute(query.order_by(letters.c.id).limit(LISTED_MAX))
            ]

    def waiting(self) -> int:
        """How many are open."""
        query = sa.select(sa.func.count()).select_from(letters).where(letters.c.closed_at.is_(None))
        with self._store.read() as connection:
            return int(connection.execute(query).scalar_one())

    def days(self) -> list[Day]:
        """How many came, and were turned away, on the last `DAYS_SHOWN` days with any; newest first."""
        self.tell()
        query = sa.select(letter_days).order_by(letter_days.c.day.desc()).limit(DAYS_SHOWN)
        with self._store.read() as connection:
            return [Day(*row) for row in connection.execute(query)]

    def take(self, name: str, by: str) -> Letter:
        """Somebody of the desk has it. Raises `Refused` (`not-found`, `taken`, `closed`), `Unavailable`."""
        letter = self.one(name)
        if letter.state != "waiting":
            raise Refused("somebody has this letter already", code=letter.state)
        self._write(acts.did(acts.LETTER_TAKEN, by, "", name, {"about": name}, self._clock()), name)
        after = self.one(name)
        if after.taken_by != by:
            raise Refused("somebody has this letter already", code="taken")
        return after

    def close(self, name: str, by: str, outcome: str) -> Letter:
        """It is done with. Raises `Invalid`, `Refused` (`not-found`, `closed`), `Unavailable`."""
        if outcome not in OUTCOMES:
            raise Invalid.one("/outcome", "unknown-outcome", f"one of {', '.join(OUTCOMES)}")
        if self.one(name).state == "closed":
            raise Refused("this letter was closed already", code="closed")
        body = {"about": name, "outcome": outcome}
        self._write(acts.did(acts.LETTER_CLOSED, by, "", name, body, self._clock()), name)
        after = self.one(name)
        if after.closed_by != by:
            raise Refused("somebody else was first", code="closed")
        return after

    def turned_away(self, why: str) -> None:
        """Counts a letter that was not taken in: `address` for too many from one, `day` for too many today.

        The store is told at most every `COUNT_S` seconds: counting a flood must not become one.
        """
        _refused.labels(why).inc()
        with self._guard:
            self._turned[self._day(self._clock())] += 1
            if self._telling:
                return
            self._telling = True
        timer = threading.Timer(COUNT_S, self.tell)
        timer.daemon = True
        timer.start()

    def tell(self) -> None:
        """Writes down how many were turned away since it was last told."""
        with self._guard:
            turned, self._turned, self._telling = self._turned, Counter(), False
        try:
            for day, count in turned.items():
                self._count(day, refused=count)
        except sa.exc.SQLAlchemyError as error:
            with self._guard:
                self._turned += turned
            log.warning("letters_not_counted", reason=type(error).__name__)

    def _let_in(self, day: str, now: int) -> None:
        """Takes one of the day's places, or raises `Full`."""
        if self._full != day:
            room = sa.and_(letter_days.c.day == day, letter_days.c.taken < self._day_max)
            with self._store.write() as connection:
                upsert(connection, letter_days, [{"day": day, "taken": 0, "refused": 0}])
                one = letter_days.update().where(room).values(taken=letter_days.c.taken + 1)
                if connection.execute(one).rowcount != 1:
                    self._full = day  # a flood then costs no more writing
        if self._full == day:
            self.turned_away("day")
            raise Full(self._left_s(now))

    def _count(self, day: str, *, taken: int = 0, refused: int = 0) -> None:
        more = {"taken": letter_days.c.taken + taken, "refused": letter_days.c.refused + refused}
        with self._store.write() as connection:
            upsert(connection, letter_days, [{"day": day, "taken": 0, "refused": 0}])
            connection.execute(letter_days.update().where(letter_days.c.day == day).values(**more))

    def _write(self, work: Mapping[str, Any], name: str) -> None:
        place = acts.write(self._appender, work, name)
        with self._store.write() as connection:
            apply(connection, work, place.offset)

    def _one(self, name: str) -> Letter | None:
        with self._store.read() as connection:
            row = connection.execute(sa.select(*_COLUMNS).where(letters.c.id == name)).one_or_none()
        return None if row is None else Letter(*row)

    def _code(self, once: str) -> str:
        """The code of a letter: the same for the same `once`, and nobody else can tell it."""
        number = int(self._vault.mac("letter-codes", once[:ONCE_CHARS_MAX].encode()), 16)
        chars = ""
        for _ in range(CODE_CHARS):
            number, place = divmod(number, len(ALPHABET))
            chars += ALPHABET[place]
        return "-".join(chars[at : at + GROUP_CHARS] for at in range(0, CODE_CHARS, GROUP_CHARS))

    def _named(self, code: str) -> str:
        return f"l-{self._vault.mac(KEY, plain(code).encode())[:32]}"

    def _day(self, now: int) -> str:
        return datetime.fromtimestamp(now / 1000, self._zone).date().isoformat()

    def _left_s(self, now: int) -> int:
        local = datetime.fromtimestamp(now / 1000, self._zone)
        tomorrow = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return max(1, int(tomorrow.timestamp() - now / 1000) + 1)


def _checked(kind: str, words: Words) -> Words:
    """A letter without what is around its words. Raises `Invalid`, naming every part that is wrong."""
    problems = []
    if kind not in KINDS:
        problems.append(Problem("/kind", "unknown-kind", f"one of {', '.join(KINDS)}"))
    said = Words(*(one.strip() for one in words))
    if not said.what:
        problems.append(Problem("/what", "required", "say what happens, or what happened"))
    for part, text in said._asdict().items():
        if len(text) > BOUNDS[part]:
            problems.append(Problem(f"/{part}", "too-large", f"at most {BOUNDS[part]:,} characters"))
        elif any(not (one.isprintable() or one in "\n\r\t") for one in text):
            problems.append(Problem(f"/{part}", "not-text", "text has no control characters"))
    if problems:
        raise Invalid(problems)
    return said


def _aad(name: str) -> bytes:
    return f"letter/{name}".encode()
