"""An organisation behind a firewall: a small program that fetches what it may have, as the docs say to."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx

from examples.county.shelf import Arrival, Shelf

wait_s = 5  # so long the hub holds an answer back while there is nothing
request_s_max = 30
pause_s = 0.3  # after an answer that was none


class Fetcher:
    """One organisation's program: asks, stores, asks again with the cursor."""

    def __init__(self, shelf: Shelf, stakeholder: str, address: str, token: str) -> None:
        self.shelf = shelf
        self.stakeholder = stakeholder
        self.client = httpx.Client(
            base_url=address, timeout=request_s_max, headers={"authorization": f"Bearer {token}"}
        )
        newest = shelf.last(stakeholder, "pull")
        self.cursor = newest.key if newest else None

    def follow(self, stopping: Callable[[], bool]) -> None:
        """Fetches until told to stop."""
        with self.client:
            while not stopping():
                try:
                    self.once()
                except httpx.HTTPError:
                    time.sleep(pause_s)

    def once(self) -> None:
        """One page. Raises `httpx.HTTPError` where the hub does not answer, or not now."""
        asked_at = time.time_ns() // 1_000_000
        known = {"cursor": self.cursor} if self.cursor else {}
        answer = self.client.get("/v1/outbox", params={"wait": wait_s, **known})
        if answer.status_code == 422:  # that cursor is known no more: begin with the oldest that waits
            self.cursor = None
            return
        answer.raise_for_status()
        # It left after it was asked for, and in the second that the hub wrote on it, or later.
        dated = answer.headers.get("date")
        began_at = max(asked_at, int(parsedate_to_datetime(dated).timestamp() * 1000) if dated else 0)
        page = answer.json()
        self.shelf.put(
            *(Arrival(self.stakeholder, one["id"], began_at, one["event"], "pull") for one in page["events"])
        )
        self.cursor = page["cursor"]
