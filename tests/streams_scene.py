"""A small world for the stages' tests: four stakeholders, what they want, people and what they allow."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consent import default_policy
from hub import kek
from hub.crosswalk import Links, local_hash
from hub.settings import Settings
from hub.store import Store
from hub.vault import Vault
from schemas import cloudevents, codec, compartments, instant, sealing
from schemas.naming import event_id
from streams.admit import Admit
from streams.step import Record

PARTITIONS = 2
STAKEHOLDERS: dict[str, dict[str, Any]] = {
    "jail": {"role": "police"},
    "harbor": {"role": "case-management"},
    "clinic": {"role": "service-provider", "treating": True, "part2": True},
    "attorney": {"role": "prosecutor"},
}
SUBSCRIPTIONS: dict[str, dict[str, Any]] = {
    "s-attorney": {"stakeholder": "attorney", "purpose": "proceedings", "categories": ["contact", "service"]},
    "s-clinic": {"stakeholder": "clinic", "purpose": "care-coordination", "categories": ["contact"]},
    "s-harbor-care": {"stakeholder": "harbor", "purpose": "care-coordination", "categories": ["contact"]},
    "s-harbor-law": {"stakeholder": "harbor", "purpose": "legal-coordination", "categories": ["contact"]},
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def governance() -> list[dict[str, Any]]:
    """The records of this world's governance, in order."""
    agreement = {"from": "2020-01-01T00:00:00Z", "until": None}
    entries: list[tuple[str, str, Mapping[str, Any]]] = [("policy", "policy", default_policy())]
    entries += [
        ("stakeholder", name, {**body, "agreement": agreement}) for name, body in STAKEHOLDERS.items()
    ]
    entries += [
        ("subscription", name, {**body, "adapter": "webhook"}) for name, body in SUBSCRIPTIONS.items()
    ]
    return [
        {"kind": kind, "id": name, "at": 0, "by": "test", "body": json.dumps(body).encode()}
        for kind, name, body in entries
    ]


def grant(
    consent: str,
    recipients: Sequence[str] = ("harbor", "clinic"),
    compartments: Sequence[str] = ("subject", "occurrence"),
    starts_at: int = 0,
    labels: Sequence[str] = (),
) -> dict[str, Any]:
    """The body of a consent with one grant, for every purpose of care."""
    return {
        "type": "consent-granted",
        "consent": {
            "id": consent,
            "signed_at": instant.format(0),
            "signature": {"method": "in-person", "reference": "r"},
            "starts_at": instant.format(starts_at),
            "expires_at": instant.format(4_000_000_000_000),
            "statements": ["right-to-revoke", "redisclosure", "refusal"],
            "grants": [
                {
                    "id": "g-1",
                    "disclosers": ["*"],
                    "recipients": list(recipients),
                    "purposes": ["care-coordination", "legal-coordination", "treatment"],
                    "categories": ["contact", "service"],
                    "labels": list(labels),
                    "compartments": list(compartments),
                }
            ],
        },
    }


def directive(participant: str, body: dict[str, Any], name: str = "") -> dict[str, Any]:
    return {
        "id": name or f"d-{participant}-{body['type']}-{body.get('consent', {}).get('id')}",
        "participant": participant,
        "sender": "harbor",
        "recorded_at": now_ms(),
        "type": body["type"],
        "body": json.dumps(body).encode(),
        "sealed": None,
    }


def event(participant: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """An admitted event with three compartments, its seals opaque to the stages."""
    envelope = {
        "id": f"e-{number:026d}",
        "source": "urn:agency:jail",
        "type": "contact",
        "category": "contact.custody-booking",
        "labels": [],
        "discloser": "jail",
        "compartments": ["legal", "occurrence", "subject"],
        "participant": participant,
        "occurred_at": now_ms() - 60_000,
        "admitted_at": now_ms(),
        "consent_at_least": None,
        **more,
    }
    return {
        "envelope": envelope,
        "sealed": {name: b"sealed " + name.encode() for name in envelope["compartments"]},
    }


def record(
    topic: str,
    value: bytes | None,
    key: bytes | None = None,
    offset: int = 0,
    partition: int = 0,
    headers: list[tuple[str, bytes | None]] | None = None,
) -> Record:
    return Record(topic, partition, offset, key, value, headers, now_ms())


@dataclass
class Sink:
    """Takes what a step writes, in place of a transaction."""

    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    known: dict[tuple[str, int], int] = field(default_factory=dict)
    arrives: Callable[[int], bool] = lambda offset: False
    written: list[tuple[str, bytes | None, bytes | None, int]] = field(default_factory=list)

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Any = None,
    ) -> None:
        assert partition is not None
        self.written.append((topic, key, value, partition))

    def offset(self, topic: str, partition: int, offset: int) -> None:
        self.positions[topic, partition] = offset

    def applied(self, topic: str, partition: int) -> int:
        return self.known.get((topic, partition), -1)

    def reach(self, topic: str, partition: int, offset: int) -> bool:
        return self.arrives(offset)

    def of(self, topic: str) -> list[dict[str, Any]]:
        """Everything written to a topic so far, decoded."""
        return [codec.decode(value)[1] for name, _, value, _ in self.written if name == topic and value]

    def topics(self) -> list[str]:
        return [name for name, *_ in self.written]


class World:
    """Vault and crosswalk as the hub has them, and an admit step upon them."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data=folder)
        self.store = Store(settings.store)
        self.store.migrate()
        self.vault = Vault(self.store, kek.load(folder, {}, create=True))

    def link(self, agency: str, local_id: str, participant: str, kind: str = "linked") -> dict[str, Any]:
        return {
            "kind": kind,
            "participant": participant,
            "agency": agency,
            "local": local_hash(self.vault, agency, local_id),
            "sealed": b"",
            "at": now_ms(),
            "by": "test",
        }

    def admit(
        self,
        trim: Callable[[Mapping[tuple[str, int], int]], None] = lambda _: None,
        now: Callable[[], int] = now_ms,
    ) -> Admit:
        def hashed(agency: str, local_id: str) -> str:
            return local_hash(self.vault, agency, local_id)

        return Admit(self.vault, Links(), hashed, trim, now, PARTITIONS)

    def inbound(self, agency: str, body: bytes, consent_at_least: int | None = None) -> bytes:
        """What the gateway puts into an inbox."""
        return codec.encode(
            "Inbound",
            {
                "agency": agency,
                "via": "http",
                "received_at": now_ms(),
                "submission": None,
                "consent_at_least": consent_at_least,
                "reference": None,
                "sealed": self.vault.hub("originals").seal(f"inbox.{agency}".encode(), body),
            },
        )

    def open_event(self, value: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Opens every compartment of an admitted event, as the delivery engine will."""
        envelope = value["envelope"]
        sealer = self.vault.sealer(envelope["participant"])
        return {
            name: compartments.decode(sealer.open(sealing.aad(envelope, name), sealed))[2]
            for name, sealed in value["sealed"].items()
        }

    def open_quarantined(self, value: dict[str, Any]) -> bytes:
        aad = b"quarantine\0" + value["id"].encode()
        return self.vault.hub("originals").open(aad, value["sealed"])

    def hub_id(self, agency: str, given: str) -> str:
        return event_id(self.vault.mac, cloudevents.source_of(agency), given)


def cloud_event(agency: str = "jail", number: int = 1, subject: str = "A-1", **more: Any) -> bytes:
    """A booking as an agency sends it, structured JSON."""
    item = {
        "specversion": "1.0",
        "id": f"given-{number}",
        "source": f"urn:agency:{agency}",
        "type": "contact",
        "category": "contact.custody-booking",
        "subject": subject,
        "time": "2026-11-20T10:00:00Z",
        "data": {"facility": "County Jail", "booking_number": f"B-{number}"},
        **more,
    }
    return json.dumps({name: value for name, value in item.items() if value is not None}).encode()
