"""Holds the decision point against its model on random cases: `python -m tests.agree --count 1000000`."""

import argparse
import json
import sys
from collections import Counter
from typing import Any

from consent import Decision, Policy, Stakeholders, States, decide, fold
from tests import model
from tests.cases import POLICY, STAKEHOLDERS, Json, Maker

QUESTIONS = 8  # asked of each participant


def plain(decision: Decision) -> Json:
    return decision.as_json()


def agree(count: int, seed: int = 0) -> Counter[str]:
    """Decide `count` random questions both ways. How often each reason came out; raises at a difference."""
    usual_policy, usual_stakeholders = Policy.of(POLICY), Stakeholders.of(STAKEHOLDERS)
    reasons: Counter[str] = Counter()
    while count > 0:
        maker = Maker(seed)
        directives = maker.directives()
        state, plain_state = fold(directives), model.fold(directives)
        policy, stakeholders = maker.governance()
        compiled = usual_policy if policy is POLICY else Policy.of(policy)
        registered = usual_stakeholders
        if stakeholders is not STAKEHOLDERS:
            registered = Stakeholders.of(stakeholders)
        if seed % 4 == 0 and all(isinstance(one, dict) for one in directives):
            state = packed(directives)
        for _ in range(QUESTIONS):
            event, request = maker.question()
            asked = (request.get("recipient"), request.get("purpose"), request.get("at"))
            at: Any = asked[2] if isinstance(asked[2], str) else ""
            ours = plain(decide(event, asked[0], asked[1], at, state, compiled, registered))
            theirs = model.decide(event, request, plain_state, policy, stakeholders)
            if ours != theirs:
                case = {"directives": directives, "event": event, "request": request}
                raise AssertionError(f"seed {seed}: {json.dumps([ours, theirs, case], indent=1)}")
            reasons[theirs["reason"]] += 1
            count -= 1
        seed += 1
    return reasons


def packed(directives: list[Any]) -> Any:
    """The state by way of bytes, as the stages keep it."""
    states = States()
    for place, one in enumerate(directives):
        states.apply("p-1", place, json.dumps(one).encode())
    return states.get("p-1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    reasons = agree(arguments.count, arguments.seed)
    for reason, often in reasons.most_common():
        sys.stdout.write(f"{often:>9,} {reason}\n")


if __name__ == "__main__":
    main()
