"""`python -m benchmarks`: everything measured, beside its peers, in one run; writes `bench-results.json`.

Names of modules as arguments run just those, and leave the others' results as they were:
`python -m benchmarks decide`. One that fails takes nothing from the others; it is named at the end.
"""

import importlib
import json
import sys
import traceback
from pathlib import Path

from rich.console import Console
from rich.table import Table

MEASURED = (
    *("decide", "memory", "throughput", "latency", "sizes", "growth"),
    *("gateway", "webhook", "sealing", "files"),
    *("screen", "streams", "ledger", "pages", "guessing", "aggregates"),
)
RESULTS = Path("bench-results.json")


def main() -> int:
    """Runs the benchmarks, prints a table, and writes the results.

    Exit status 2 for a name there is not, 1 where a benchmark failed: then it has no rows, not even old ones.
    """
    wanted = sys.argv[1:] or list(MEASURED)
    if unknown := set(wanted) - set(MEASURED):
        print(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(MEASURED)}")
        return 2
    console = Console()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    failed = []
    for name in wanted:
        with console.status(f"measuring: {name}"):
            try:
                rows = importlib.import_module(f"benchmarks.{name}").rows()
            except Exception:
                traceback.print_exc()
                failed.append(name)
                rows = []
        results = [one for one in results if one.get("measured") not in (None, name)]  # of an earlier run
        results += [{"measured": name, **one} for one in rows]
        results.sort(key=lambda one: MEASURED.index(one["measured"]))
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    table = Table(box=None)
    for heading in ("what", "ours", "peer", "peer's", "unit", "ratio"):
        table.add_column(heading, justify="right" if heading in ("ours", "peer's", "ratio") else "left")
    for row in results:
        table.add_row(
            row["name"],
            f"{row['ours']:,}",
            row["peer"],
            f"{row['peer_value']:,}",
            row["unit"],
            f"{row['ratio']}",
        )
    console.print(table)
    console.print(f"written to {RESULTS}")
    if failed:
        console.print(f"failed, and without rows: {', '.join(failed)}", style="bold red")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
