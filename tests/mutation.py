"""Mutation testing of the decision point: `mutmut run`, then `python -m tests.mutation` for the share killed.

Also a pytest plugin for mutmut, which asks test items for their id by the name it had before pytest 9.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

KILLED_MIN = 0.95
STATS = Path("mutants/mutmut-cicd-stats.json")

settings.register_profile(
    "mutation", derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("mutation")  # a mutant that is caught needs no smaller example
pytest.Item._nodeid = property(lambda item: item.nodeid)  # type: ignore[attr-defined]


def main() -> int:
    """Print how many mutants were killed; exit status 1 where that is less than it must be."""
    subprocess.run([sys.executable, "-m", "mutmut", "export-cicd-stats"], check=True, capture_output=True)
    stats = json.loads(STATS.read_text("utf-8"))
    killed, survived = stats["killed"] + stats["timeout"] + stats["segfault"], stats["survived"]
    tested = killed + survived + stats["no_tests"] + stats["suspicious"]
    print(f"{killed} of {tested} mutants killed, {killed / tested:.1%}; {survived} survived")
    return 0 if tested == stats["total"] and killed / tested >= KILLED_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
