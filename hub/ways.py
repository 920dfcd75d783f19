"""The ways out: each recipient by each adapter. What waits, what went, what did not, when the next try is."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

import sqlalchemy as sa

from connectors import pull
from connectors.adapter import Record
from connectors.pending import ENDPOINT_OFFSET, Item, Left
from hub import pausing
from hub.governance import Register
from hub.store import Store
from hub.tables import intents, pulls, receipts, withheld

WEEK_MS: Final = 7 * 24 * 3_600_000
LOOK_MS: Final = 3_000  # between two looks into the log
SKEW_MS: Final = 10_000  # between the clocks of workers
ANEW_MS: Final = 3_600_000  # since the last look; far less than the log remembers what was done
TOPIC: Final = "pending"
GONE: Final = "http-410"
DELIVERIES_MAX: Final = 50
SENT_MAX: Final = 10_000
State = Literal["flows", "paused", "fails", "ended"]


class Way(NamedTuple):
    """One recipient by one adapter. Counts are of a week, times in epoch milliseconds.

    `fails` says that the last try did, `code` how; then deliveries are tried one at a time, more and more
    seldom, until one goes through. `ended` says that the recipient wanted nothing more. `by`, `why` and
    `since` say who paused it.
    """

    stakeholder: str
    adapter: str
    state: State
    waits: int
    next_at: int | None
    delivered: int
    withheld: int
    failed: int
    refused: int
    code: str | None
    last_at: int | None
    by: str | None = None
    why: str | None = None
    since: int | None = None


class Past(Protocol):
    """Reading the log: `connectors.log.KafkaHistory`."""

    def read(self, topic: str, partition: int, since_ms: int | None = None) -> Sequence[Record]:
        """See `connectors.adapter.History.read`."""

    def close(self) -> None:
        """Lets go of the connection."""


class Backlog:
    """What waits, as `pending` has it: read once, then only what is new. Connects when it is first asked."""

    def __init__(self, connect: Callable[[], Past], partitions: int, now: Callable[[], int]) -> None:
        """In: what opens a connection, the partitions of `pending`, the time in epoch milliseconds."""
        self._connect = connect
        self._now = now
        self._past: Past | None = None
        self._left = [Left() for _ in range(partitions)]
        self._since: list[int | None] = [None] * partitions
        self._items: list[Item] = []
        self._looked_at: int | None = None
        self._guard = threading.Lock()

    def items(self) -> list[Item]:
        """Deliveries that are not done, at most `LOOK_MS` old. Raises `Unavailable`."""
        with self._guard:
            if self._looked_at is None or self._now() - self._looked_at >= LOOK_MS:
                self._look()
                self._looked_at = self._now()
            return self._items

    def close(self) -> None:
        """Lets go of the connection."""
        with self._guard:
            if self._past is not None:
                self._past.close()
                self._past = None

    def _look(self) -> None:
        if self._past is None:
            self._past = self._connect()
        if self._looked_at is not None and self._now() - self._looked_at >= ANEW_MS:
            self._left = [Left() for _ in self._left]
            self._since = [None] * len(self._left)
        for partition, left in enumerate(self._left):
            for record in self._past.read(TOPIC, partition, self._since[partition]):
                left.apply(record)
                self._since[partition] = max(self._since[partition] or 0, record.timestamp - SKEW_MS)
        self._items = [item for left in self._left for item in left.items() if item.offset != ENDPOINT_OFFSET]


def ways(store: Store, register: Register, items: Sequence[Item], now_ms: int) -> list[Way]:
    """Every way out that is subscribed to, or on which something waits; sorted."""
    subscribed = {(one["stakeholder"], one["adapter"]) for one in register.subscriptions.values()}
    held = pausing.held(register)
    waiting = Counter((item.lane.stakeholder, item.lane.adapter) for item in items)
    named = sorted(subscribed | set(waiting))
    recipients = {who for who, _ in named}
    with store.read() as connection:
        ended = _counted(connection, receipts, recipients, now_ms, receipts.c.outcome)
        kept_back = _counted(connection, withheld, recipients, now_ms)
        here = _waits_here(connection)
        found = []
        for who, adapter in named:
            last = _last(connection, who, adapter)
            next_at = [item.next_at for item in items if item.lane[:2] == (who, adapter)]
            found.append(
                Way(
                    who,
                    adapter,
                    _state((who, adapter) in held, last),
                    waiting[who, adapter] + (here.get(who, 0) if adapter == pull.ADAPTER else 0),
                    min(next_at, default=None),
                    ended.get((who, adapter, "delivered"), 0),
                    kept_back.get((who, adapter), 0),
                    ended.get((who, adapter, "failed"), 0) + ended.get((who, adapter, "abandoned"), 0),
                    ended.get((who, adapter, "refused"), 0),
                    last.code if last else None,
                    last.at if last else None,
                    *held.get((who, adapter), (None, None, None)),
                )
            )
    return found


def _state(held: bool, last: Any) -> State:
    if held:
        return "paused"
    if last is not None and last.code == GONE:
        return "ended"
    return "fails" if last is not None and last.outcome in ("failed", "abandoned") else "flows"


def _counted(
    connection: sa.Connection,
    table: sa.Table,
    recipients: Collection[str],
    now_ms: int,
    *by: "sa.Column[Any]",
) -> Mapping[tuple[str, ...], int]:
    """How many records of the week, by recipient and adapter. What only began to wait here is none.

    Recipients are named: each one's week is found by an index, where a week of all would be looked for in all
    that there ever was.
    """
    columns = (table.c.stakeholder, table.c.adapter, *by)
    week = sa.and_(table.c.stakeholder.in_(recipients), table.c.at > now_ms - WEEK_MS)
    query = sa.select(*columns, sa.func.count()).where(week).group_by(*columns)
    if "code" in table.c:
        query = query.where(table.c.code != pull.WAITS.code)
    return {tuple(row[:-1]): int(row[-1]) for row in connection.execute(query)}


def _waits_here(connection: sa.Connection) -> Mapping[str, int]:
    """What waits at the hub to be fetched, by recipient."""
    unfetched = sa.and_(pulls.c.sealed.is_not(None), pulls.c.fetched_at.is_(None))
    query = sa.select(pulls.c.stakeholder, sa.func.count()).where(unfetched).group_by(pulls.c.stakeholder)
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def _last(connection: sa.Connection, stakeholder: str, adapter: str) -> Any:
    mine = sa.and_(receipts.c.stakeholder == stakeholder, receipts.c.adapter == adapter)
    newest = (receipts.c.at.desc(), receipts.c.partition, receipts.c.offset.desc())
    return connection.execute(sa.select(receipts).where(mine).order_by(*newest).limit(1)).one_or_none()


def recent(store: Store, stakeholder: str, adapter: str, limit: int = DELIVERIES_MAX) -> list[dict[str, Any]]:
    """How the newest attempts ended, newest first: rows of `receipts`."""
    mine = sa.and_(receipts.c.stakeholder == stakeholder, receipts.c.adapter == adapter)
    query = sa.select(receipts).where(mine).order_by(receipts.c.at.desc()).limit(limit)
    with store.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


class Sent(NamedTuple):
    """A delivery that was begun, by its place in the outbox."""

    key: str
    participant: str
    outbox_offset: int


def begun(
    store: Store, stakeholder: str, adapter: str, key: str | None = None, since_ms: int = 0
) -> list[Sent]:
    """Deliveries that were begun, oldest first, each once: one by its key, or all since a time.

    At most `SENT_MAX`, the oldest of them.
    """
    mine = [intents.c.stakeholder == stakeholder, intents.c.adapter == adapter, intents.c.at >= since_ms]
    mine.append(intents.c.key == key if key is not None else ~intents.c.key.startswith("v-"))
    columns = (intents.c.key, intents.c.participant, intents.c.outbox_offset)
    query = sa.select(*columns).where(*mine).group_by(*columns).order_by(sa.func.min(intents.c.at))
    with store.read() as connection:
        return [Sent(*row) for row in connection.execute(query.limit(SENT_MAX))]


def delivery(store: Store, key: str) -> list[dict[str, Any]]:
    """Everything recorded about one delivery by its idempotency key, oldest first, without what it said.

    Each row has `record`: intent, receipt or withheld.
    """
    found: list[dict[str, Any]] = []
    with store.read() as connection:
        for name, table in (("intent", intents), ("receipt", receipts), ("withheld", withheld)):
            rows = connection.execute(sa.select(table).where(table.c.key == key)).mappings()
            found += [{"record": name} | dict(row) for row in rows]
    return sorted(found, key=lambda row: (row["at"], row["offset"]))
