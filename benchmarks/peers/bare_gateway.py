"""The least that takes events in: `python -m benchmarks.peers.bare_gateway BOOTSTRAP TOPIC FOLDER`.

FastAPI with one route that writes what it gets to Kafka, checks nothing and seals nothing. It is served as
the hub's web is, and its producer is as careful: idempotent, and acknowledged by all in-sync replicas.
"""

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from hub import serving, settings
from schemas import cloudevents


class Nothing:
    """In place of the hub's live pages."""

    def close(self) -> None:
        """There is nothing to close."""


def app(producer: AIOKafkaProducer, topic: str) -> FastAPI:
    """The application."""
    made = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    made.state.streams = Nothing()

    @made.post("/v1/events")
    async def publish(request: Request) -> Response:
        body = await request.body()
        values = [body]
        if request.headers["content-type"] == cloudevents.BATCH:
            values = [json.dumps(one).encode() for one in json.loads(body)]
        stored = [await producer.send(topic, value, partition=0) for value in values]
        await asyncio.gather(*stored)
        answers: list[dict[str, Any]] = [{"status": "accepted"} for _ in values]
        return JSONResponse(answers, 202)

    return made


async def main() -> None:
    """Serves until it is ended."""
    bootstrap, topic, folder = sys.argv[1:4]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all")
    await producer.start()
    configured = settings.load(data=Path(folder), web_port=0)
    await serving.serve(
        app(producer, topic), configured, threading.Event(), lambda address: print(address, flush=True)
    )


if __name__ == "__main__":
    with serving.runner() as loop:
        loop.run(main())
