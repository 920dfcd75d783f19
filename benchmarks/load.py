"""A client that posts ready bytes as fast as they are taken, over connections that stay open.

Written on bare sockets, so that it takes little of the processors that it shares with the server.
"""

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import urlsplit


def request(address: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """One POST as it goes over the wire."""
    head = {"host": urlsplit(address).netloc, **headers, "content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def rate(address: str, requests: Sequence[bytes], connections: int, seconds: float) -> float:
    """Requests answered a second, by so many connections at once. Raises where one is not answered by 202."""
    at = urlsplit(address)
    answered = 0

    async def post(first: int) -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        number = first
        while time.perf_counter() < until:
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 202 "), head.decode()
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            answered += 1
            number += connections
        writer.close()

    began = time.perf_counter()
    until = began + seconds
    await asyncio.gather(*(post(number) for number in range(connections)))
    return answered / (time.perf_counter() - began)
