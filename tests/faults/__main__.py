"""`python -m tests.faults`: every fault at full length, and a report. `… fence`: the fence's proof."""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
BUILD = CHECKOUT / "build"
EVENTS = 100_000


def table(lines: list[dict[str, object]]) -> str:
    """The report as Markdown."""
    columns = list(dict.fromkeys(name for line in lines for name in line))
    rows = [[str(line.get(name, "")) for name in columns] for line in lines]
    body = "\n".join("| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *rows])
    where = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    return f"# Faults\n\n{where}.\n\n{body}\n"


def faults() -> int:
    """Runs the tests of faults. In: `FAULTS_EVENTS`, how many events each of them has. Out: exit status."""
    lines, report = BUILD / "faults.jsonl", BUILD / "faults.md"
    lines.unlink(missing_ok=True)
    os.environ.setdefault("FAULTS_EVENTS", str(EVENTS))
    os.environ["FAULTS_REPORT"] = str(lines)
    status = pytest.main([str(Path(__file__).parent), "-v", "-p", "no:cacheprovider"])
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    report.write_text(table(found))
    print(table(found))
    print(f"written to {report.relative_to(CHECKOUT)}")
    return int(status)


def fence(words: argparse.Namespace) -> int:
    """Runs the proof and draws its plot. Out: 0 where nothing began after a 200."""
    from tests.faults import fence_plot, proof  # noqa: PLC0415  matplotlib is slow to import

    with tempfile.TemporaryDirectory(prefix="fence-") as folder:
        report = proof.prove(Path(folder), words.people, words.revocations, words.backlog, words.workers)
    written = BUILD / "fence.json"
    written.write_text(json.dumps(report, indent=1))
    fence_plot.draw(report, words.plot)
    print(json.dumps({name: value for name, value in report.items() if name != "timeline"}, indent=1))
    print(f"written to {written.relative_to(CHECKOUT)}, drawn to {words.plot}")
    return 0 if report["passed"] else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    proof = parser.add_subparsers(dest="what").add_parser("fence", help="the fence's proof")
    proof.add_argument("--people", type=int, default=1_200)
    proof.add_argument("--revocations", type=int, default=2_400)
    proof.add_argument("--backlog", type=int, default=200_000, help="undelivered events at the beginning")
    proof.add_argument("--workers", type=int, default=3, help="processes that deliver")
    proof.add_argument("--plot", type=Path, default=BUILD / "fence.svg")
    words = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    return fence(words) if words.what == "fence" else faults()


if __name__ == "__main__":
    sys.exit(main())
