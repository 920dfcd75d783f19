"""`python -m tests.faults`: every fault at full length, and a report."""

import json
import os
import platform
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
EVENTS = 100_000


def table(lines: list[dict[str, object]]) -> str:
    """The report as Markdown."""
    columns = list(dict.fromkeys(name for line in lines for name in line))
    rows = [[str(line.get(name, "")) for name in columns] for line in lines]
    body = "\n".join("| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *rows])
    where = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    return (
        f"# Faults\n\n{where}. In each line every event was decided once and every permitted copy made once, "
        "in order, for a reader who watched and for one who came later; `aborted` counts records of "
        f"transactions that were given up, which no reader sees.\n\n{body}\n"
    )


def main() -> int:
    """Runs the tests in this folder. In: `FAULTS_EVENTS`, how many events each of them has."""
    folder = CHECKOUT / "build"
    folder.mkdir(exist_ok=True)
    lines, report = folder / "faults.jsonl", folder / "faults.md"
    lines.unlink(missing_ok=True)
    os.environ.setdefault("FAULTS_EVENTS", str(EVENTS))
    os.environ["FAULTS_REPORT"] = str(lines)
    status = pytest.main([str(Path(__file__).parent), "-v", "--no-cov", "-p", "no:cacheprovider"])
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    report.write_text(table(found))
    print(table(found))
    print(f"written to {report.relative_to(CHECKOUT)}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
