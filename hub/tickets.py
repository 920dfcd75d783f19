"""What a browser takes along when it leaves to sign in elsewhere, and comes back by.

Nothing is kept meanwhile: `state`, `nonce` and the verifier of PKCE (RFC 7636) are made from a random ticket
by the hub's own key. The ticket is a cookie of the browser that left, is good for one return, and of no use
to anybody else.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hub.vouched import SignInFailed

TICKET_S_MAX: Final = 600  # to sign in at the provider
TICKET_CHARS_MAX: Final = 400
USED_MAX: Final = 10_000  # returns that are remembered; a code works once at the provider in any case


class Tickets:
    """Makes tickets, and takes each back once. For one event loop."""

    def __init__(self, mac: Callable[[str, bytes], str], clock_s: Callable[[], float]) -> None:
        """In: what makes keyed hashes for a purpose; the time in seconds."""
        self._mac = mac
        self._clock_s = clock_s
        self._used: OrderedDict[str, float] = OrderedDict()

    def new(self) -> str:
        """A ticket, with its last second."""
        return f"{secrets.token_urlsafe(32)}.{int(self._clock_s()) + TICKET_S_MAX}"

    def made(self, what: str, ticket: str) -> str:
        """64 hexadecimal digits that only the hub can make of a ticket, others for each `what`."""
        return self._mac("oidc", f"{what}\0{ticket}".encode())

    def sealed(self, ticket: str) -> str:
        """The ticket as the browser keeps it."""
        return f"{ticket}.{self.made('ticket', ticket)}"

    def use(self, shown: str | None, state: str) -> str:
        """The ticket that somebody comes back with, and with this `state`. Raises `SignInFailed`."""
        ticket, _, seal = (shown or "")[:TICKET_CHARS_MAX].rpartition(".")
        if not hmac.compare_digest(seal.encode(), self.made("ticket", ticket).encode()):
            raise SignInFailed("this browser did not begin to sign in here", code="no-ticket")
        now = self._clock_s()
        if int(ticket.rpartition(".")[2]) < now:
            raise SignInFailed("signing in took too long", code="ticket-expired")
        if not hmac.compare_digest(state.encode(), self.made("state", ticket).encode()):
            raise SignInFailed("this is not the return that was waited for", code="wrong-state")
        while self._used and (len(self._used) >= USED_MAX or next(iter(self._used.values())) < now):
            self._used.popitem(last=False)
        if ticket in self._used:
            raise SignInFailed("this return was used already", code="replayed")
        self._used[ticket] = now + TICKET_S_MAX
        return ticket
