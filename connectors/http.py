"""HTTP towards recipients, who are looked at with suspicion.

Redirects are not followed, little of an answer's body is read, only public addresses are allowed, TLS is
verified, and the send deadline ends it.
"""

import asyncio
import contextlib
import email.utils
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeGuard
from urllib.parse import urlsplit

import httpcore

from connectors.adapter import Outcome
from connectors.address import Forbidden, PinnedBackend

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
    Forbidden,
    OSError,
)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`private`: receivers at addresses that are not public are allowed. `plain`: so is HTTP without TLS."""

    private: bool = False
    plain: bool = False


class Answer(NamedTuple):
    """What a receiver said. `body` is None where it was too long or too slow to be read."""

    status: int
    retry_after: str | None
    media_type: str
    body: bytes | None


class Http:
    """One pool of connections for all receivers; to be used in one asyncio loop."""

    def __init__(self, settings: HttpSettings, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=connections_max,
            keepalive_expiry=kept_alive_ms_max / 1000,
            network_backend=PinnedBackend(settings.private),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    def fit(self, url: object) -> TypeGuard[str]:
        """Whether something may be sent to that address at all."""
        if not isinstance(url, str):
            return False
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - raises for one that is no number
        except ValueError:
            return False
        schemes = ("http", "https") if self._settings.plain else ("https",)
        return parts.scheme in schemes and bool(parts.hostname) and parts.username is None

    async def post(
        self,
        url: str,
        headers: Sequence[tuple[str, str]],
        content: bytes,
        read_ms_max: int = drain_ms_max,
    ) -> Answer:
        """Post, and read a short answer for at most so long. Raises `TROUBLE`, which `trouble` names."""
        async with self._pool.stream("POST", url, headers=list(headers), content=content) as response:
            body = await _read(response, read_ms_max)
            return Answer(
                response.status,
                _header(response, b"retry-after"),
                (_header(response, b"content-type") or "").partition(";")[0].strip().lower(),
                body,
            )


def trouble(error: Exception) -> str:
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


def outcome(status: int, retry_after: str | None, now_ms: int) -> Outcome:
    """What an answer means. `retry_after` is the header's value, seconds or an HTTP date.

    2xx is delivered, 410 ends the subscription; what else is final, `THIS_ONE` says.
    """
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


async def _read(response: httpcore.Response, read_ms_max: int) -> bytes | None:
    """A short answer's body, so that the connection can be used again; None for a long or a slow one."""
    found = bytearray()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(read_ms_max / 1000):
            async for chunk in response.aiter_stream():
                found += chunk
                if len(found) > body_bytes_max:
                    return None
            return bytes(found)
    return None
