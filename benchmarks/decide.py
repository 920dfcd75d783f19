"""How fast one event is decided for nine subscriptions: compiled, read plainly, and by cedarpy."""

import json
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import cedarpy

from benchmarks.consents import NOW_MS, POLICY, STAKEHOLDERS, SUBSCRIPTIONS, bodies, directives, event
from consent import Event, Policy, Stakeholders, States, decide_all, fold
from schemas import instant
from tests import model

PEOPLE = 400
PLAIN = 60  # of them, for the slow contenders
CEDAR = 20
EVENTS_EACH = 10
ROUNDS = 15
NAME = "decide one event for nine subscriptions"
FOLDED = f"{NAME}: consents folded"
Row = dict[str, Any]


class Work(NamedTuple):
    """Something to time, and how many events one run of it decides."""

    run: Callable[[], None]
    events: int

    def rate(self) -> float:
        """Events a second of processor time, which other programs on the machine don't take away."""
        start = time.process_time()
        self.run()
        return self.events / (time.process_time() - start)


def rows() -> list[Row]:
    """Rows for the results: events a second, each decided for nine subscriptions, by one processor."""
    events = [event(number) for number in range(EVENTS_EACH)]
    folded, unfolded = _ours(events)
    plain, plain_unfolded = _plain(events)
    cedar = _cedar(events)
    return [
        row(FOLDED, folded, "the plain reading of the rule, folded", plain),
        row(FOLDED, folded, "cedarpy, the grants alone, parsed", cedar),
        row(
            f"{NAME}: first of a participant",
            unfolded,
            "the plain reading of the rule, from JSON",
            plain_unfolded,
        ),
    ]


def _ours(events: list[Event]) -> tuple[Work, Work]:
    """From compiled states, and from the packed bytes of directives."""
    policy, stakeholders = Policy.of(POLICY), Stakeholders.of(STAKEHOLDERS)
    states = [fold(directives(person)) for person in range(PEOPLE)]
    packed = States(compiled_max=1)
    people = [f"p-{person}" for person in range(PEOPLE)]
    for number, person in enumerate(people):
        for place, body in enumerate(bodies(number)):
            packed.apply(person, place, body)

    def folded() -> None:
        for state in states:
            for one in events:
                decide_all(one, SUBSCRIPTIONS, NOW_MS, state, policy, stakeholders)

    def unfolded() -> None:
        for person in people:
            decide_all(events[0], SUBSCRIPTIONS, NOW_MS, packed.get(person), policy, stakeholders)

    return Work(folded, PEOPLE * EVENTS_EACH), Work(unfolded, PEOPLE)


def _plain(events: list[Event]) -> tuple[Work, Work]:
    """The model of the tests, keeping what a plain program would: times read once, shapes checked once."""
    model.time = lru_cache(maxsize=None)(model.time)  # type: ignore[assignment]  # the cache stands in for it
    model.sound_policy = lambda policy: True
    model.sound_stakeholder = lambda stakeholder: True
    asked = [one._asdict() | {"occurred_at": instant.format(one.occurred_at)} for one in events]
    asked = [one | {key: list(one[key]) for key in ("labels", "compartments")} for one in asked]
    at = instant.format(NOW_MS)
    requests = [{"recipient": one.stakeholder, "purpose": one.purpose, "at": at} for one in SUBSCRIPTIONS]
    states = [model.fold(directives(person)) for person in range(PEOPLE)]
    raw = [bodies(person) for person in range(PEOPLE)]

    def folded() -> None:
        for state in states[:PLAIN]:
            for one in asked:
                for request in requests:
                    model.decide(one, request, state, POLICY, STAKEHOLDERS)

    def unfolded() -> None:
        for some in raw[:PLAIN]:
            state = model.fold([json.loads(body) for body in some])
            for request in requests:
                model.decide(asked[0], request, state, POLICY, STAKEHOLDERS)

    return Work(folded, PLAIN * EVENTS_EACH), Work(unfolded, PLAIN)


def _cedar(events: list[Event]) -> Work:
    """cedarpy's rate for the same grants, one permit for each, parsed before the clock starts."""
    policies = [cedarpy.PolicySet.from_str(_policies(person)) for person in range(CEDAR)]
    treating = [{"type": "Stakeholder", "id": "class:treating-provider"}]
    entities = cedarpy.Entities.from_json_str(
        json.dumps(
            [
                {
                    "uid": {"type": "Stakeholder", "id": one["id"]},
                    "attrs": {},
                    "parents": treating if one["treating"] else [],
                }
                for one in STAKEHOLDERS
            ]
        )
    )
    requests = [
        [
            {
                "principal": {"type": "Stakeholder", "id": one.stakeholder},
                "action": {"type": "Action", "id": one.purpose},
                "resource": {"type": "Event", "id": "e"},
                "context": {
                    "lineage": [asked.category, asked.category.split(".")[0]],
                    "labels": list(asked.labels),
                    "discloser": asked.discloser,
                    "occurred_at": asked.occurred_at,
                    "at": NOW_MS,
                },
            }
            for one in SUBSCRIPTIONS
        ]
        for asked in events
    ]

    def run() -> None:
        for some in policies:
            for batch in requests:
                cedarpy.is_authorized_batch(batch, some, entities)

    return Work(run, CEDAR * EVENTS_EACH)


def _policies(person: int) -> str:
    permits = []
    for one in directives(person):
        consent = one["consent"]
        first, last = instant.parse(consent["starts_at"]), instant.parse(consent["expires_at"])
        for grant in consent["grants"]:
            recipients = ", ".join(f'Stakeholder::"{name}"' for name in grant["recipients"])
            purposes = ", ".join(f'Action::"{name}"' for name in grant["purposes"])
            discloser = json.dumps(grant["disclosers"])
            conditions = [
                f"principal in [{recipients}]",
                f"{json.dumps(grant['categories'])}.containsAny(context.lineage)",
                f"{json.dumps(grant['labels'])}.containsAll(context.labels)",
                f"context.at >= {first} && context.at <= {last}",
            ]
            if "*" not in grant["disclosers"]:
                conditions.append(f"{discloser}.contains(context.discloser)")
            if grant["data_from"]:
                conditions.append(f"context.occurred_at >= {instant.parse(grant['data_from'])}")
            when = " && ".join(conditions)
            permits.append(f"permit(principal, action in [{purposes}], resource) when {{ {when} }};")
    return "\n".join(permits)


def row(name: str, ours: Work, peer: str, theirs: Work) -> Row:
    """A row in the shape of the results file: the two by turns, the best of a few rounds of each."""
    rounds = [(ours.rate(), theirs.rate()) for _ in range(ROUNDS)]
    mine, other = max(one for one, _ in rounds), max(one for _, one in rounds)
    return {
        "name": name,
        "ours": round(mine),
        "peer": peer,
        "peer_value": round(other),
        "unit": "events/s",
        "ratio": round(mine / other, 1),
        "higher_is_better": True,
    }


if __name__ == "__main__":
    print(json.dumps(rows(), indent=1))
