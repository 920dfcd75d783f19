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
from pathlib import Path
from typing import Final, NamedTuple, TypeGuard
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from connectors.adapter import Outcome
from connectors.address import Forbidden, Resolver

body_bytes_max: Final = 64 * 1024  # of an answer; more is not read
drain_ms_max: Final = 1_000  # for it; a receiver that drips is not waited for
connections_max: Final = 200
kept_alive_ms_max: Final = 20_000
GONE: Final = 410
THIS_ONE: Final = frozenset({400, 413, 415, 422})  # the receiver will never take this very body
RETRY_LATER: Final = frozenset({429, 502, 503, 504})
TROUBLE: Final = (aiohttp.ClientError, Forbidden, OSError)


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
        self._tls = tls or ssl.create_default_context()
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # the loop has a turn left to close the sockets in, before it is ended

    def _opened(self) -> aiohttp.ClientSession:
        """The pool, made at first use: it belongs to the loop that runs then."""
        if self._session is None:
            resolver = Resolver(self._settings.private)
            connector = aiohttp.TCPConnector(
                ssl=self._tls,
                limit=connections_max,
                keepalive_timeout=kept_alive_ms_max / 1000,
                use_dns_cache=False,
                resolver=resolver,
                socket_factory=resolver.socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the caller's deadline ends it
                skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
                auto_decompress=False,
            )
        return self._session

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
        async with self._opened().post(
            URL(url), headers=list(headers), data=content, allow_redirects=False
        ) as response:
            body = await _read(response, read_ms_max)
            if body is None:
                response.close()
            return Answer(
                response.status,
                response.headers.get("retry-after"),
                response.headers.get("content-type", "").partition(";")[0].strip().lower(),
                body,
            )


def shown(certificate: Path) -> ssl.SSLContext:
    """TLS as without it, and a certificate with its key (PEM) for receivers that ask for one.

    Raises `OSError` where there is no such file, `ssl.SSLError` where it holds something else.
    """
    tls = ssl.create_default_context()
    tls.load_cert_chain(certificate)
    return tls


def trouble(error: Exception) -> str:
    """Why a connection brought no answer, as a constant."""
    if isinstance(error, Forbidden):
        return error.code
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "tls"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, TimeoutError):
        return "timeout"
    return "connect" if isinstance(error, aiohttp.ClientConnectorError) else "connection"


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


async def _read(response: aiohttp.ClientResponse, read_ms_max: int) -> bytes | None:
    """A short answer's body, so that the connection can be used again; None for a long or a slow one."""
    if response.content.at_eof():
        return b""
    found = bytearray()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(read_ms_max / 1000):
            async for chunk in response.content.iter_any():
                found += chunk
                if len(found) > body_bytes_max:
                    return None
            return bytes(found)
    return None
