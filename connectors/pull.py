"""Pull: for a recipient that nobody can reach from outside.

What is permitted waits at the hub, sealed, until the recipient fetches it (`GET /v1/outbox`). Putting it
there is a delivery of the engine like any other. Fetching is the way out: it is decided once more, and
recorded, by the owner (`connectors/views.py`), and what narrows takes back whatever still waits
(`connectors/standing.py`).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from connectors.adapter import Outcome, Outgoing, PullSink, Vault, Waiting
from connectors.standing import seal

ADAPTER: Final = "pull"
WAITS: Final = Outcome("delivered", "waits")
FULL: Final = Outcome("failed", "full")


class Pull:
    """The adapter."""

    def __init__(self, sink: PullSink, vault: Vault, now: Callable[[], int]) -> None:
        self._sink = sink
        self._vault = vault
        self._now = now

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Let it wait for the recipient; `full` where too much waits already, which is tried again later."""
        return WAITS if await asyncio.to_thread(self._insert, outgoing) else FULL

    def _insert(self, outgoing: Outgoing) -> bool:
        return self._sink.insert(
            Waiting(
                key=outgoing.key,
                stakeholder=outgoing.stakeholder,
                participant=outgoing.envelope["participant"],
                event=outgoing.envelope["id"],
                at=self._now(),
                sealed=seal(outgoing, self._vault),
            )
        )
