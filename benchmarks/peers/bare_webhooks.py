"""A bare client: `python -m benchmarks.peers.bare_webhooks httpx|aiohttp URL SECRET COUNT CONCURRENCY`.

Posts ready bodies, each with an id and a Standard Webhooks signature of its own, so many at once. It reads no
log, decides nothing, opens no seal, and records nothing.
"""

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import aiohttp
import httpx
from standardwebhooks.webhooks import Webhook

BODY = (
    '{"id":"%s","source":"urn:agency:sender-1","type":"contact","participant":"%s","category":"contact.outreach",'
    '"time":"2026-06-01T10:00:00.000Z","purposes":["care-coordination"],"obligations":["record-disclosure"],'
    '"notices":[],"consent_scope":[],"data":{"activity":{"phase":"active","staff":"M. Invented"},'
    '"occurrence":{"facility":"North Hall"},"subject":{"name":"Ana Invented"}}}'
)
Post = Callable[[str, dict[str, str]], Awaitable[int]]


async def main() -> None:
    """Posts them all. Raises where one is not answered by 204."""
    client, url, secret, count, concurrency = sys.argv[1:6]
    bodies = iter([BODY % (secrets.token_hex(16), secrets.token_hex(16)) for _ in range(int(count))])
    webhook = Webhook(secret)
    if client == "httpx":
        limits = httpx.Limits(max_connections=int(concurrency))
        async with httpx.AsyncClient(limits=limits) as http:

            async def by_httpx(body: str, headers: dict[str, str]) -> int:
                return (await http.post(url, content=body, headers=headers)).status_code

            await _all(bodies, webhook, by_httpx, int(concurrency))
        return
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=int(concurrency))) as session:

        async def by_aiohttp(body: str, headers: dict[str, str]) -> int:
            async with session.post(url, data=body.encode(), headers=headers) as answer:
                await answer.read()
                return answer.status

        await _all(bodies, webhook, by_aiohttp, int(concurrency))


async def _all(bodies: Iterator[str], webhook: Webhook, post: Post, concurrency: int) -> None:
    async def some() -> None:
        for body in bodies:
            key, at = "d-" + secrets.token_hex(16), datetime.now(UTC)
            headers = {
                "content-type": "application/json",
                "webhook-id": key,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": webhook.sign(key, at, body),
            }
            assert await post(body, headers) == 204

    await asyncio.gather(*(some() for _ in range(concurrency)))


if __name__ == "__main__":
    asyncio.run(main())
