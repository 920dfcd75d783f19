"""Writing to the log from threads and from event loops: stored, or told why not; nobody in another's way."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from connectors.intake import Taken
from hub import appender
from hub.appender import Appender
from schemas.errors import TooLarge, Unavailable
from schemas.topics import quarantine_bytes_max
from tests.streams_kit import Cluster

NOBODY = {"bootstrap.servers": "127.0.0.1:9", "log_level": 0}


@pytest.fixture
def made(kafka: str) -> Iterator[Appender]:
    one = Appender(Cluster(kafka).client, 1)
    yield one
    one.close()


@pytest.mark.broker
async def test_what_an_event_loop_sends_stands_in_its_order(kafka: str, made: Appender) -> None:
    cluster = Cluster(kafka)
    topic = cluster.topic("appended")
    sent = [await made.send(topic, b"%d" % n, b"k", 0) for n in range(500)]
    assert await asyncio.gather(*sent) == list(range(500))
    assert await made.send_and_wait(topic, b"last", b"k", 0) == 500
    await made.send_all([Taken({}, topic, 0, None, b"together %d" % n) for n in range(500)])
    await made.send_all([])
    assert [one.value for one in cluster.read(topic)] == [
        *(b"%d" % n for n in range(500)),
        b"last",
        *(b"together %d" % n for n in range(500)),
    ]


@pytest.mark.broker
async def test_a_record_that_its_topic_does_not_take_is_in_nobodys_way(kafka: str, made: Appender) -> None:
    """The producer numbers what it sends; a refused number must not be missed by what comes after."""
    cluster = Cluster(kafka)
    topic = cluster.topic("appended", **{"max.message.bytes": "1000"})
    for n in range(3):
        with pytest.raises(TooLarge):
            await made.send_and_wait(topic, b"x" * 5_000, b"k", 0)
        await made.send_and_wait(topic, b"%d" % n, b"k", 0)
    some = [Taken({}, topic, 0, None, value) for value in (b"3", b"x" * 5_000, b"4")]
    with pytest.raises(TooLarge):
        await made.send_all(some)
    await made.send_and_wait(topic, b"5", b"k", 0)
    *before, last = [one.value for one in cluster.read(topic)]
    assert (before[:3], last) == ([b"0", b"1", b"2"], b"5")
    assert before[3:] in ([], [b"3"], [b"4"], [b"3", b"4"])  # refused or not with what went along with it


@pytest.mark.broker
async def test_once_nothing_is_awaited_nothing_is_looked_for(kafka: str, made: Appender) -> None:
    """Nor after what never got in line because it is too large for any topic."""
    topic = Cluster(kafka).topic("appended")
    huge = b"x" * (quarantine_bytes_max + 1)
    with pytest.raises(TooLarge):
        await made.send(topic, huge, b"k", 0)
    with pytest.raises(TooLarge):
        await made.send_all([Taken({}, topic, 0, None, value) for value in (b"1", huge, b"2")])
    assert await made.send_and_wait(topic, b"last", b"k", 0) is not None
    await asyncio.sleep(0.1)
    assert made._awaited is not None
    assert made._awaited._count == 0


@pytest.mark.broker
async def test_a_full_line_is_waited_for(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender, "QUEUED_RECORDS_MAX", 3)
    cluster = Cluster(kafka)
    topic = cluster.topic("appended")
    one = Appender(cluster.client, 1)
    sent = [await one.send(topic, b"%d" % n, b"k", 0) for n in range(40)]
    await asyncio.gather(*sent)
    await one.send_all([Taken({}, topic, 0, None, b"v") for _ in range(40)])
    one.close()
    assert len(cluster.read(topic)) == 80


async def test_while_nobody_answers_whoever_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender, "WRITE_MS_MAX", 300)
    one = Appender(NOBODY, 1)
    stored = await one.send("inbox.reach", b"v", None, 0)
    with pytest.raises(Unavailable):
        await stored
    one.close()


async def test_after_who_gave_up_before_it_was_in_line_nothing_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(appender, "WRITE_MS_MAX", 300)
    monkeypatch.setattr(appender, "QUEUED_RECORDS_MAX", 1)
    one = Appender(NOBODY, 1)
    first = await one.send("inbox.reach", b"v", None, 0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one.send("inbox.reach", b"v", None, 0), 0.05)
    with pytest.raises(Unavailable):
        await first
    await asyncio.sleep(0.05)
    assert one._awaited is not None
    assert one._awaited._count == 0
    one.close()


async def test_who_gave_up_waiting_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled request costs the loop no error when its record ends after all."""
    monkeypatch.setattr(appender, "WRITE_MS_MAX", 300)
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: errors.append(what))
    one = Appender(NOBODY, 1)
    stored = await one.send("inbox.reach", b"v", None, 0)
    stored.cancel()
    await asyncio.sleep(0.6)
    one.close()
    await asyncio.sleep(0)
    assert errors == []


def test_what_ends_after_its_loop_did_is_let_go(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(appender, "WRITE_MS_MAX", 300)
    one = Appender(NOBODY, 1)

    async def begin() -> None:
        await one.send("inbox.reach", b"v", None, 0)

    with caplog.at_level(logging.ERROR):
        asyncio.run(begin())
        one.close()
    assert caplog.records == []
