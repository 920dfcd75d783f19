"""Web Push: a nudge to a browser, encrypted for it (RFC 8291), signed as ours (VAPID, RFC 8292).

It says which kind of notice it is and nothing more: the words are the page's own. Both kinds have one length.
"""

import asyncio
import json
import time
from typing import Any, Final
from urllib.parse import urlsplit

from py_vapid import Vapid02
from pywebpush import WebPusher

from connectors.http import TROUBLE, Http, HttpSettings, trouble
from hub.devices import Device, Devices
from hub.nudge import Kind, Sent

TOKEN_S_MAX: Final = 12 * 3600  # RFC 8292 allows 24 hours
TTL_S: Final = {"urgent": 3600, "digest": 6 * 3600}  # then nobody needs the nudge any more
URGENCY: Final = {"urgent": "high", "digest": "normal"}
ANSWER_MS_MAX: Final = 10_000
GONE: Final = frozenset({404, 410})  # RFC 8030, 7.3: the subscription ended
RETRY_AFTER_S_MAX: Final = 3600


class Push:
    """Sends to devices; to be used in one asyncio loop, and closed there."""

    def __init__(self, devices: Devices, contact: str, settings: HttpSettings, tls: Any = None) -> None:
        """In: `contact`, a `mailto:` or `https:` address at which push services reach the operator."""
        self._devices = devices
        self._contact = contact
        self._http = Http(settings, tls)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, device: Device, kind: Kind) -> Sent:
        """Nudge one device. A subscription that ended is forgotten. Never raises."""
        if not self._http.fit(device.endpoint):
            await asyncio.to_thread(self._devices.drop, device.id)
            return Sent(False, "unfit-address")
        try:
            headers, body = await asyncio.to_thread(self._message, device, kind)
            async with asyncio.timeout(ANSWER_MS_MAX / 1000):
                answer = await self._http.post(device.endpoint, headers, body)
        except (*TROUBLE, TimeoutError) as error:
            return Sent(False, trouble(error), again=True)
        if 200 <= answer.status < 300:
            return Sent(True, f"http-{answer.status}")
        if answer.status in GONE:
            await asyncio.to_thread(self._devices.drop, device.id)
            return Sent(False, f"http-{answer.status}")
        again = answer.status == 429 or answer.status >= 500
        return Sent(False, f"http-{answer.status}", again, _after_ms(answer.retry_after))

    def _message(self, device: Device, kind: Kind) -> tuple[list[tuple[str, str]], bytes]:
        info = {"endpoint": device.endpoint, "keys": dict(device.keys)}
        body = bytes(WebPusher(info).encode(json.dumps({"kind": kind}).encode())["body"])
        parts = urlsplit(device.endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(time.time()) + TOKEN_S_MAX,
            "sub": self._contact,
        }
        signed = Vapid02(self._devices.private_key()).sign(claims)
        headers = [
            ("Authorization", signed["Authorization"]),
            ("Content-Encoding", "aes128gcm"),
            ("Content-Type", "application/octet-stream"),
            ("TTL", str(TTL_S[kind])),
            ("Urgency", URGENCY[kind]),
            ("Topic", kind),  # RFC 8030, 5.4: a newer one replaces one that was not fetched yet
        ]
        return headers, body


def _after_ms(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return min(int(text[:10]), RETRY_AFTER_S_MAX) * 1000
