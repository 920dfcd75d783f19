"""What proving costs: a place in the transparency log beside a decision, a proof among many leaves beside one
among few, deciding all again beside deciding. Processor time of one process, without Kafka's client.
"""

import gc
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.throughput import row
from consent import Governance
from hub.again import Replay
from hub.kek import LocalKek
from hub.ledger import merkle
from hub.ledger.commitment import Salts, recorded
from hub.ledger.tiles import Folder, over
from hub.ledger.tree import Tree
from hub.store import Store
from hub.vault import Vault
from schemas import codec
from streams.enforce import Enforce
from streams.step import Record
from tests.streams_scene import Sink, directive, event, governance, grant, now_ms, record

PEOPLE: Final = 1_000
EVENTS: Final = int(os.environ.get("BENCH_LEDGER_EVENTS", "100000"))  # a history
YOUNG: Final = (
    EVENTS // 5
)  # a history of as many people, in which compiling their consents is most of the work
BATCH: Final = 4_000
MANY: Final = int(os.environ.get("BENCH_LEAVES", "10000000"))
FEW: Final = 1_000
PROOFS: Final = 300
ROUNDS: Final = 5
Row = dict[str, Any]
Written = tuple[int, bytes, bytes]


def rows() -> list[Row]:
    """Rows for the results: records a second, and microseconds a proof."""
    said = [
        record("consent", codec.encode("Directive", directive(_who(n), grant(f"c-{n}"))), _who(n).encode(), n)
        for n in range(PEOPLE)
    ]
    events = [
        record("contact", codec.encode("Event", event(_who(n % PEOPLE), n)), _who(n % PEOPLE).encode(), n)
        for n in range(EVENTS)
    ]
    gc.freeze()
    placed: list[float] = []
    decided: list[float] = []
    again: list[float] = []
    young: tuple[list[float], list[float]] = [], []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/hub.db")
        store.migrate()
        vault = Vault(store, LocalKek(bytes(range(32))))
        for number in range(PEOPLE):  # whoever is decided about has a key from the first event on
            vault.sealer(_who(number)).seal(b"", b"")
        salts = Salts(vault)
        for number in range(ROUNDS):
            written: list[Written] = []
            decided.append(EVENTS / _seconds(lambda into=written: _decide(said, events, into)))
            gc.freeze()  # what the meter holds is nothing that a stage or a replay would look through
            place = Path(folder) / f"log-{number}"
            placed.append(EVENTS / _seconds(lambda some=written, at=place: _append(salts, some, at)))
            again.append(EVENTS / _seconds(lambda some=written: _replay(said, some)))
            few: list[Written] = []
            young[1].append(YOUNG / _seconds(lambda into=few: _decide(said, events[:YOUNG], into)))
            gc.freeze()
            young[0].append(YOUNG / _seconds(lambda some=few: _replay(said, some)))
            print(
                f"{placed[-1]:,.0f} placed, {again[-1]:,.0f} again, {decided[-1]:,.0f} decided",
                file=sys.stderr,
            )
            print(f"young: {young[0][-1]:,.0f} again, {young[1][-1]:,.0f} decided", file=sys.stderr)
        store.close()
        small, large = _proofs(Path(folder) / "few", FEW), _proofs(Path(folder) / "many", MANY)
    return [
        row("append to the transparency log", placed, "deciding the same events", decided, "records/s"),
        *(
            row(
                f"replay: decide again and compare, {count // PEOPLE} decisions a person",
                ours,
                "deciding the same events",
                theirs,
                "records/s",
            )
            for count, ours, theirs in ((EVENTS, again, decided), (YOUNG, *young))
        ),
        {**row(f"a proof among {MANY:,} leaves", large, f"among {FEW:,}", small, "µs"), "bound": 20},
    ]


def _who(number: int) -> str:
    return f"p-{number:026d}"


def _seconds(work: Callable[[], None]) -> float:
    """Of processor time, which other programs on the machine don't take away."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _decide(said: Sequence[Record], events: Sequence[Record], into: list[Written]) -> None:
    """What enforce does with every event, up to Kafka's client."""
    enforce, sink = Enforce(now_ms, 1), Sink()
    enforce.assigned([("contact", 0)])
    for offset, change in enumerate(governance()):
        enforce.apply(record("governance", codec.encode("Governance", change), offset=offset))
    for one in said:
        enforce.apply(one)
    sink.known["consent", 0] = len(said) - 1
    for start in range(0, len(events), BATCH):
        enforce.step(list(events[start : start + BATCH]), sink)
    found = (one for one in sink.written if one[0] == "decisions")
    into += [(offset, key or b"", value or b"") for offset, (_, key, value, _) in enumerate(found)]


def _append(salts: Salts, written: Sequence[Written], folder: Path) -> None:
    """What the log's worker does with every record, up to Kafka's client: salts, leaves, tree, files."""
    tree = Tree(folder)
    for start in range(0, len(written), BATCH):
        some = [recorded("decisions", 0, *one) for one in written[start : start + BATCH]]
        leaves = salts.leaves(some)
        offsets = [one.offset for one in some]
        listed = [{"offset": at, "commitment": leaf} for at, leaf in zip(offsets, leaves, strict=True)]
        run = {"first": start, "topic": "decisions", "partition": 0, "leaves": listed}
        codec.encode("Ledger", {"at": 0, "run": run})
        tree.add(("decisions", 0), offsets, leaves, start)
    tree.save()


def _replay(said: Sequence[Record], written: Sequence[Written]) -> None:
    """What `hub audit replay` does with every decision, up to Kafka's client."""
    rules = Governance()
    for offset, change in enumerate(governance()):
        rules.apply(offset, change)
    replay = Replay(rules, 0)
    for one in said:
        replay.directive(one.offset, one.key, one.value)
    different = [found for one in written if (found := replay.decision(*one)) is not None]
    assert not different, different[0]


def _proofs(folder: Path, size: int) -> list[float]:
    """Microseconds of processor time for one proof, from the files, in each round."""
    tree, step = Tree(folder), 65_536
    for start in range(0, size, step):
        some = range(start, min(start + step, size))
        tree.add(("decisions", 0), some, [hashlib.sha256(str(n).encode()).digest() for n in some], start)
    tree.save()
    chance, taken = random.Random(7), []
    for _ in range(ROUNDS):
        chosen = [chance.randrange(size) for _ in range(PROOFS)]
        start_s = time.process_time()
        for leaf in chosen:
            merkle.inclusion(over(Folder(folder).read, size), leaf, size)
        taken.append((time.process_time() - start_s) * 1_000_000 / PROOFS)
    print(f"{json.dumps(taken)} µs among {size:,}", file=sys.stderr)
    return taken
