"""The transactional loop that every stage which must be exactly-once runs on.

Consume a batch, bring the side inputs to their last stable offsets as of now, take a step, send the offsets
under the metadata captured at assignment, commit. Whatever goes wrong before the commit leaves nothing
behind: the transaction is aborted and everything begins again at the committed offsets with empty memory.
What cannot be mended that way ends the process, loudly.
"""

import contextlib
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas import crash
from schemas.errors import Unavailable
from streams import metrics
from streams.errors import Fenced, Stalled, beyond_repair, cause, code
from streams.group import Group
from streams.health import Health, Progress
from streams.settings import Client, RunnerSettings
from streams.side import Place, SideInputs
from streams.step import Record, Step
from streams.transaction import Transaction, within

_log = structlog.get_logger()
_SLICE_S: Final = 0.05
_ASK_S: Final = 1.0
_LEAVING_MAX: Final = 4
_MEMBERSHIP: Final = frozenset(
    (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)
)


class Runner:
    """One worker of a stage. `client` holds librdkafka's settings for reaching the cluster."""

    def __init__(self, settings: RunnerSettings, step: Step, client: Client) -> None:
        self._settings = settings
        self._bound_ms = settings.transaction_timeout_ms
        self._client = client
        self._step = step
        self._held: Callable[[], Collection[Place]] = getattr(step, "held", tuple)
        self._idle: Callable[[], bool] = getattr(step, "idle", bool)
        self._since: Callable[[], int] = getattr(step, "since", int)
        self._admin = AdminClient(dict(client))
        self._lost = threading.Event()
        self._producer = self._made()
        self._leaving: list[threading.Thread] = []
        self._side = SideInputs(settings, client, self._admin, step.apply)
        self._progress = Progress(settings.group, settings.stuck_ms_max)
        self._log = _log.bind(stage=settings.group, worker=settings.instance_id)
        self._group: Group
        self._whole: list[Place] = []
        self._batch: list[Record] = []
        self._after: dict[Place, int] = {}
        self._starts: dict[Place, int] = {}
        self._targets: dict[Place, int] = {}
        self._join_by = 0.0
        self._lag_at = 0.0
        self._aborts = 0
        self._open = False
        self._preparing = False

    def health(self) -> Health:
        """How this worker is doing. May be called from any thread."""
        return self._progress.health()

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, and at most one batch longer.

        Raises `Fenced`, `Stalled`, `Unavailable`, or what the step raised, with nothing left half done; the
        process should end then and be started again.
        """
        self._within(self._settings.join_ms_max, self._producer.init_transactions)  # ends what one left
        self._whole = self._side.partitions(self._settings.whole)
        self._group = Group(self._settings, self._client, self._assigned, self._revoked, self._noted)
        self._log.info("worker started")
        try:
            while not stop.is_set():
                self._turn(stop)
        finally:
            self._close()
        self._log.info("worker stopped")

    def _turn(self, stop: threading.Event) -> None:
        self._progress.turned()
        self._receive()
        if self._group.joining and time.monotonic() > self._join_by:
            raise Stalled("the side inputs of an assignment did not arrive in time")
        try:
            if self._group.joining:
                self._join()
            elif self._group.positions:
                self._side.pump()
                if self._batch or self._due():
                    self._transact()
                else:
                    self._preparing = self._idle()
                self._settle()
        except (KafkaException, Unavailable, Stalled) as error:
            self._start_over(error, stop)

    def _receive(self) -> None:
        """Fetches while there is room. Records stay held over several turns while other partitions join."""
        if len(self._batch) >= self._settings.batch_records_max:
            return
        self._group.hold(self._held())
        wait_s = 0.0 if self._preparing or self._due() else self._settings.batch_wait_ms_max / 1000
        wait_s = _SLICE_S if self._group.joining else wait_s
        batch, after = self._group.fetch(wait_s)
        held = self._group.positions
        if self._batch:
            self._batch = [record for record in self._batch if record[:2] in held]
        self._batch += batch
        self._after.update(after)
        self._after = {place: at for place, at in self._after.items() if place in held}
        for place in {record[:2] for record in batch}:
            self._progress.working(place)

    def _due(self) -> bool:
        return self._step.due(time.time_ns() // 1_000_000)

    # -- side inputs, and becoming ready ------------------------------------------------------------------

    def _beside(self, places: Iterable[Place], names: Sequence[str]) -> set[Place]:
        return {
            (name.replace("*", topic.partition(".")[2]), partition)
            for topic, partition in places
            for name in names
        }

    def _followed(self) -> set[Place]:
        return {*self._whole, *self._beside(self._group.held, self._settings.beside)}

    def _assigned(self, places: Sequence[Place]) -> None:
        self._log.info("partitions assigned", partitions=len(places))
        self._join_by = time.monotonic() + self._settings.join_ms_max / 1000
        self._starts = {}
        for place in places:
            self._progress.joining(place)
        self._step.assigned(places)

    def _revoked(self, places: Sequence[Place]) -> None:
        self._log.info("partitions revoked", partitions=len(places))
        self._starts = {}
        for place in places:
            self._progress.lost(place)
            with contextlib.suppress(KeyError):
                metrics.LAG.remove(self._settings.group, place[0], str(place[1]))
        self._forget(places, self._followed())
        self._step.revoked(places)

    def _forget(self, places: Sequence[Place], kept: set[Place]) -> None:
        """Side inputs of these partitions are unknown again, unless others still need them."""
        names = (*self._settings.beside, *self._settings.restore)
        self._side.drop(self._beside(places, names) - kept)

    def _join(self) -> None:
        """One slice of becoming ready: committed offsets first, then the side inputs to their ends."""
        if not self._starts:
            try:
                if self._settings.recent and not self._informed():
                    return
                self._begin()
            except (KafkaException, Unavailable) as error:  # asked again; the whole of joining has its bound
                self._noted(code(error))
                return
        self._side.pump(_SLICE_S)
        if not self._side.reached(self._targets):
            return
        starts, self._starts = self._starts, {}
        self._group.run(starts)
        self._side.follow(self._followed())
        for place, at in starts.items():
            self._progress.done(place, at)
        self._log.info("partitions ready", partitions=len(starts))

    def _informed(self) -> bool:
        """One slice of reading what is whole: how far back the rest is needed may stand there."""
        self._side.follow({*self._whole, *self._beside(self._group.positions, self._settings.beside)})
        ends = self._side.ends(self._whole)
        self._side.pump(_SLICE_S)
        return self._side.reached(ends)

    def _begin(self) -> None:
        """Asks where to begin, then how far the side inputs reach.

        In this order, and by stable reads: whatever the predecessor's last transaction wrote to a topic that
        is restored lies before the end asked for afterwards. That end counts what is not yet marked as
        committed, because markers may reach that topic later than they reached the offsets.
        """
        joining = set(self._group.joining)
        committed = self._group.committed(_ASK_S)
        first = self._side.beginnings(joining)
        followed = self._followed()
        restored = self._beside(joining, self._settings.restore)
        targets = self._side.ends(followed) | self._side.ends(restored, committed=False)
        recent = self._beside(joining, self._settings.recent)
        self._side.follow(followed | restored, self._side.since(recent, self._since()) if recent else None)
        for place in joining:
            if 0 <= committed[place] < first[place]:
                self._log.warning("records expired unread", topic=place[0], partition=place[1])
        self._starts = {place: max(committed[place], first[place]) for place in joining}
        self._targets = targets

    # -- the transaction ------------------------------------------------------------------------------------

    def _transact(self) -> None:
        began = time.monotonic()
        stage = self._settings.group
        self._side.catch_up(self._side.ends(self._followed()))
        batch, after = self._batch, self._after
        self._batch, self._after = [], {}
        positions = {**self._group.positions, **after}
        self._producer.poll(0)  # tells whether a connection was lost
        if self._lost.is_set():
            self._renew()
        out = Transaction(self._producer, self._side, positions, self._settings.partitions)
        self._producer.begin_transaction()
        self._open = True
        self._step.step(batch, out)
        crash.point(f"{stage}.produced")
        if batch or out.produced or out.offsets:
            offsets = {**after, **out.offsets} or dict([next(iter(positions.items()))])
            if self._settings.flush_first:
                self._within(self._bound_ms, self._flush)
            self._send(offsets)
            crash.point(f"{stage}.offsets-sent")
        self._commit()
        crash.point(f"{stage}.committed")
        self._group.positions.update(after)
        self._aborts = 0
        for place, at in after.items():
            self._progress.done(place, at)
        metrics.BATCH.labels(stage).observe(len(batch))
        metrics.TRANSACTION.labels(stage).observe(time.monotonic() - began)
        self._step.committed()

    def _send(self, offsets: dict[Place, int]) -> None:
        """Never an empty list: the broker would not check the membership of one.

        The client has been seen to ignore this bound; then the process is ended from outside, the sooner the
        shorter it is.
        """
        positions = [TopicPartition(topic, partition, at) for (topic, partition), at in offsets.items()]
        metadata = self._group.metadata
        self._within(
            self._settings.offsets_ms_max,
            lambda wait_s: self._producer.send_offsets_to_transaction(positions, metadata, wait_s),
        )

    def _flush(self, wait_s: float) -> None:
        if self._producer.flush(wait_s):
            raise Stalled("the broker did not take the records of a transaction in time")

    def _commit(self) -> None:
        try:
            self._within(self._bound_ms, self._producer.commit_transaction)
        except KafkaException as error:
            if cause(error).retriable():
                raise Fenced("it cannot be known whether a transaction was committed") from None
            raise
        self._open = False

    def _start_over(self, error: KafkaException | Unavailable | Stalled, stop: threading.Event) -> None:
        """Back to the committed offsets with empty memory. Raises when that cannot help, or did not."""
        reason = code(error)
        fatal = isinstance(error, KafkaException) and beyond_repair(cause(error))
        self._log.warning("starting over", reason=reason, aborts=self._aborts)
        metrics.ABORTS.labels(self._settings.group, reason).inc()
        self._aborts += 1
        if fatal:
            raise Fenced("the client is beyond repair", code=reason) from error
        if self._aborts > self._settings.aborts_max:
            raise error
        if self._estranged(error):
            self._renew()
        elif self._open:
            self._abort()
        held = self._group.held
        self._batch, self._after = [], {}
        self._step.revoked(held)
        self._forget(held, set(self._whole))
        self._group.start_over()
        self._assigned(held)
        stop.wait(min(self._settings.backoff_ms_max, 100 << self._aborts) / 1000)

    @staticmethod
    def _estranged(error: KafkaException | Unavailable | Stalled) -> bool:
        """Whether the client may have lost its broker: whatever is not said by the group about membership."""
        return not isinstance(error, KafkaException) or cause(error).code() not in _MEMBERSHIP

    def _abort(self) -> None:
        """Ends the transaction without a trace; by another producer, where this one cannot."""
        try:
            self._within(self._settings.abort_ms_max, self._producer.abort_transaction)
        except KafkaException as error:
            if cause(error).fatal():
                raise
            self._renew()
        self._open = False

    def _renew(self) -> None:
        """Another producer of the same name takes over; its beginning ends what the last one left open.

        After a broker's death the client may be unable to abort however long it is given, or wait for ever
        for a coordinator that it has struck off its list (librdkafka 5456 and 5511, open with 2.16). Letting
        go of it can take as long, so a thread does that.
        """
        self._log.warning("another producer takes over")
        self._leaving = [one for one in self._leaving if one.is_alive()]
        if len(self._leaving) >= _LEAVING_MAX:
            raise Stalled("the clients that were given up do not end")
        given_up = [self._producer]
        self._producer = self._made()
        _forget_calls()
        thread = threading.Thread(target=given_up.clear, name="given-up", daemon=True)
        self._leaving.append(thread)
        thread.start()
        self._within(self._settings.join_ms_max, self._producer.init_transactions)
        self._open = False
        self._lost.clear()

    def _made(self) -> Producer:
        """A client that sets `_lost` when a connection was: its coordinator may be none any more."""
        lost = self._lost
        return Producer({**self._settings.producer(self._client), "error_cb": lambda _: lost.set()})

    def _within(self, ms: int, act: Callable[[float], object]) -> None:
        """`within`, watched: the client has been seen never to come back from a call with a timeout."""
        self._progress.promised(ms / 1000)
        try:
            within(ms, act)
        finally:
            self._progress.promised(math.inf)

    # -- being watched --------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Takes note of ends reached without records, and from time to time of how much is left to do."""
        for place, at in self._after.items():
            self._group.positions[place] = at
            self._progress.done(place, at)
        self._after = {}
        if time.monotonic() < self._lag_at:
            return
        self._lag_at = time.monotonic() + self._settings.lag_every_ms / 1000
        positions = self._group.positions
        for place, end in self._side.ends(positions).items():
            lag = max(end - positions[place], 0)
            metrics.LAG.labels(self._settings.group, place[0], str(place[1])).set(lag)
            if lag:
                self._progress.working(place)

    def _noted(self, name: str) -> None:
        self._log.warning("the client reports", error=name)

    def _close(self) -> None:
        if self._open:
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(_ASK_S)
        self._group.close()
        self._side.close()


def _forget_calls() -> None:
    """Lets the errors being handled hold nothing of the calls that they came from, a client for example."""
    error = sys.exc_info()[1]
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
