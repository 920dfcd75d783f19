"""The one who gives every record its place in the transparency log, and signs how far the log has come.

Places are given by writing to `ledger`, in transactions under one name for the whole hub: Kafka refuses those
of a worker that was replaced, and where to go on stands in `ledger` itself, so a record gets exactly one
place whoever is killed. Whoever holds the only partition of `ledger` in the consumer group is the one at
work; others wait. The tree is grown from what was read back, never from memory, so that all of it can be
built again.

A checkpoint is written to `ledger` before anybody sees it, under the same fencing and after the files that
prove it are on the disk. Two workers can therefore not sign two histories; what contradicts a checkpoint that
was signed or published ends the work for good.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec
from prometheus_client import Gauge

from hub.ledger.commitment import Salts
from hub.ledger.note import Checkpoint, NoteInvalid, Signer
from hub.ledger.placing import Placing, reading
from hub.ledger.tree import MEND, Tree
from schemas import codec, crash
from schemas.errors import Unavailable
from streams.errors import Corrupt, Fenced, beyond_repair
from streams.transaction import within

log = structlog.get_logger(__name__)

TOPIC: Final = "ledger"
GROUP: Final = "ledger"
READ_RECORDS_MAX: Final = 10_000
BATCH_WAIT_MS_MAX: Final = 250
ANSWER_MS_MAX: Final = 15_000

_leaves = Gauge("hub_log_leaves", "Records that have a place in the transparency log")
_signed = Gauge("hub_log_checkpoint_leaves", "Leaves under the last checkpoint that was published")


class Cosigner(Protocol):
    """What a witness is to the log: `hub.ledger.witness.Witness`."""

    def cosign(self, note: str, tree: Tree) -> str:
        """The note with the witness's signature. Raises `Unavailable`, also where the witness refuses."""


class Worker:
    """One worker. It keeps nothing that its successor would miss; after any exception make another."""

    def __init__(
        self,
        client: Mapping[str, Any],
        folder: Path,
        salts: Salts,
        signer: Signer,
        *,
        interval_ms: int,
        witness: Cosigner | None = None,
        instance_id: str | None = None,
        session_timeout_ms: int = 6_000,
        transaction_timeout_ms: int = 8_000,
    ) -> None:
        """In: librdkafka settings, the log's folder, what makes salts and signs, how often it signs; and what
        this process is called, so that nobody waits for it to be missed when it is started again.
        """
        self._client = dict(client)
        self._folder = folder
        self._salts = salts
        self._signer = signer
        self._witness = witness
        self._interval_s = interval_ms / 1000
        self._bound_ms = transaction_timeout_ms
        self._wait_s = min(BATCH_WAIT_MS_MAX, interval_ms / 2) / 1000
        self._admin = AdminClient(self._client)
        joining = reading(self._client, GROUP) | {"session.timeout.ms": session_timeout_ms}
        joining["heartbeat.interval.ms"] = session_timeout_ms // 4
        if instance_id is not None:
            joining["group.instance.id"] = instance_id
        self._follower = Consumer(joining)
        self._placing: Placing | None = None
        self._producer: Producer | None = None
        self._tree: Tree | None = None
        self._promised: Checkpoint | None = None
        self._target: int | None = None
        self._tick = self._retry = 0.0
        self._shown = 0
        self._unpublished: str | None = None

    def run(self, stop: Callable[[], bool], beat: Callable[[str | None], None] = lambda why: None) -> None:
        """Works, or waits to be needed, until `stop()`. After each turn `beat` is told why checkpoints are
        not published, or None.

        Raises `Corrupt` for what must not go on; `KafkaException`, `Unavailable`, `Fenced`, `OSError` for
        what another worker may do better.
        """
        self._follower.subscribe([TOPIC], on_assign=self._assigned, on_revoke=self._dropped)
        try:
            while not stop():
                self.turn()
                beat(self._unpublished)
        finally:
            self._leave()
            self._follower.close()

    def turn(self) -> None:
        """Reads what was written to `ledger`, gives the next places, and signs where it is time."""
        due = time.monotonic() >= self._tick
        waits = self._placing is None or (due and self._behind())
        self._follow(self._wait_s if waits else 0)
        if self._tree is None or self._target is not None:
            return
        if self._placing is None:
            self._placing = self._begin(self._tree)
        if not due:
            if values := self._placing.values(self._wait_s):
                self._write(values)
        elif not self._behind():  # or else it would stand behind leaves that it is not over
            self._sign()
        if self._tree.state.signed[0] > self._shown and time.monotonic() >= self._retry:
            self._publish(self._tree)

    def _behind(self) -> bool:
        """Whether some of what was written has not been read back yet."""
        return self._tree is None or self._placing is None or self._tree.size < self._placing.next_leaf

    # -- becoming the one at work ---------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        self._tree = tree = Tree(self._folder)
        self._promised = self._read_note(note) if (note := tree.published()) else None
        self._shown = self._promised.size if self._promised else 0
        self._producer = Producer(
            {
                **self._client,
                "transactional.id": TOPIC,
                "transaction.timeout.ms": self._bound_ms,
                "linger.ms": 5,
                "retry.backoff.ms": 10,
            }
        )
        within(ANSWER_MS_MAX, self._producer.init_transactions)  # from here on the last one can write nothing
        self._target = self._end()
        if self._target < tree.state.next:
            raise Corrupt(f"`ledger` ends at {self._target}, and the log has read it up to {tree.state.next}")
        consumer.assign([TopicPartition(TOPIC, 0, tree.state.next or OFFSET_BEGINNING)])
        log.info("keeping the log", leaves=tree.size)

    def _read_note(self, note: str) -> Checkpoint:
        try:
            return self._signer.verifier.checkpoint(note)
        except NoteInvalid as error:
            raise Corrupt(f"a checkpoint is not what this log signed: {error.detail}") from None

    def _end(self) -> int:
        """Everything written to `ledger` so far lies before this offset."""
        place = TopicPartition(TOPIC, 0)
        asked = self._admin.list_offsets(
            {place: OffsetSpec.latest()},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=ANSWER_MS_MAX / 1000,
        )
        return int(cast(Any, asked[place].result()).offset)

    def _dropped(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        log.info("leaving the log to another")
        self._leave()

    def _leave(self) -> None:
        if self._placing is not None:
            self._placing.close()
        self._tree = self._producer = self._placing = None

    def _begin(self, tree: Tree) -> Placing:
        """Everything in `ledger` is in the tree: now the records that have no place yet."""
        state = tree.state
        if self._promised is not None and self._promised.size > state.signed[0]:
            raise Corrupt(
                f"`ledger` ends before the checkpoint at {self._promised.size} leaves: it lost records"
            )
        return Placing(self._client, self._salts, state.positions, tree.size)

    # -- from `ledger` to the tree --------------------------------------------------------------------------

    def _follow(self, wait_s: float) -> None:
        for count, each_s in ((1, wait_s), (READ_RECORDS_MAX, 0.0)):
            before = self._tree
            messages = self._follower.consume(count, each_s)
            for error in filter(None, (message.error() for message in messages)):
                if beyond_repair(error):  # also without the partition: nobody would hear of it again
                    raise Fenced("the broker has given this worker's place to another")
            if before is not None and self._tree not in (before, None):
                raise Fenced("the log was given away and came back, and what was read may be of either time")
            if (tree := self._tree) is not None:
                for message in messages:
                    self._take(tree, message)
        if self._tree is not None and self._target is not None and self._tree.state.next >= self._target:
            self._target = None
            log.info("the log is up to date", leaves=self._tree.size)

    def _take(self, tree: Tree, message: Message) -> None:
        error, offset = message.error(), message.offset() or 0
        if error is None:
            self._fold(tree, message.value() or b"")
            tree.state.next = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:  # its offset is behind markers and what was aborted
            tree.state.next = max(tree.state.next, offset)
        elif not error.retriable() and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(error)

    def _fold(self, tree: Tree, value: bytes) -> None:
        record = codec.decode_as("Ledger", value)
        if (run := record["run"]) is not None:
            offsets = [leaf["offset"] for leaf in run["leaves"]]
            leaves = [leaf["commitment"] for leaf in run["leaves"]]
            tree.add((run["topic"], run["partition"]), offsets, leaves, run["first"])
            _leaves.set(tree.size)
        if (saved := record["checkpoint"]) is not None:
            self._check(tree, self._read_note(saved["note"]))
            tree.state.note = saved["note"]

    def _check(self, tree: Tree, signed: Checkpoint) -> None:
        """What was signed is the tree at this very point. Raises `Corrupt`."""
        if signed.size != tree.size or signed.root != tree.root():
            raise Corrupt(
                f"the checkpoint at {signed.size} leaves is not that of the records before it: {MEND}"
            )
        if self._promised is not None and signed.size == self._promised.size and signed != self._promised:
            raise Corrupt(f"another checkpoint at {signed.size} leaves was published: the log has forked")
        tree.state.signed = (signed.size, signed.root)

    # -- to `ledger` ----------------------------------------------------------------------------------------

    def _write(self, values: Sequence[bytes]) -> None:
        """One transaction. Raises `Fenced` where another took over, or it cannot be known how it ended."""
        assert self._producer is not None
        self._producer.begin_transaction()
        for value in values:
            self._producer.produce(TOPIC, value, partition=0)
        crash.point("ledger.produced")
        try:
            within(self._bound_ms, self._producer.commit_transaction)
        except KafkaException as error:
            raise Fenced("another keeps the log, or it cannot be known what was written") from error
        crash.point("ledger.committed")

    # -- checkpoints ----------------------------------------------------------------------------------------

    def _sign(self) -> None:
        """Signs the tree as it is, once the files that prove it are on the disk; shows nobody yet."""
        assert self._tree is not None
        self._tick = time.monotonic() + self._interval_s
        if self._tree.size > self._tree.state.signed[0]:
            root = self._tree.save()
            crash.point("ledger.saved")
            signed = self._signer.sign(Checkpoint(self._signer.verifier.name, self._tree.size, root).text)
            saved = {"size": self._tree.size, "note": signed}
            self._write([codec.encode("Ledger", {"at": _now_ms(), "checkpoint": saved})])
            crash.point("ledger.signed")

    def _publish(self, tree: Tree) -> None:
        """Shows the last checkpoint that stands in `ledger`; with a witness, once that has signed it, too."""
        self._retry = time.monotonic() + self._interval_s
        size, _ = tree.state.signed
        tree.save()
        tree.keep_for(size)
        note = tree.state.note
        if self._witness is not None:
            try:
                note = self._witness.cosign(note, tree)
            except Unavailable as error:
                self._unpublished = error.detail
                return
        self._unpublished = None
        crash.point("ledger.publishing")
        tree.publish(note)
        self._shown = size
        _signed.set(size)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
