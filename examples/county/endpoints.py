"""The stakeholders' own systems: real HTTP servers on this machine that take deliveries and keep them.

Each takes a delivery only with a signature that the Standard Webhooks library accepts, and answers only when
it is on disk, so that a demo killed at any moment finds again what had arrived.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvicorn
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from examples.county.journal import Lines, kept

body_bytes_max = 4 * 1024 * 1024
start_ms_max = 10_000


@dataclass(frozen=True)
class Arrival:
    """One delivery as it came in: when its request began (ms since 1970), its idempotency key, its body."""

    stakeholder: str
    key: str
    began_at: int
    body: dict[str, Any]


class Shelf:
    """What arrived, on disk as JSON lines before it is answered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.arrivals: dict[tuple[str, str], Arrival] = {}
        self.repeats: Counter[str] = Counter()
        self.changed: list[Arrival] = []
        for one in kept(path):
            self._count(Arrival(**one))
        self.lines = Lines(path)

    def put(self, *arrivals: Arrival) -> None:
        """Keeps deliveries, on disk before it returns."""
        with self.lock:
            self.lines.add(*map(asdict, arrivals))
            for arrival in arrivals:
                self._count(arrival)

    def _count(self, arrival: Arrival) -> None:
        known = self.arrivals.get((arrival.stakeholder, arrival.key))
        if known is None:
            self.arrivals[(arrival.stakeholder, arrival.key)] = arrival
            return
        self.repeats[arrival.stakeholder] += 1
        if known.body != arrival.body:
            self.changed.append(arrival)

    def all(self) -> list[Arrival]:
        """Every delivery once by its idempotency key, in the order of arrival."""
        with self.lock:
            return list(self.arrivals.values())

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self.all())

    def close(self) -> None:
        """Lets go of the file."""
        self.lines.close()


class Endpoints:
    """One server, with a path for each stakeholder's system, running in a thread of its own."""

    def __init__(self, shelf: Shelf, port: int = 0) -> None:
        self.shelf = shelf
        self.secrets: dict[str, str] = {}
        self.forged: Counter[str] = Counter()
        self.waiting: list[tuple[Arrival, asyncio.Future[None]]] = []
        self.disk = asyncio.Lock()
        self.socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = int(self.socket.getsockname()[1])
        app = Starlette(routes=[Route("/{stakeholder}", self._take, methods=["POST"])])
        config = uvicorn.Config(
            app, log_level="error", access_log=False, lifespan="off", timeout_keep_alive=60
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._serve, name="endpoints", daemon=True)

    def address(self, stakeholder: str) -> str:
        """Where the hub delivers to this stakeholder."""
        return f"http://127.0.0.1:{self.port}/{stakeholder}"

    def trust(self, secrets: Mapping[str, str]) -> None:
        """Tells the servers with which secrets the hub signs."""
        self.secrets.update(secrets)

    def start(self) -> None:
        """Begins to listen. Raises `TimeoutError` where the server does not come up."""
        self.thread.start()
        deadline = time.monotonic() + start_ms_max / 1000
        while not self.server.started:
            if time.monotonic() > deadline or not self.thread.is_alive():
                raise TimeoutError("the stakeholders' endpoints did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stops listening and closes the shelf."""
        self.server.should_exit = True
        self.thread.join(timeout=start_ms_max / 1000)
        self.shelf.close()

    def _serve(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.socket]))

    async def _take(self, request: Request) -> Response:
        began_at = time.time_ns() // 1_000_000
        stakeholder = request.path_params["stakeholder"]
        body = b""
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > body_bytes_max:
                    return PlainTextResponse("too large", 413)
        except ClientDisconnect:
            return PlainTextResponse("cut off", 400)
        secret = self.secrets.get(stakeholder)
        if secret is None:
            return PlainTextResponse("not ready for this one yet", 503)
        try:
            told = Webhook(secret).verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.forged[stakeholder] += 1
            return PlainTextResponse("the signature does not fit", 401)
        arrival = Arrival(stakeholder, request.headers["webhook-id"], began_at, told)
        await self._kept(arrival)
        return Response(status_code=204)

    async def _kept(self, arrival: Arrival) -> None:
        """Returns when it is on disk, together with all that came while the disk was busy."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((arrival, done))
        async with self.disk:
            if not done.done():
                together, self.waiting = self.waiting, []
                try:
                    await asyncio.to_thread(self.shelf.put, *(one for one, _ in together))
                except OSError as error:
                    for _, other in together:
                        other.set_exception(error)
                else:
                    for _, other in together:
                        other.set_result(None)
        await done
