"""What every answer carries: headers that keep browsers from helping an attacker. And bounds on requests."""

from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
PRIVATE: Final = "no-store"  # nothing of ours stays in a cache unless its route says so
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_RAW: Final = [
    (name.lower().encode(), value.encode()) for name, value in {**HEADERS, "Cache-Control": PRIVATE}.items()
]
_SECURE: Final = [(b"strict-transport-security", b"max-age=31536000")]
HEADER_BYTES_MAX: Final = 32 * 1024
BODY_BYTES_MAX: Final = 1024 * 1024  # of routes that read their body whole; `/v1/events` has its own


class Headed:
    """ASGI middleware: security headers on all answers; in demo mode only loopback names are answered to.

    The names matter, for a foreign page can make its own name point to this machine (DNS rebinding), and
    demo accounts need no password.
    """

    def __init__(self, app: ASGIApp, *, loopback_only: bool, secure: bool = False) -> None:
        self.app = app
        self.loopback_only = loopback_only
        self.ours = _RAW + _SECURE if secure else _RAW

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                there = {name.lower() for name, _ in given}
                if (
                    b"content-security-policy" in there
                ):  # which says who may frame it, and what is older cannot
                    there.add(b"x-frame-options")
                message["headers"] = given + [one for one in self.ours if one[0] not in there]
            await send(message)

        request = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES_MAX:
            await PlainTextResponse("headers too large", 431)(scope, receive, headed)
        elif self.loopback_only and _name(request.get("host", "")) not in LOOPBACK_NAMES:
            await PlainTextResponse("unknown host", 421)(scope, receive, headed)
        else:
            await self.app(scope, receive, headed)


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
