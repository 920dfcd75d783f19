"""What the hub's Faust apps have in common: a table by participant, progress, an end when something fails."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import faust

from schemas.errors import HubError
from schemas.topics import partition_of
from streams.committed import App
from streams.errors import Corrupt
from streams.health import Health, Progress

tick_ms: Final = 500
stuck_ms_max: Final = 30_000
NEVER_S: Final = 1e9  # Faust would call its tables' own logs stuck; what is stuck, `Progress` says
RAW: Final[dict[str, Any]] = {
    "key_type": bytes,
    "key_serializer": "raw",
    "value_type": bytes,
    "value_serializer": "raw",
}


class ByParticipant(faust.Table[Any, Any]):
    """A table whose keys stand where the hub's one partitioner puts them, whoever sets them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key_serializer = "raw"

    def partition_for_key(self, key: Any) -> int:
        """The partition of a participant."""
        assert self.partitions is not None
        return partition_of(key, self.partitions)


class Timed:
    """An app by its name; `reads` are the topics whose progress is watched. `folder` is where Faust may keep
    files; it keeps none of any importance.
    """

    def __init__(
        self,
        name: str,
        reads: tuple[str, ...],
        bootstrap: str,
        folder: Path,
        instance_id: str,
        partitions: int,
        **faust_settings: Any,
    ) -> None:
        self._partitions = partitions
        self._inputs = reads
        self._progress = Progress(name, stuck_ms_max)
        self._reads: dict[Any, int] = {}
        self.failure: BaseException | None = None
        brokers = ";".join(f"kafka://{address}" for address in bootstrap.split(","))
        self.app = App(
            name,
            broker=brokers,
            store="memory://",
            table_standby_replicas=0,  # in memory, a copy is read again anyhow when its turn comes
            web_enabled=False,
            datadir=str(folder),
            topic_partitions=partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=instance_id,
            broker_session_timeout=10.0,
            broker_heartbeat_interval=3.0,
            broker_request_timeout=20.0,
            stream_wait_empty=False,
            stream_processing_timeout=NEVER_S,
            Table=ByParticipant,
            **faust_settings,
        )
        self.app.timer(interval=tick_ms / 1000, name="tick")(self._tick)

    async def turn(self) -> None:
        """What is to be done now and then, while the app holds its partitions."""
        raise NotImplementedError

    async def _take(self, stream: Any, topic: str, note: Callable[[bytes], None]) -> None:
        async for event in stream.noack().events():  # Faust would acknowledge what raised, too
            try:
                note(event.value or b"")
                event.ack()
            except (HubError, ValueError) as error:
                self.failure = Corrupt(f"{topic}: {type(error).__name__}")
                raise self.failure from None
            except Exception as error:  # Faust would start the agent again, and again
                self.failure = error
                raise

    async def _tick(self) -> None:
        if not self.app.rebalancing:
            await self.turn()
        await self._watch()

    async def _watch(self) -> None:
        """Progress, by partition: what is there is read, or at least less of it is left than before."""
        self._progress.turned()
        consumer = self.app.consumer
        held = [tp for tp in consumer.assignment() if tp.topic in self._inputs]
        for tp in held:
            at, end = await consumer.position(tp), consumer.highwater(tp)
            place = (tp.topic, tp.partition)
            if at is None:
                self._progress.joining(place)
            elif end is None or at >= end or at != self._reads.get(tp):
                self._progress.done(place, at)
            else:
                self._progress.working(place)
            self._reads[tp] = at if at is not None else -1
        for tp in self._reads.keys() - set(held):
            del self._reads[tp]
            self._progress.lost((tp.topic, tp.partition))

    def health(self) -> Health:
        """How it is doing. May be called from any thread."""
        return self._progress.health()

    def run(self, stop: threading.Event, beat: Callable[[Health], None] | None = None) -> None:
        """Works until `stop` is set. Raises what ended it before."""
        asyncio.run(self._run(stop, beat))

    async def _run(self, stop: threading.Event, beat: Callable[[Health], None] | None) -> None:
        await self.app.start()
        try:
            while not stop.is_set():
                failure = self.failure or self.app.crash_reason
                if failure is not None:
                    raise failure
                if beat is not None:
                    beat(self.health())
                await asyncio.sleep(tick_ms / 1000)
        finally:
            await self.app.stop()
