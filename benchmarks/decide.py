"""How fast one event is decided for nine subscriptions: compiled, read plainly, and by cedarpy."""

import json
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cedarpy

from benchmarks.consents import NOW_MS, POLICY, STAKEHOLDERS, SUBSCRIPTIONS, bodies, directives, event
from consent import Policy, Stakeholders, States, decide_all, fold
from schemas import instant
from tests import model

PEOPLE = 400
EVENTS_EACH = 10
BEST_OF = 3
Row = dict[str, Any]


def rows() -> list[Row]:
    """Rows for the results: events a second, each decided for nine subscriptions."""
    policy, stakeholders = Policy.of(POLICY), Stakeholders.of(STAKEHOLDERS)
    events = [event(number) for number in range(EVENTS_EACH)]
    states = [fold(directives(person)) for person in range(PEOPLE)]

    def compiled() -> None:
        for state in states:
            for one in events:
                decide_all(one, SUBSCRIPTIONS, NOW_MS, state, policy, stakeholders)

    def from_bytes() -> None:
        for person in packed:
            state = kept.get(person)
            for one in events[:1]:
                decide_all(one, SUBSCRIPTIONS, NOW_MS, state, policy, stakeholders)

    kept, packed = States(compiled_max=1), [f"p-{person}" for person in range(PEOPLE)]
    for person in packed:
        for place, body in enumerate(bodies(int(person[2:]))):
            kept.apply(person, place, body)
    ours = rate(compiled, PEOPLE * EVENTS_EACH)
    ours_cold = rate(from_bytes, PEOPLE)
    plain, plain_cold = _plain(events)
    cedar = _cedar(events)
    name = "decide one event for nine subscriptions"
    return [
        row(f"{name}, consents folded", ours, "plain reading of the rule", plain),
        row(f"{name}, from the directives' bytes", ours_cold, "plain reading of the rule", plain_cold),
        row(f"{name}, grants alone", ours, "cedarpy", cedar),
    ]


def _plain(events: list[Any]) -> tuple[float, float]:
    """The model's rates: from its folded state, and from JSON. It reads each time once: no handicap there."""
    model.time = lru_cache(maxsize=None)(model.time)  # type: ignore[assignment]
    known = {one["id"]: one for one in STAKEHOLDERS}
    asked = [one._asdict() | {"occurred_at": instant.format(one.occurred_at)} for one in events]
    requests = [
        {"recipient": one.stakeholder, "purpose": one.purpose, "at": instant.format(NOW_MS)}
        for one in SUBSCRIPTIONS
    ]
    folded = [model.fold(directives(person)) for person in range(PEOPLE)]
    raw = [bodies(person) for person in range(PEOPLE)]

    def from_state() -> None:
        for state in folded:
            for one in asked:
                for request in requests:
                    model.rules(one, request, state, POLICY, known)

    def from_json() -> None:
        for some in raw:
            state = model.fold([json.loads(body) for body in some])
            for request in requests:
                model.rules(asked[0], request, state, POLICY, known)

    return rate(from_state, PEOPLE * EVENTS_EACH), rate(from_json, PEOPLE)


def _cedar(events: list[Any]) -> float:
    """cedarpy's rate for the same grants, one permit for each, parsed before the clock starts."""
    people = range(0, PEOPLE, 10)
    policies = [cedarpy.PolicySet.from_str(_policies(person)) for person in people]
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

    return rate(run, len(policies) * EVENTS_EACH)


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


def rate(run: Callable[[], None], count: int) -> float:
    """How many a second, the best of a few runs."""
    best = float("inf")
    for _ in range(BEST_OF):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return count / best


def row(name: str, ours: float, peer: str, peer_value: float) -> Row:
    """A row in the shape of the results file."""
    return {
        "name": name,
        "ours": round(ours),
        "peer": peer,
        "peer_value": round(peer_value),
        "unit": "events/s",
        "ratio": round(ours / peer_value, 1),
        "higher_is_better": True,
    }


if __name__ == "__main__":
    print(json.dumps(rows(), indent=1))
