"""Faust that reads only what was committed, and is done only with what its tables hold.

Three things that Faust leaves open, each closed in a subclass of its driver for aiokafka:

- It has no setting for the isolation level and reads uncommitted records unless it runs in transactions of
  its own. The level is set on the one consumer that it makes, which recovers its tables, too.
- It reads on while it reads its tables again, then goes back to what was committed and empties its queues.
  What it took between the two is never processed. Here it takes nothing else until its tables stand.
- Its flush gives up after a tenth of a second without a message sent, and what it flushed for is committed
  all the same. Killed then, it has lost what the table's own log was still to be told. Here a commit waits.
"""

import asyncio
import contextlib
from typing import Any, Final

import aiokafka
import faust
from aiokafka.errors import IllegalStateError
from faust.exceptions import ProducerSendError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer, Transport
from faust.types import TP
from faust.types.tuples import FutureMessage

READ_COMMITTED: Final = "read_committed"
idle_s: Final = 0.05
flush_s_max: Final = 30.0


class CommittedThread(AIOKafkaConsumerThread):
    """Makes consumers that wait for transactions to end."""

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        if not hasattr(consumer, "_isolation_level"):
            raise RuntimeError("this aiokafka keeps its isolation level elsewhere")
        consumer._isolation_level = READ_COMMITTED
        return consumer

    async def _fetch_records(self, consumer: aiokafka.AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        """Records by partition. What a rebalance overtook is put back, but for the tables' own logs."""
        found = dict(await super()._fetch_records(consumer, *args, **kwargs))
        if self.app.rebalancing:
            for tp in [tp for tp in found if not self.consumer._is_changelog_tp(tp)]:
                with contextlib.suppress(IllegalStateError):  # no longer its own
                    consumer.seek(tp, found.pop(tp)[0].offset)
        return found


class CommittedConsumer(Consumer):
    """Runs its client in that thread; takes nothing but its tables' own logs until the tables stand."""

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109  Faust's
        if self.app.rebalancing:
            active_partitions = {tp for tp in active_partitions or () if self._is_changelog_tp(tp)}
            if not active_partitions:
                await self.sleep(idle_s)
                return {}
        return await super()._getmany(active_partitions, timeout)


class CommittedProducer(Producer):
    """Its flush ends when the broker has everything that was to be sent.

    Raises `ProducerSendError` when the broker refused some of it or `flush_s_max` seconds went by. Faust ends
    then, with nothing committed that has not been sent.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._unsent: set[FutureMessage] = set()
        self._refused = False

    def send_soon(self, fut: FutureMessage) -> None:
        """Puts a message of a table's own log into the buffer."""
        self._unsent.add(fut)
        fut.add_done_callback(self._answered)
        super().send_soon(fut)

    def _answered(self, fut: Any) -> None:
        self._unsent.discard(fut)
        self._refused |= fut.cancelled() or fut.exception() is not None

    async def flush(self) -> None:
        """Waits until everything has been sent."""
        left = set(self._unsent)
        if left:
            _, left = await asyncio.wait(left, timeout=flush_s_max)
        if left or self._refused:
            raise ProducerSendError("what the tables hold was not written to their own logs")
        await super().flush()


class CommittedTransport(Transport):
    """Faust's Kafka transport with these."""

    Consumer = CommittedConsumer
    Producer = CommittedProducer


class App(faust.App):
    """A Faust app that reads only what was committed, and is done only with what its tables hold."""

    def _new_transport(self) -> CommittedTransport:
        return CommittedTransport(self.conf.broker_consumer, self)
