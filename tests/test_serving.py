"""The web process put together: whoever opens a page hears of what was delivered."""

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
