"""Events enforced a second: the hub, Kafka Streams and Faust doing the same job, and the bytes alone.

All of them on one broker with the same backlog, one after the other in interleaved rounds; medians and
ranges. Before anything is measured, what Kafka Streams writes about the same events is compared with what the
hub does.
"""

import os
import pickle
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from benchmarks.arena import Arena, Contender, Written, hub
from schemas import codec

HERE: Final = Path(__file__).resolve().parent
EVENTS: Final = int(os.environ.get("BENCH_EVENTS", "60000"))
FAUST_EVENTS: Final = EVENTS // 20  # it is slow, and its rate doesn't depend on how many there are
PEOPLE: Final = int(os.environ.get("BENCH_PEOPLE", "1000"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "7"))
BATCH: Final = 4_000
VARIANTS: Final = ((100, 1), (100, 2), (1000, 1), (1000, 2))  # commit interval in ms, threads
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results: the hub beside its three peers and itself interpreted, `PEOPLE` participants."""
    with Arena(PEOPLE, EVENTS) as ground:
        ours = hub(BATCH)
        sample = ground.written(ours)
        ground.sample.write_bytes(pickle.dumps(list(sample.values())))
        tried = {one: ground.rate(streams(*one)) for one in VARIANTS}
        best = max(tried, key=lambda one: tried[one])
        say(f"Kafka Streams by (commit interval, threads): {_rounded(tried)}")
        contenders = [ours, streams(*best), faust(), bare(), hub(BATCH, compiled=False)]
        agree(sample, ground.written(streams(*best)))
        rates: dict[str, list[float]] = defaultdict(list)
        for number in range(ROUNDS):
            for one in contenders if number % 2 == 0 else contenders[::-1]:
                count = FAUST_EVENTS if one.name == "faust" else None
                rates[one.name].append(ground.rate(one, count))
                say(f"{one.name}: {rates[one.name][-1]:,.0f} events/s")
    name = f"enforce, nine stakeholders, {PEOPLE:,} participants"
    return [row(name, rates["hub"], one.says, rates[one.name]) for one in contenders[1:]]


def agree(some: dict[str, Written], others: dict[str, Written]) -> None:
    """Raises `AssertionError` where two contenders wrote something else about the same events."""
    both = some.keys() & others.keys()
    assert len(both) > 100, "hardly an event is in both samples"
    for name in both:
        assert _meaning(some[name]) == _meaning(others[name]), f"they differ about event {name}"
    say(f"what was written about {len(both):,} events is the same")


def _meaning(records: Written) -> list[tuple[str, bytes, Any]]:
    """What records say, apart from their names, and when and by which offsets they were decided."""
    found = []
    for topic, key, value in records:
        body = codec.decode(value)[1]
        for name in ("id", "at", "consent_offset", "governance_offset"):
            body.pop(name, None)
        body["outcomes"] = sorted(body.get("outcomes", ()), key=lambda one: str(one["subscription"]))
        found.append((topic, key, body))
    return sorted(found, key=lambda one: one[0])


def streams(interval_ms: int, threads: int) -> Contender:
    """The Kafka Streams application at this commit interval, with so many threads."""
    jar = _built()
    says = f"Kafka Streams 4.1.2, exactly_once_v2, commit {interval_ms} ms, {threads} thread(s)"
    command = ["java", "-Xmx4g", "-cp", f"{jar}:{jar.parent}/lib/*", "bench.Enforce", "{bootstrap}", "{run}"]
    command += [str(HERE.parent / "schemas" / "avro"), "{plan}", "contact", "consent"]
    return Contender("streams", says, (*command, str(interval_ms), str(threads), "{folder}"))


def faust() -> Contender:
    """The Faust app."""
    command = (sys.executable, "-m", "benchmarks.peers.faust_app", "{bootstrap}", "{run}", "{plan}")
    return Contender("faust", "Faust, exactly_once", (*command, "{folder}"))


def bare() -> Contender:
    """Consumer and producer alone, writing what the hub wrote."""
    command = (sys.executable, "-m", "benchmarks.peers.bare", "{bootstrap}", "{run}", "contact")
    says = "the same bytes in transactions as large, nothing decided"
    return Contender("bare", says, (*command, "{sample}", str(BATCH)))


def row(name: str, ours: list[float], peer: str, theirs: list[float], unit: str = "events/s") -> Row:
    """One line of the results. The ratio is of the medians; its range, of the pairs in their order."""
    digits = 1 if unit == "s" else None
    mine, other = statistics.median(ours), statistics.median(theirs)
    pairs = sorted(one / another for one, another in zip(ours, theirs, strict=True))
    return {
        "name": name,
        "ours": round(mine, digits),
        "peer": peer,
        "peer_value": round(other, digits),
        "unit": unit,
        "ratio": round(mine / other, 2),
        "ratio_range": [round(pairs[0], 2), round(pairs[-1], 2)],
        "higher_is_better": unit.endswith("/s"),
        "range": [round(min(ours), digits), round(max(ours), digits)],
        "peer_range": [round(min(theirs), digits), round(max(theirs), digits)],
    }


def _built() -> Path:
    """The Kafka Streams application, built by Maven where its sources changed."""
    project = HERE / "peers" / "kafka-streams"
    jar = project / "target" / "kafka-streams-peer-1.jar"
    sources = [*project.glob("src/**/*.java"), project / "pom.xml"]
    if not jar.exists() or jar.stat().st_mtime < max(one.stat().st_mtime for one in sources):
        subprocess.run(["mvn", "-q", "-B", "clean", "package"], cwd=project, check=True)
    return jar


def _rounded(tried: dict[tuple[int, int], float]) -> dict[tuple[int, int], int]:
    return {one: round(rate) for one, rate in tried.items()}


def say(line: str) -> None:
    """Tells whoever waits how it goes."""
    print(line, file=sys.stderr, flush=True)
