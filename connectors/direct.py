"""A route whose requests go straight to its function: for the few that are asked very often.

The framework looks parameters, dependencies and forms up anew for each request, which costs more than to take
an event in does. Nothing before the route is left out, and the guard that is a dependency of all others is
called here first.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

Guard = Callable[[Request], Awaitable[None]]


class Direct(APIRoute):
    """Calls `guard`, which raises what it refuses by, and then the function, with the request alone."""

    guard: Guard

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Another method than the route's is refused as everywhere."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        request = Request(scope, receive, send)
        await type(self).guard(request)
        response = await self.endpoint(request)
        await response(scope, receive, send)


def guarded(by: Guard) -> type[Direct]:
    """Routes of this kind, behind a guard."""

    class Guarded(Direct):
        guard = staticmethod(by)

    return Guarded
