"""Webhooks by the Standard Webhooks specification: signed, with the idempotency key as `webhook-id`.

Signed with a shared secret (`whsec_…`, HMAC-SHA256) or with a private key of the hub's (`whsk_…`, Ed25519),
of which the receiver has the public one. What a receiver answers is its status alone (`connectors/http.py`).
"""

import base64
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks.webhooks import Webhook

from connectors.adapter import Outcome, Outgoing, Secrets
from connectors.http import TROUBLE, Http, HttpSettings, outcome, trouble
from connectors.together import Together, each
from schemas import strict

ADAPTER: Final = "webhook"
secrets_max: Final = 64  # recipients whose secrets are looked up at once
known_ms_max: Final = 1_000  # for so long they are not looked up again
PRIVATE_KEY: Final = "whsk_"  # before the seed of an Ed25519 key, in Base64


class Webhooks:
    """The adapter."""

    def __init__(
        self,
        secrets: Secrets,
        settings: HttpSettings,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._secrets = Together(partial(_found, secrets), secrets_max)
        self._lately: dict[str, tuple[float, Sequence[str]]] = {}
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
        secrets = await self._known(outgoing.stakeholder)
        if not secrets:
            return Outcome("failed", "no-secret")
        content = strict.written(outgoing.view)
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

    async def _known(self, stakeholder: str) -> Sequence[str]:
        """A recipient's secrets, as they were a moment ago: after a rotation the old one signs for days."""
        until, known = self._lately.get(stakeholder, (0.0, ()))
        if time.monotonic() >= until:
            known = await self._secrets.ask(stakeholder)
            self._lately[stakeholder] = (time.monotonic() + known_ms_max / 1000, known)
        return known


def _found(secrets: Secrets, stakeholders: Sequence[str]) -> list[Sequence[str] | Exception]:
    """The secrets of several recipients, each looked up once."""
    names = list(dict.fromkeys(stakeholders))
    found = dict(zip(names, each(secrets.webhook)(names), strict=True))
    return [found[one] for one in stakeholders]


def signed(key: str, at: int, content: str, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of Standard Webhooks. `at` in epoch seconds; every secret gives a signature."""
    return {
        "webhook-id": key,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(_signature(secret, key, at, content) for secret in secrets),
    }


def _signature(secret: str, key: str, at: int, content: str) -> str:
    """`v1` by a shared secret, by the library; `v1a` by a private key, which the library does not know."""
    if not secret.startswith(PRIVATE_KEY):
        return Webhook(secret).sign(key, datetime.fromtimestamp(at, UTC), content)
    seed = base64.b64decode(secret.removeprefix(PRIVATE_KEY), validate=True)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(f"{key}.{at}.{content}".encode())
    return f"v1a,{base64.b64encode(signature).decode()}"
