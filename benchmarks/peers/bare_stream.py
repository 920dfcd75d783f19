"""The least that gets from publishing to a screen.

`python -m benchmarks.peers.bare_stream BOOTSTRAP TOPIC FOLDER`: FastAPI that writes what it gets to Kafka,
and a consumer of the same topic that hands each booking to every page that listens, as a server-sent event.
It checks, decides, seals and keeps nothing.
"""

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from benchmarks.peers.bare_gateway import app
from hub import serving, settings

PAGE = """<!doctype html><title>Bare</title><ol id="alerts"></ol><script>
new EventSource("/stream").onmessage = function (event) {
  const line = document.createElement("li"), time = document.createElement("time");
  time.dateTime = JSON.parse(event.data).data.booked_at;
  line.append(time);
  document.getElementById("alerts").append(line);
};
</script>"""


async def main() -> None:
    """Serves until it is ended."""
    bootstrap, topic, folder = sys.argv[1:4]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all")
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap)
    await producer.start()
    await consumer.start()
    served, pages = app(producer, topic), set[asyncio.Queue[bytes]]()

    async def pass_on() -> None:
        async for record in consumer:
            if b"custody-booking" in record.value:
                for page in pages:
                    page.put_nowait(record.value)

    async def frames() -> AsyncIterator[str]:
        mine: asyncio.Queue[bytes] = asyncio.Queue()
        pages.add(mine)
        try:
            yield ": connected\n\n"
            while True:
                yield f"data: {json.dumps(json.loads(await mine.get()))}\n\n"
        finally:
            pages.discard(mine)

    @served.get("/")
    async def page() -> Response:
        return HTMLResponse(PAGE)

    @served.get("/stream")
    async def stream() -> Response:
        return StreamingResponse(frames(), media_type="text/event-stream")

    passing = asyncio.create_task(pass_on())
    configured = settings.load(data=Path(folder), web_port=0)
    try:
        await serving.serve(served, configured, threading.Event(), lambda address: print(address, flush=True))
    finally:
        passing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await passing


if __name__ == "__main__":
    asyncio.run(main())
