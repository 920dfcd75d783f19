"""The web process put together: whoever opens a page hears of what was delivered."""

import asyncio
import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from hub import serving, settings

NOWHERE = {"bootstrap.servers": "nowhere.invalid:9"}


class Following:
    """A follower that has one record for whoever listens."""

    def __init__(self, *_: object) -> None:
        self.listeners: list[Any] = []

    def listen(self, listener: Any) -> None:
        listener(3, {"receipt": None})

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return


def test_pages_hear_of_every_record_of_deliveries(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []

    async def serve(*_: object) -> None:
        return

    parts = SimpleNamespace(streams=SimpleNamespace(heard=heard.append), visits=SimpleNamespace(run=serve))
    app = SimpleNamespace(state=parts)

    for name, part in {"Follower": Following, "create_app": lambda parts: app, "serve": serve}.items():
        monkeypatch.setattr(serving, name, part)
    chosen = settings.load(data=tmp_path)
    serving.run(chosen, NOWHERE, None, lambda fences: None, threading.Event())  # type: ignore[arg-type,return-value]
    assert heard == [{"receipt": None}]


async def test_an_answer_in_two_writes_does_not_wait_for_the_other_side_to_confirm_the_first() -> None:
    at_once: list[int] = []

    async def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_once.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with serving.bound("127.0.0.1", 0) as listener:
        async with await asyncio.start_server(accepted, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert await reader.read() == b""
            writer.close()
    assert at_once
    assert all(at_once)


def test_an_address_that_is_taken_is_refused() -> None:
    with serving.bound("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(OSError, match="in use"):
            serving.bound("127.0.0.1", first.getsockname()[1])
