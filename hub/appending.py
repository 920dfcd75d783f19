"""Appending from an event loop: an idempotent producer, replaced when one of its records was refused.

An idempotent producer numbers what it sends to each partition, and a broker takes nothing out of order.
aiokafka, unlike Kafka's own client, doesn't begin anew after a refusal: the number of the refused record is
gone, and every later one to that partition would be out of order until the process ends.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from prometheus_client import Counter

END_S_MAX: Final = 5
AGAIN_S: Final = 1

_log = structlog.get_logger(__name__)
_replaced = Counter("hub_producers_replaced_total", "Producers given up because a record was refused")


class Appending:
    """What of an `AIOKafkaProducer` is used here. `make` makes one, not yet started.

    Whoever sent a refused record is told by its future. What is sent after that waits for the new producer.
    """

    def __init__(self, make: Callable[[], AIOKafkaProducer]) -> None:
        self._make = make
        self._producer = make()
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects. Raises aiokafka's `KafkaConnectionError` where nobody answers."""
        await self._producer.start()

    async def stop(self) -> None:
        """Stores what is in line and lets go of the connections, in bounded time."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        await _end(self._producer)

    async def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """Puts a record in line. Out: a future that ends when it is stored, or with the reason why not.

        May wait for as long as the cluster is away: the caller brings the bound.
        """
        if self._renewing is not None:
            await asyncio.shield(self._renewing)
        producer = self._producer
        stored: asyncio.Future[Any] = await producer.send(topic, value, key, partition)
        stored.add_done_callback(lambda ended: self._look(producer, ended))
        return stored

    async def send_and_wait(self, topic: str, value: bytes, key: bytes, partition: int) -> Any:
        """Appends, and waits until it is stored."""
        return await (await self.send(topic, value, key, partition))

    def _look(self, producer: AIOKafkaProducer, ended: asyncio.Future[Any]) -> None:
        if ended.cancelled() or ended.exception() is None or producer is not self._producer:
            return
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        _replaced.inc()
        _log.warning("a record was refused; another producer takes over")
        while True:
            fresh = self._make()
            try:
                await fresh.start()
            except KafkaError:
                await _end(fresh)
                await asyncio.sleep(AGAIN_S)
            else:
                break
        old, self._producer = self._producer, fresh
        await _end(old)


async def _end(producer: AIOKafkaProducer) -> None:
    """What cannot be stored in time is not stored; its senders were told, or are being told."""
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(END_S_MAX):
            await producer.stop()
