"""The stakeholders' own systems that are posted to: webhooks, and a clinic's FHIR server (`clinic.py`).

A webhook takes a delivery only with a signature that the Standard Webhooks library accepts, the clinic only
with the token it gave the hub. Each answers only when the delivery is on disk (`shelf.py`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import uvicorn
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from examples.county.clinic import MEDIA_TYPE, Clinic, Unfit, outcome
from examples.county.shelf import Arrival, Shelf

PUBLIC = "whpk_"  # of the specification, for a public key
age_s_max = 300  # as the library has it
body_bytes_max = 4 * 1024 * 1024
start_ms_max = 10_000


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
        self.clinic = Clinic(shelf)
        routes = [
            Route("/{stakeholder}", self._take, methods=["POST"]),
            Route("/{stakeholder}/fhir", self._chart, methods=["POST"]),
        ]
        app = Starlette(routes=routes)
        config = uvicorn.Config(
            app, log_level="error", access_log=False, lifespan="off", timeout_keep_alive=60
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._serve, name="endpoints", daemon=True)

    def address(self, stakeholder: str) -> str:
        """Where the hub delivers to this stakeholder's webhook."""
        return f"http://127.0.0.1:{self.port}/{stakeholder}"

    def fhir(self, stakeholder: str) -> str:
        """The base address of this stakeholder's FHIR server."""
        return f"{self.address(stakeholder)}/fhir"

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
        """Stops listening."""
        self.server.should_exit = True
        self.thread.join(timeout=start_ms_max / 1000)

    def _serve(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.socket]))

    async def _take(self, request: Request) -> Response:
        began_at = time.time_ns() // 1_000_000
        stakeholder = request.path_params["stakeholder"]
        body = await _body(request)
        if isinstance(body, Response):
            return body
        secret = self.secrets.get(stakeholder)
        if secret is None:
            return PlainTextResponse("not ready for this one yet", 503)
        try:
            told = verified(secret, body, dict(request.headers))
        except (WebhookVerificationError, InvalidSignature, KeyError, ValueError):
            self.forged[stakeholder] += 1
            return PlainTextResponse("the signature does not fit", 401)
        arrival = Arrival(stakeholder, request.headers["webhook-id"], began_at, told)
        await self._kept(arrival)
        return Response(status_code=204)

    async def _chart(self, request: Request) -> Response:
        began_at = time.time_ns() // 1_000_000
        body = await _body(request)
        if isinstance(body, Response):
            return body
        stakeholder = request.path_params["stakeholder"]
        if not self.clinic.lets_in(stakeholder, request.headers.get("authorization", "")):
            return JSONResponse(outcome("login", "no such token"), 401, media_type=MEDIA_TYPE)
        try:
            arrival, answer = await asyncio.to_thread(self.clinic.read, stakeholder, body, began_at)
        except Unfit as error:
            return JSONResponse(outcome("invalid", str(error)), 422, media_type=MEDIA_TYPE)
        await self._kept(arrival)
        return JSONResponse(answer, media_type=MEDIA_TYPE)

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


def verified(secret: str, body: bytes, headers: Mapping[str, str]) -> Any:
    """The event of a delivery that the hub signed.

    In: the shared secret (`whsec_…`), or the hub's public key (`whpk_…`). Raises what the
    Standard Webhooks library does, or `InvalidSignature`, `KeyError`, `ValueError`.
    """
    if not secret.startswith(PUBLIC):
        return Webhook(secret).verify(body, dict(headers))
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(secret.removeprefix(PUBLIC)))
    if abs(time.time() - int(headers["webhook-timestamp"])) > age_s_max:
        raise InvalidSignature("too old, or from the future")
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for signature in headers["webhook-signature"].split():
        if signature.startswith("v1a,"):
            key.verify(base64.b64decode(signature.removeprefix("v1a,")), said)
            return json.loads(body)
    raise InvalidSignature("none of them is by this key")


async def _body(request: Request) -> bytes | Response:
    """A request's body, or the answer to one that is too long or breaks off."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > body_bytes_max:
                return PlainTextResponse("too large", 413)
    except ClientDisconnect:
        return PlainTextResponse("cut off", 400)
    return body
