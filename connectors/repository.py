"""FHIR: a transaction to a recipient's own FHIR server, for each delivery (`connectors/bundles.py`).

Every transaction is read by the models of FHIR R4 before it leaves, and only an answer that is a FHIR
transaction-response counts as delivered, whatever its status.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from pydantic import ValidationError

from connectors.adapter import Outcome, Outgoing
from connectors.bundles import bundle
from connectors.http import TROUBLE, Answer, Http, HttpSettings, outcome, trouble
from schemas import instant

ADAPTER: Final = "fhir"
MEDIA_TYPE: Final = "application/fhir+json"
answer_ms_max: Final = 10_000  # to read one; the send deadline ends it before
JSON_TYPES: Final = (MEDIA_TYPE, "application/json")


class Bearers(Protocol):
    """The tokens that recipients' FHIR servers gave the hub."""

    def bearer(self, stakeholder: str) -> str | None:
        """The token to show there; None where none is needed."""


class Repositories:
    """The adapter."""

    def __init__(
        self,
        bearers: Bearers,
        settings: HttpSettings,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._bearers = bearers
        self._now = now
        self._http = Http(settings, tls)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Post the transaction. What FHIR has no resource for is refused."""
        url = outgoing.settings.get("url")
        if not self._http.fit(url):
            return Outcome("failed", "url-unfit")
        made = bundle(outgoing, instant.format(self._now()))
        if made is None:
            return Outcome("refused", "no-resource")
        content = await asyncio.to_thread(checked, made)
        if content is None:
            return Outcome("refused", "invalid-resource")
        token = await asyncio.to_thread(self._bearers.bearer, outgoing.stakeholder)
        headers = [
            ("content-type", MEDIA_TYPE),
            ("accept", MEDIA_TYPE),
            ("prefer", "return=minimal"),
            ("user-agent", "diversion-hub"),
            *([("authorization", f"Bearer {token}")] if token else []),
        ]
        try:
            answer = await self._http.post(url, headers, content, answer_ms_max)
        except TROUBLE as error:
            return Outcome("failed", trouble(error))
        found = outcome(answer.status, answer.retry_after, self._now())
        return Outcome("failed", "no-fhir") if found.state == "delivered" and not taken(answer) else found


def checked(made: dict[str, Any]) -> bytes | None:
    """A transaction as bytes, once FHIR's models have read it; None where they would not."""
    from fhir.resources.R4B.bundle import Bundle  # noqa: PLC0415  slow to import, and seldom needed

    try:
        return str(Bundle.model_validate(made).model_dump_json(exclude_none=True)).encode()
    except ValidationError:
        return None


def taken(answer: Answer) -> bool:
    """Whether a server says that it took a transaction: an error page with status 200 does not."""
    if answer.body is None or answer.media_type not in JSON_TYPES:
        return False
    try:
        body = json.loads(answer.body)
    except ValueError:
        return False
    return (
        isinstance(body, dict)
        and body.get("resourceType") == "Bundle"
        and body.get("type") == "transaction-response"
    )
