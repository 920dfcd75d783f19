"""What the throughput benchmarks run on: nine recipients, participants with consents, sealed events.

A third of the recipients is permitted for each participant. Everything is written in the hub's own records,
so that all contenders read and write the same bytes.
"""

import json
import os
import random
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer

from consent import default_policy
from schemas import codec, instant
from schemas.topics import partition_of

RECIPIENTS: Final = tuple(f"recipient-{n}" for n in range(1, 10))
DISCLOSER: Final = "sender-1"
PURPOSE: Final = "care-coordination"
CATEGORIES: Final = ("contact.outreach", "contact.case-management", "contact.crisis")
START_MS: Final = 1_760_000_000_000
PERMITTED: Final = 3  # of the nine
PARTITIONS: Final = 4
FOREVER: Final = "2099-01-01T00:00:00.000Z"
SINCE: Final = "2024-01-01T00:00:00.000Z"
AGREED: Final = {"from": "2020-01-01T00:00:00.000Z", "until": None}


def governance(policy: dict[str, Any]) -> dict[str, Any]:
    """Policy, stakeholders and subscriptions as plain data, for every contender alike."""
    roles = ["case-management", "service-provider"]
    return {
        "policy": policy,
        "stakeholders": [
            {"id": DISCLOSER, "role": "police", "treating": False, "medical": False, "agreement": AGREED},
            *(
                {"id": name, "role": roles[i % 2], "treating": True, "medical": False, "agreement": AGREED}
                for i, name in enumerate(RECIPIENTS)
            ),
        ],
        "subscriptions": [
            {
                "id": f"{name}-{PURPOSE}",
                "stakeholder": name,
                "purpose": PURPOSE,
                "categories": ["contact"],
                "adapter": "webhook",
                "settings": {},
            }
            for name in RECIPIENTS
        ],
    }


def write_plan(path: Path) -> None:
    """The same, as a file for contenders that don't read the hub's records of it."""
    path.write_text(json.dumps(governance(default_policy())))


def participant(number: int) -> str:
    """The id of the nth participant; as long as a real one."""
    return f"p-{number:026d}"


def event(number: int) -> str:
    """The id of the nth event; as long as a real one."""
    return f"e-{number:026d}"


def consent(form: int, number: str) -> bytes:
    """One consent of four grants, by which three of the nine recipients may have contacts: one of nine forms,
    and the participant's number in it.
    """
    chosen = [RECIPIENTS[(form + 3 * k) % 9] for k in range(PERMITTED)]

    def grant(name: str, recipients: list[str], categories: list[str]) -> dict[str, Any]:
        return {
            "id": name,
            "disclosers": ["*"],
            "recipients": recipients,
            "purposes": [PURPOSE],
            "categories": categories,
            "labels": ["part2", "mental-health"],
            "compartments": ["subject", "occurrence", "activity"],
            "data_from": SINCE,
            "data_until": None,
        }

    body = {
        "type": "consent-granted",
        "consent": {
            "id": f"c-{number}",
            "signed_at": "2025-01-01T00:00:00.000Z",
            "signature": {"method": "paper", "reference": f"scan-{number}"},
            "starts_at": "2025-01-01T00:00:00.000Z",
            "expires_at": FOREVER,
            "statements": ["right-to-revoke", "redisclosure", "refusal"],
            "grants": [
                grant("g1", chosen[:2], ["contact"]),
                grant("g2", chosen[2:], ["contact.outreach", "contact.case-management", "contact.crisis"]),
                grant("g3", chosen, ["service.housing"]),
                grant("g4", chosen[:1], ["referral"]),
            ],
        },
    }
    return json.dumps(body, separators=(",", ":")).encode()


def directives(people: int, *, alike: bool = True) -> Iterator[tuple[str, bytes]]:
    """Participant and directive of each; by one of nine forms, or each by a form of their own."""
    for number in range(people):
        said = directive(number)
        if not alike:  # no two data periods begin at the same instant
            own = instant.format(instant.parse(SINCE) + number).encode()
            said = said.replace(SINCE.encode(), own)
        yield participant(number), said


def directive(number: int) -> bytes:
    """The consent of the nth participant, of up to ten million, as it stands on the consent topic."""
    return (b"%07d" % number).join(_form(number % len(RECIPIENTS)))


@lru_cache(maxsize=len(RECIPIENTS))
def _form(form: int) -> list[bytes]:
    """What stands around the participant's number in a directive: made once for a million of them."""
    number = "number!"  # of seven characters, too
    return codec.encode(
        "Directive",
        {
            "id": f"d-{number}",
            "participant": participant(0)[: -len(number)] + number,
            "sender": "recipient-1",
            "recorded_at": START_MS,
            "type": "consent-granted",
            "body": consent(form, number),
            "sealed": None,
        },
    ).split(number.encode())


def events(
    count: int, participants: int, first: int = 0, part_bytes: int = 64
) -> Iterator[tuple[str, bytes]]:
    """Participant and value of `count` events numbered from `first`, participants drawn evenly."""
    dice = random.Random(first)
    for n in range(first, first + count):
        who = participant(dice.randrange(participants))
        carried = ["subject", "occurrence", "activity", "narrative"]
        value = codec.encode(
            "Event",
            {
                "envelope": {
                    "id": event(n),
                    "source": f"urn:agency:{DISCLOSER}",
                    "type": "contact",
                    "occurred_at": START_MS + n,
                    "admitted_at": START_MS + n,
                    "participant": who,
                    "category": CATEGORIES[n % 3],
                    "labels": ["mental-health"] if n % 7 == 0 else [],
                    "discloser": DISCLOSER,
                    "compartments": carried,
                },
                "sealed": {name: os.urandom(part_bytes) for name in carried},
            },
        )
        yield who, value


def send(bootstrap: str, topic: str, partitions: int, records: Iterable[tuple[str, bytes]]) -> int:
    """Writes keyed records by the hub's partitioner. Out: how many."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 1 << 18})
    sent = 0
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, partition=partition_of(key, partitions))
                break
            except BufferError:
                producer.poll(0.1)
        sent += 1
        if sent % 1000 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise RuntimeError("the broker did not take everything in time")
    return sent


def governance_records(policy: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The same governance as records of its topic."""
    plan = governance(policy)
    entries = [("policy", "policy", plan["policy"])]
    entries += [("stakeholder", one["id"], one) for one in plan["stakeholders"]]
    entries += [("subscription", one["id"], one) for one in plan["subscriptions"]]
    for kind, name, body in entries:
        record = {"kind": kind, "id": name, "at": START_MS, "by": "bench", "body": json.dumps(body).encode()}
        yield f"{kind}/{name}", codec.encode("Governance", record)
