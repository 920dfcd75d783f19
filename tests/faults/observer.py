"""Recipients' endpoints, watched: `python tests/faults/observer.py ARRIVALS`. Shares no code with the hub.

A process of its own that prints its port. A path is a recipient; its query says how that one answers:
`/harbor?pause_ms=300&fails=0.1&hangs=0.02`. For each request there is a line of JSON in the file `ARRIVALS`:
when its first bytes were here, in nanoseconds of the monotonic clock that all processes of a machine share,
who it was for, and what it says. The clock is read after the bytes have come, so a begin is never told too
early; what ends before all of it has come is noted with nothing but its begin.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

HEAD_END = b"\r\n\r\n"
BODY_BYTES_MAX = 1024 * 1024


class Endpoint(asyncio.Protocol):
    """One connection of a sender."""

    def __init__(self, arrivals: IO[str]) -> None:
        self._arrivals = arrivals
        self._held = b""
        self._began = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._held:
            self._began = time.monotonic_ns()
        self._held += data
        head, found, rest = self._held.partition(HEAD_END)
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        assert length <= BODY_BYTES_MAX
        if len(rest) >= length:
            self._held = rest[length:]
            self._arrived(first.split(" ")[1], headers.get("webhook-id", ""), rest[:length])

    def connection_lost(self, error: Exception | None) -> None:
        if self._held:
            self._note("", "", {})

    def _arrived(self, target: str, key: str, body: bytes) -> None:
        parts = urlsplit(target)
        manner = {name: float(values[0]) for name, values in parse_qs(parts.query).items()}
        self._note(parts.path.strip("/"), key, json.loads(body)["data"])
        drawn = random.random() - manner.get("hangs", 0)
        if drawn >= 0:
            status = "503 Busy" if drawn < manner.get("fails", 0) else "204 No Content"
            answer = f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode()
            pause_s = manner.get("pause_ms", 0) / 1000
            asyncio.get_running_loop().call_later(pause_s, self._transport.write, answer)

    def _note(self, recipient: str, key: str, data: dict[str, dict[str, str]]) -> None:
        line = {
            "began": self._began,
            "recipient": recipient,
            "person": data.get("subject", {}).get("name", ""),
            "event": data.get("occurrence", {}).get("facility", ""),
            "key": key,
        }
        self._arrivals.write(json.dumps(line) + "\n")
        self._arrivals.flush()


async def main(arrivals: Path) -> None:
    with arrivals.open("w") as out:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Endpoint(out), "127.0.0.1", 0, backlog=1_000)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
