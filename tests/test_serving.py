"""The web process put together: whoever opens a page hears of what was delivered."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

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


class NoStreams:
    """Live pages of which there are none."""

    def close(self) -> None:
        return


async def for_ever() -> AsyncIterator[bytes]:
    """An answer without an end."""
    while True:
        yield bytes(1 << 16)


@contextlib.contextmanager
def ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server, by its port, that ends with the block."""
    monkeypatch.setattr(serving, "STOP_S_MAX", 2)
    app = FastAPI()
    app.state.streams = NoStreams()
    app.add_api_route("/", lambda: StreamingResponse(for_ever()))
    addresses: list[str] = []
    up, stop = threading.Event(), threading.Event()

    def heard(address: str) -> None:
        addresses.append(address)
        up.set()

    chosen = settings.load(data=folder, web_port=0)
    thread = threading.Thread(target=lambda: asyncio.run(serving.serve(app, chosen, stop, heard)))
    thread.start()
    assert up.wait(60)
    try:
        yield int(addresses[0].rpartition(":")[2])
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def closed(connection: socket.socket) -> bool:
    """Whether the other side let go of a connection: what it had sent ends."""
    connection.settimeout(10)
    with contextlib.suppress(ConnectionError):
        while connection.recv(1 << 20):
            pass
    return True


def test_who_takes_no_answer_is_let_go_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as connections:
        with ended(tmp_path, monkeypatch) as port:
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            connection.sendall(b"GET / HTTP/1.1\r\nhost: hub\r\n\r\n")
            assert connection.recv(8) == b"HTTP/1.1"
        assert "timeout graceful shutdown exceeded" in caplog.text
        assert closed(connection)


def test_who_comes_while_the_server_ends_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[socket.socket] = []
    first = threading.Event()

    def knock(port: int) -> None:
        with contextlib.suppress(OSError):
            while len(made) < 900:
                made.append(socket.create_connection(("127.0.0.1", port), 10))
                first.set()

    with contextlib.ExitStack() as connections:
        with ended(tmp_path, monkeypatch) as port:
            thread = threading.Thread(target=knock, args=(port,))
            thread.start()
            assert first.wait(60)
        thread.join(60)
        for one in made:
            connections.enter_context(one)
        assert all(map(closed, made))
    assert "timeout graceful shutdown exceeded" not in caplog.text
