"""Random cases for the decision point: plausible ones near every edge, and ones spoiled in every way.

Seeded, so that a case can be made again from its number.
"""

import json
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

Json = dict[str, Any]

POLICY: Json = json.loads((Path(__file__).parent.parent / "consent" / "policy.json").read_text("utf-8"))
PURPOSES: list[str] = POLICY["purposes"]
CATEGORIES: list[str] = POLICY["categories"]
LABELS: list[str] = POLICY["labels"]
COMPARTMENTS: list[str] = POLICY["compartments"]
TREATING = "class:treating-provider"
NOW = 1_780_000_000_000
DAY_MS = 86_400_000


def stakeholder(name: str, role: str, *flags: str, until: str | None = None) -> Json:
    return {
        "id": name,
        "role": role,
        "treating": "treating" in flags,
        "medical": "medical" in flags,
        "agreement": {"from": "2025-01-01T00:00:00Z", "until": until},
    }


STAKEHOLDERS: list[Json] = [
    stakeholder("reach", "case-management", "treating"),
    stakeholder("harbor-house", "service-provider", "treating"),
    stakeholder("clinic", "service-provider", "treating", "medical"),
    stakeholder("ems", "public-health", "treating", "medical"),
    stakeholder("defense", "public-defender", "treating"),
    stakeholder("attorney", "prosecutor"),
    stakeholder("jail-health", "prosecutor", "treating", "medical"),
    stakeholder("police", "police", "treating"),
    stakeholder("court", "court", "treating"),
    stakeholder("shops", "business"),
    stakeholder("former", "service-provider", "treating", until="2026-05-28T20:26:40.000Z"),
    {"id": "unsigned", "role": "case-management", "treating": True, "agreement": None},
]
IDS: list[str] = [one["id"] for one in STAKEHOLDERS]
ROLES: list[tuple[str, str]] = [(one["id"], one["role"]) for one in STAKEHOLDERS[:-2]]
BROAD = sorted({category.split(".")[0] for category in CATEGORIES})

JUNK: list[Any] = [
    None, None, True, False, 0, 1, 5, -1, 10**30, 1.5, 1e400, "", "*", "\ud800", "0", "5", "none", TREATING,
    "serv", "service.", "service", ".", "2026-05-28T20:26:40", "2026-05-28 20:26:40Z", "2026-02-30T00:00:00Z",
    "2016-12-31T23:59:60Z", "2026-05-28T24:00:00Z", "0000-01-01T00:00:00Z", "2026-05-28T20:26:40+24:00",
    [], {}, [None], ["*"], [5], [["reach"]], [TREATING], [True], ["reach", 5], {"id": 5}, {"id": "c1"}, [{}],
]  # fmt: skip


def write(ms: int, random: Random) -> str:
    """An instant as RFC 3339, in one of the many ways."""
    offset, sign = random.choice(
        [(0, "+"), (0, "+"), (0, "-"), (330, "+"), (480, "-"), (1439, "+"), (60, "-")]
    )
    local = ms + offset * 60_000 * (1 if sign == "+" else -1)
    days, rest = divmod(local, DAY_MS)
    seconds, thousandths = divmod(rest, 1000)

    day = date.fromordinal(date(1970, 1, 1).toordinal() + days).isoformat()
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    fraction = f".{thousandths:03}" if thousandths or random.random() < 0.5 else ""
    if fraction and random.random() < 0.3:
        fraction += random.choice(["9", "999999", "0"])
    zone = random.choice("Zz") if not offset and sign == "+" else f"{sign}{offset // 60:02}:{offset % 60:02}"
    return f"{day}{random.choice('TTTt')}{clock}{fraction}{zone}"


def near(random: Random) -> int:
    """An instant about now: mostly days away, often the very millisecond or its neighbours."""
    if random.random() < 0.25:
        return NOW + random.choice([-1, 0, 0, 1])
    return NOW + random.choice([-40, -20, -10, -5, -1, 1, 5, 10, 20, 40]) * DAY_MS


def some(random: Random, usual: str, others: list[str], more: list[str] | None = None) -> list[str]:
    """A list that mostly holds the usual one."""
    listed = random.sample(others, random.randint(0, min(3, len(others))))
    if random.random() < 0.85:
        listed.append(usual)
    if more and random.random() < 0.3:
        listed.append(random.choice(more))
    random.shuffle(listed)
    return listed


class Maker:
    """Makes directives, events and requests that often have to do with each other."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        row = random.choice(POLICY["matrix"])
        self.category = random.choice([one for one in CATEGORIES if one.startswith(row["category"])])
        self.purpose = random.choice(row["purposes"])
        self.recipient = random.choice([one for one, role in ROLES if role == row["role"]])
        if random.random() < 0.1:
            self.purpose = random.choice(PURPOSES)
        self.discloser = random.choice(IDS)
        self.labels = random.sample(LABELS, random.choice([0, 0, 0, 0, 1, 1, 2]))

    def time(self, usual_days: int | None = None) -> str:
        """A time about now, or mostly that many days from now."""
        random = self.random
        if usual_days is not None and random.random() < 0.75:
            return write(NOW + usual_days * DAY_MS, random)
        return write(near(random), random)

    def grant(self, name: str) -> Json:
        random = self.random
        broad = [self.category, *(self.category[: self.category.index(".")],)]
        labels = [label for label in LABELS if label in self.labels or random.random() < 0.15]
        if labels and random.random() < 0.1:
            labels.pop()
        return {
            "id": name,
            "disclosers": some(random, random.choice([self.discloser, "*"]), IDS, ["nobody"]),
            "recipients": some(random, random.choice([self.recipient, TREATING]), IDS, [TREATING, "*"]),
            "purposes": [self.purpose]
            if random.random() < 0.6
            else some(random, self.purpose, PURPOSES, ["*", "marketing"]),
            "categories": some(random, random.choice(broad), CATEGORIES + BROAD, ["*", "serv", ""]),
            "labels": labels,
            "compartments": random.choice(
                [["*"], [], random.sample(COMPARTMENTS, 4), [*random.sample(COMPARTMENTS, 1), "gossip"]]
            ),
            "data_from": random.choice([None, self.time(-40)]),
            "data_until": random.choice([None, self.time(40)]),
        }

    def consent(self) -> Json:
        random = self.random
        consent = {
            "id": random.choice(["c1", "c1", "c2", "c3"]),
            "signed_at": self.time(-40),
            "signature": {"method": "paper", "reference": "scan"},
            "starts_at": self.time(-30),
            "statements": ["right-to-revoke", "redisclosure", "refusal"],
            "grants": [self.grant(f"g{place}") for place in range(random.choice([1, 1, 2, 3]))],
        }
        ending = random.random()
        if ending < 0.75:
            consent["expires_at"] = self.time(30)
        if ending > 0.6:
            consent["expires_on"] = random.choice(["program-exit", "program-exit", "none", "death", None])
        if random.random() < 0.1:
            consent["grants"].append({"id": "g0", **self.grant("g0")})
        return consent

    def directive(self) -> Json:
        random = self.random
        kind = random.choice(
            ["granted"] * 5 + ["revoked", "restriction", "order", "emergency", "exit", "lift"]
        )
        body: Json
        if kind == "granted":
            body = {"type": "consent-granted", "consent": self.consent()}
        elif kind == "revoked":
            body = {"type": "consent-revoked", "consent_id": random.choice(["c1", "c1", "c2", "c9"])}
            if random.random() < 0.5:
                body["recipients"] = random.choice(
                    [[], [self.recipient], [TREATING], ["nobody"], ["*"], IDS[:3]]
                )
            if random.random() < 0.5:
                body["grants"] = random.choice([[], ["g0"], ["g1"], ["g9"], ["g0", "g1"]])
        elif kind == "restriction":
            restriction = {
                "id": random.choice(["r1", "r2"]),
                "recipients": some(random, self.recipient, IDS, ["*", TREATING]),
                "purposes": some(random, self.purpose, PURPOSES, ["*"]),
                "categories": some(random, self.category, CATEGORIES + BROAD, ["*"]),
                "labels": random.choice([["*"], [], random.sample(LABELS, 2), list(self.labels)]),
            }
            body = {"type": "restriction-placed", "restriction": restriction}
        elif kind == "order":
            order = {
                "id": random.choice(["o1", "o2"]),
                "recipient": random.choice([self.recipient] * 4 + ["court", TREATING]),
                "categories": some(random, self.category, CATEGORIES + BROAD, ["*"]),
                "starts_at": self.time(-10),
                "expires_at": self.time(10),
                "subpoena": random.choice([True, True, True, False, None]),
            }
            body = {"type": "order-filed", "order": order}
        elif kind == "emergency":
            declared = NOW + random.choice([-DAY_MS, -1, 0, 1, -1000, -1000, -DAY_MS - 1])
            emergency = {
                "id": random.choice(["e1", "e2"]),
                "recipient": random.choice([self.recipient] * 3 + ["clinic", "ems"]),
                "declared_by": "dr-1",
                "nature": "overdose",
                "declared_at": write(declared, random),
                "expires_at": write(declared + random.choice([DAY_MS, DAY_MS, DAY_MS + 1, 1000, -1]), random),
            }
            body = {"type": "emergency-declared", "emergency": emergency}
        elif kind == "exit":
            body = {"type": "program-exited", "at": self.time()}
        elif random.random() < 0.5:
            body = {"type": "restriction-lifted", "restriction_id": random.choice(["r1", "r2", "r9"])}
        else:
            body = {"type": "order-vacated", "order_id": random.choice(["o1", "o9"])}
        if random.random() < 0.3:
            body["id"] = f"d{random.randint(1, 8)}"
        return body

    def directives(self) -> list[Any]:
        random = self.random
        made: list[Any] = [self.directive() for _ in range(random.choice([0, 1, 2, 3, 4, 6, 9]))]
        if random.random() < 0.35:
            spoil(made, random)
        return made

    def question(self) -> tuple[Any, Json]:
        """An event and a request."""
        random = self.random
        usual = random.random() < 0.9
        event: Json = {
            "id": "evt-1",
            "participant": "p-1",
            "type": "contact",
            "category": self.category if usual else random.choice([*CATEGORIES, "service", "weather"]),
            "labels": list(self.labels) if random.random() < 0.85 else random.sample(LABELS, 1),
            "discloser": self.discloser if random.random() < 0.9 else random.choice(IDS),
            "occurred_at": self.time(),
            "compartments": random.sample(COMPARTMENTS, random.randint(0, 8)),
        }
        request: Json = {
            "recipient": self.recipient if random.random() < 0.8 else random.choice(IDS),
            "purpose": self.purpose if random.random() < 0.85 else random.choice(PURPOSES),
            "at": write(NOW, random) if random.random() < 0.8 else self.time(),
        }
        if random.random() < 0.08:
            spoil(event if random.random() < 0.7 else request, random)
        return event, request

    def wanted(self, count: int) -> list[tuple[str, str]]:
        """Recipients and purposes that go with the events."""
        random = self.random
        made = [(self.recipient, self.purpose), (random.choice(IDS), self.purpose)]
        made += [
            (random.choice([*IDS, "nobody"]), random.choice([*PURPOSES, "marketing"])) for _ in range(count)
        ]
        return made[:count]

    def governance(self) -> tuple[Json, list[Json]]:
        """A policy and stakeholders: nearly always the same."""
        policy, stakeholders = POLICY, STAKEHOLDERS
        if self.random.random() < 0.03:
            policy = json.loads(json.dumps(policy))
            spoil(policy, self.random)
        if self.random.random() < 0.05:
            stakeholders = json.loads(json.dumps(stakeholders))
            spoil(self.random.choice(stakeholders), self.random, keep=("id",))
        return policy, stakeholders


def spoil(tree: Any, random: Random, keep: tuple[str, ...] = ()) -> None:
    """Put junk in place of something in the tree, or take it out."""
    places: list[tuple[Any, Any]] = []
    pending = [tree]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            if not (node is tree and key in keep):
                places.append((node, key))
            if isinstance(node[key], dict | list):
                pending.append(node[key])
    for node, key in random.sample(places, min(len(places), random.choice([1, 1, 1, 2, 3]))):
        if random.random() < 0.25 and isinstance(node, dict):
            node.pop(key, None)
        elif isinstance(node, dict) or key < len(node):
            node[key] = random.choice(JUNK)
