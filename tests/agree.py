"""Holds the decision point against its model on random cases: `python -m tests.agree --count 1000000`."""

import argparse
import json
import sys
from collections import Counter
from typing import Any, NamedTuple

from consent import Event, Policy, Stakeholders, States, decide, decide_all, fold
from tests import model
from tests.cases import POLICY, STAKEHOLDERS, Maker

QUESTIONS = 6  # asked of each participant
WANTED = 3  # subscriptions beside each


class Asks(NamedTuple):
    """A subscription as `decide_all` wants it."""

    stakeholder: str
    purpose: str


def agree(count: int, seed: int = 0) -> Counter[str]:
    """Decide `count` random questions both ways. How often each reason came out; raises at a difference."""
    usual_policy, usual_stakeholders = Policy.of(POLICY), Stakeholders.of(STAKEHOLDERS)
    reasons: Counter[str] = Counter()
    while count > 0:
        maker = Maker(seed)
        directives = maker.directives()
        state, plain_state = fold(directives), model.fold(directives)
        if seed % 4 == 0 and all(isinstance(one, dict) for one in directives):
            state = packed(directives)
        policy, stakeholders = maker.governance()
        compiled = usual_policy if policy is POLICY else Policy.of(policy)
        registered = usual_stakeholders
        if stakeholders is not STAKEHOLDERS:
            registered = Stakeholders.of(stakeholders)
        wanted = tuple(Asks(*one) for one in maker.wanted(WANTED))
        for _ in range(QUESTIONS):
            event, request = maker.question()
            recipient, purpose, at = (request.get(key) for key in ("recipient", "purpose", "at"))
            at = at if isinstance(at, str) else ""  # in JSON, a time is text
            requests = [{"recipient": name, "purpose": what, "at": at} for name, what in wanted]
            ours = [decide(event, recipient, purpose, at, state, compiled, registered)]
            ours += decide_all(Event.of(event), wanted, at, state, compiled, registered)
            for decision, asked in zip(ours, [request, *requests], strict=True):
                theirs = model.decide(event, asked, plain_state, policy, stakeholders)
                if decision.as_json() != theirs:
                    case = {"directives": directives, "event": event, "request": asked}
                    raise AssertionError(f"seed {seed}: {json.dumps([decision, theirs, case], indent=1)}")
                reasons[decision.reason] += 1
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
