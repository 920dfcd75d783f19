"""Faust that reads only what was committed.

Faust has no setting for the isolation level and reads uncommitted records unless it runs in transactions of
its own. This subclass of its driver sets the level on the one consumer that it makes; tables are recovered by
the same consumer.
"""

import aiokafka
import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

READ_COMMITTED = "read_committed"


class CommittedThread(AIOKafkaConsumerThread):
    """Makes consumers that wait for transactions to end."""

    def _create_worker_consumer(self, transport: Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        if not hasattr(consumer, "_isolation_level"):
            raise RuntimeError("this aiokafka keeps its isolation level elsewhere")
        consumer._isolation_level = READ_COMMITTED
        return consumer


class CommittedConsumer(Consumer):
    """Runs its client in that thread."""

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)


class CommittedTransport(Transport):
    """Faust's Kafka transport with that consumer."""

    Consumer = CommittedConsumer


class App(faust.App):
    """A Faust app that reads only what was committed."""

    def _new_transport(self) -> CommittedTransport:
        return CommittedTransport(self.conf.broker_consumer, self)
