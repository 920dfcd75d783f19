"""A stage of the hub with one safeguard taken out: `python -m tests.faults.broken STAGE SAFEGUARD`.

A proof that cannot fail proves nothing. With one of these at work, the observer must see what it looks for.
"""

import json
import sys
from typing import Any

from connectors import knowledge
from consent import States, direction
from hub.run import Stage, run


def deaf() -> None:
    """The owner acknowledges what was taken back, and does not take it in."""

    class Deaf(States):
        def apply(self, participant: str, offset: int, body: bytes, name: str | None = None) -> Any:
            if "narrows" not in direction(json.loads(body)["type"]):
                super().apply(participant, offset, body, name)

    knowledge.States = Deaf  # type: ignore[misc]


SAFEGUARDS = {"deaf": deaf}

if __name__ == "__main__":
    SAFEGUARDS[sys.argv[2]]()
    run(Stage(sys.argv[1]))
