"""Webhooks by the Standard Webhooks specification: signed, with the idempotency key as `webhook-id`.

What a receiver answers is its status alone (`connectors/http.py`).
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import Webhook

from connectors.adapter import Outcome, Outgoing, Secrets
from connectors.http import TROUBLE, Http, HttpSettings, outcome, trouble

ADAPTER: Final = "webhook"


class Webhooks:
    """The adapter."""

    def __init__(
        self,
        secrets: Secrets,
        settings: HttpSettings,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._secrets = secrets
        self._now = now
        self._http = Http(settings, tls)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Post the view."""
        url = outgoing.settings.get("url")
        if not self._http.fit(url):
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
            answer = await self._http.post(url, headers, content.encode())
        except TROUBLE as error:
            return Outcome("failed", trouble(error))
        return outcome(answer.status, answer.retry_after, self._now())


def signed(key: str, at: int, content: str, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of Standard Webhooks. `at` in epoch seconds; every secret gives a signature."""
    moment = datetime.fromtimestamp(at, UTC)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(Webhook(secret).sign(key, moment, content) for secret in secrets),
    }
