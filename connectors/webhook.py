"""Webhooks by the Standard Webhooks specification: signed, with the idempotency key as `webhook-id`.

What a receiver answers is looked at with suspicion: redirects are not followed, little of the body is read
and none of it kept, only public addresses are allowed, TLS is verified, and the send deadline ends it.
"""

import asyncio
import contextlib
import email.utils
import json
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import httpcore
from standardwebhooks.webhooks import Webhook

from connectors.adapter import Outcome, Outgoing, Secrets
from connectors.address import Forbidden, PinnedBackend

ADAPTER: Final = "webhook"
body_bytes_max: Final = 64 * 1024  # of an answer; more is not read
drain_ms_max: Final = 1_000  # for it; a receiver that drips is not waited for
connections_max: Final = 200
kept_alive_ms_max: Final = 20_000
GONE: Final = 410
THIS_ONE: Final = frozenset({400, 413, 415, 422})  # the receiver will never take this very body
RETRY_LATER: Final = frozenset({429, 502, 503, 504})
TROUBLE: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """`private`: receivers at addresses that are not public are allowed. `plain`: so is HTTP without TLS."""

    private: bool = False
    plain: bool = False


class Webhooks:
    """The adapter. One pool of connections for all receivers; to be used in one asyncio loop."""

    def __init__(
        self,
        secrets: Secrets,
        settings: WebhookSettings,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._secrets = secrets
        self._settings = settings
        self._now = now
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=connections_max,
            keepalive_expiry=kept_alive_ms_max / 1000,
            network_backend=PinnedBackend(settings.private),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Post the view. 2xx is delivered, 410 ends the subscription; what else is final, `THIS_ONE` says."""
        url = outgoing.settings.get("url")
        if not isinstance(url, str) or not self._fit(url):
            return Outcome("failed", "url-unfit")
        secrets = await asyncio.to_thread(self._secrets.webhook, outgoing.stakeholder)
        if not secrets:
            return Outcome("failed", "no-secret")
        content = json.dumps(outgoing.view, separators=(",", ":"), ensure_ascii=True)
        headers = [
            ("content-type", "application/json"),
            ("user-agent", "diversion-hub"),
            *signed(outgoing.key, self._now() // 1000, content, secrets).items(),
        ]
        try:
            async with self._pool.stream("POST", url, headers=headers, content=content.encode()) as response:
                await _drain(response)
                return outcome(response.status, _header(response, b"retry-after"), self._now())
        except (Forbidden, OSError, *TROUBLE) as error:
            return Outcome("failed", _code(error))

    def _fit(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - raises for one that is no number
        except ValueError:
            return False
        schemes = ("http", "https") if self._settings.plain else ("https",)
        return parts.scheme in schemes and bool(parts.hostname) and parts.username is None


def _code(error: Exception) -> str:
    """Why a connection brought no answer, as a constant."""
    if isinstance(error, Forbidden):
        return error.code
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "tls"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.TimeoutException | TimeoutError):
        return "timeout"
    return "connect" if isinstance(error, httpcore.ConnectError) else "connection"


def signed(key: str, at: int, content: str, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of Standard Webhooks. `at` in epoch seconds; every secret gives a signature."""
    moment = datetime.fromtimestamp(at, UTC)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(Webhook(secret).sign(key, moment, content) for secret in secrets),
    }


def outcome(status: int, retry_after: str | None, now_ms: int) -> Outcome:
    """What an answer means. `retry_after` is the header's value, seconds or an HTTP date."""
    code = f"http-{status}"
    if 200 <= status < 300:
        return Outcome("delivered", code)
    if status == GONE:
        return Outcome("refused", code, disable=True)
    if status in THIS_ONE:
        return Outcome("refused", code)
    return Outcome("failed", code, _pause(retry_after, now_ms) if status in RETRY_LATER else None)


def _pause(text: str | None, now_ms: int) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text) * 1000
    try:
        return max(0, int(email.utils.parsedate_to_datetime(text).timestamp() * 1000) - now_ms)
    except (ValueError, OverflowError):
        return None


def _header(response: httpcore.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), None)


async def _drain(response: httpcore.Response) -> None:
    """Read a short answer, so that the connection can be used again. The status has said it all already."""
    left = body_bytes_max
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(drain_ms_max / 1000):
            async for chunk in response.aiter_stream():
                left -= len(chunk)
                if left < 0:
                    return
