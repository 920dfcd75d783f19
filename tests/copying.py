"""A worker process for the runner's fault tests: copies its input and says what it knew of a side input.

`python -m tests.copying BOOTSTRAP GROUP INSTANCE INPUTS BESIDE OUTPUT [ASSIGNOR]`
"""

import signal
import sys
import threading
from collections.abc import Sequence

from streams.runner import Runner
from streams.settings import RunnerSettings
from streams.step import Out, Record


class Copy:
    """Writes each input to the same partition of the output, with the count of side records known then."""

    def __init__(self, output: str) -> None:
        self.output = output
        self.known: dict[int, int] = {}
        self.calls: list[tuple[str, int]] = []

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        self.calls.append(("assigned", len(partitions)))
        self.known.update({p: 0 for _, p in partitions})

    def revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        self.calls.append(("revoked", len(partitions)))
        for _, p in partitions:
            self.known.pop(p, None)

    def apply(self, record: Record) -> None:
        self.known[record.partition] += 1

    def step(self, batch: Sequence[Record], out: Out) -> None:
        for record in batch:
            value = (record.value or b"") + b" %d" % self.known[record.partition]
            out.produce(self.output, record.key, value, record.partition)

    def due(self, now_ms: int) -> bool:
        return False

    def committed(self) -> None:
        self.calls.append(("committed", 0))


def main() -> None:
    bootstrap, group, instance, inputs, beside, output, *rest = sys.argv[1:]
    settings = RunnerSettings(
        group,
        tuple(inputs.split(",")),
        instance,
        beside=tuple(filter(None, beside.split(","))),
        assignor=rest[0] if rest else "range",  # type: ignore[arg-type]
        batch_records_max=200,
        session_timeout_ms=3_000,
        transaction_timeout_ms=6_000,
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    Runner(settings, Copy(output), {"bootstrap.servers": bootstrap}).run(stop)


if __name__ == "__main__":
    main()
