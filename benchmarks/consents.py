"""Participants for the decision point's benchmarks: three consents of four grants each, all different."""

import json
from random import Random
from typing import Any, NamedTuple

from consent import Event, default_policy

POLICY = default_policy()
NOW_MS = 1_780_000_000_000
ROLES = ("case-management", "service-provider", "service-provider") * 3
STAKEHOLDERS: list[dict[str, Any]] = [
    {
        "id": f"stakeholder-{place}",
        "role": role,
        "treating": place < 6,
        "medical": place == 3,
        "agreement": {"from": "2025-01-01T00:00:00Z", "until": None},
    }
    for place, role in enumerate(ROLES)
]
IDS = [str(one["id"]) for one in STAKEHOLDERS]
PURPOSES = ("care-coordination", "care-coordination", "treatment")
WANTED_CATEGORIES = [one for one in POLICY["categories"] if one.startswith(("service.", "contact."))]


class Wanted(NamedTuple):
    """One subscription of the nine."""

    stakeholder: str
    purpose: str


SUBSCRIPTIONS = tuple(Wanted(name, PURPOSES[place % 3]) for place, name in enumerate(IDS))


def directives(number: int) -> list[dict[str, Any]]:
    """Three consents of the participant with this number, four grants in each."""
    random = Random(number)
    return [
        {
            "type": "consent-granted",
            "consent": {
                "id": f"con-{random.getrandbits(64):016x}",
                "signed_at": f"2026-0{random.randint(1, 3)}-{random.randint(10, 28)}T17:00:00.000Z",
                "signature": {"method": "paper", "reference": f"scan-{random.getrandbits(64):016x}"},
                "starts_at": f"2026-04-{random.randint(10, 28)}T17:00:00.000Z",
                "expires_at": f"2027-0{random.randint(1, 9)}-01T08:00:00.000Z",
                "statements": ["right-to-revoke", "redisclosure", "refusal"],
                "grants": [_grant(f"g{place}", random) for place in range(4)],
            },
        }
        for _ in range(3)
    ]


def _grant(name: str, random: Random) -> dict[str, Any]:
    categories = random.sample(POLICY["categories"], random.randint(1, 4))
    if random.random() < 0.5:
        categories.append(random.choice(["service", "contact", "court"]))
    return {
        "id": name,
        "disclosers": ["*"] if random.random() < 0.6 else random.sample(IDS, 3),
        "recipients": random.sample([*IDS, "class:treating-provider"], random.randint(1, 4)),
        "purposes": random.sample(POLICY["purposes"][:4], random.randint(1, 2)),
        "categories": categories,
        "labels": random.sample(POLICY["labels"][:4], random.randint(0, 3)),
        "compartments": ["*"] if random.random() < 0.3 else random.sample(POLICY["compartments"], 5),
        "data_from": "2026-01-01T00:00:00.000Z" if random.random() < 0.3 else None,
        "data_until": None,
    }


def bodies(number: int) -> list[bytes]:
    """The same as it lies in the log: canonical JSON."""
    return [json.dumps(one, sort_keys=True, separators=(",", ":")).encode() for one in directives(number)]


def event(number: int) -> Event:
    """An event, much like those of a county: a tenth of them labelled."""
    random = Random(-number)
    return Event(
        f"e-{number}",
        "p-1",
        "contact",
        random.choice(WANTED_CATEGORIES),
        ("mental-health",) if random.random() < 0.1 else (),
        random.choice(IDS),
        NOW_MS - random.randint(0, 40) * 86_400_000,
        ("subject", "occurrence", "engagement", "activity", "narrative"),
    )
