"""What stops the log is told, without a word of any record, and is over when it is over."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from hub import health
from hub.ledger import keeping
from hub.ledger.keeping import STAGE, keep
from schemas.errors import BrokenRecord, Unavailable
from streams.errors import Corrupt, Fenced


class Workers:
    """Makes workers of which each fails as it is told; the last one works until it is stopped."""

    def __init__(self, run_dir: Path, *failures: Exception) -> None:
        self.failures = list(failures)
        self.stop = threading.Event()
        self.run_dir = run_dir
        self.seen: list[list[str]] = []
        self.unpublished: list[str | None] = [None]

    def __call__(self) -> Any:
        return self

    def run(self, stop: Callable[[], bool], beat: Callable[[str | None], None]) -> None:
        self.seen.append(health.troubles(self.run_dir))
        if self.failures:
            raise self.failures.pop(0)
        for why in self.unpublished:
            beat(why)
            self.seen.append(health.troubles(self.run_dir))
        self.stop.set()
        assert stop()

    def keep(self) -> None:
        keep(self, self.stop, self.run_dir)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "BACKOFF_MS_MIN", 1)


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "secret-name"), "No space left on device"),
        (KafkaException(KafkaError(KafkaError._TIMED_OUT)), "Kafka says `timed-out`"),
        (Unavailable("the cluster does not answer"), "the cluster does not answer"),
        (Fenced("another keeps the log"), "another keeps the log"),
        (RuntimeError("Maria Lopez"), "RuntimeError"),
    ],
)
def test_what_may_pass_is_told_tried_again_and_then_over(
    tmp_path: Path, failure: Exception, why: str
) -> None:
    workers = Workers(tmp_path, failure, failure)
    workers.keep()
    told = [f"{STAGE} keeps failing: {why}"]
    assert workers.seen == [[], told, told, []]


@pytest.mark.parametrize("failure", [Corrupt("the log has forked"), BrokenRecord("not the Avro of `Ledger`")])
def test_what_contradicts_itself_stops_it_for_good(tmp_path: Path, failure: Exception) -> None:
    workers = Workers(tmp_path, failure)
    workers.keep()
    assert not workers.stop.is_set()
    assert health.troubles(tmp_path) == [f"{STAGE} has stopped for good: {failure.detail}"]  # type: ignore[attr-defined]
    workers.keep()  # the process was started again, and it was mended
    assert health.troubles(tmp_path) == []


def test_that_nothing_is_published_is_told_while_it_lasts(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    workers.unpublished = ["the witness does not answer", "the witness does not answer", None]
    workers.keep()
    told = [f"{STAGE} keeps failing: the witness does not answer"]
    assert workers.seen == [[], told, told, []]
