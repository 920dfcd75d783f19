"""A participant with a history, for the privacy officers' pages.

It went through the hub's own doors and the log, and is projected from there; only what stages would have made
of it is put in beside.
"""

import itertools
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from hub.projections import Read, project, read
from schemas import codec, compartments, instant, sealing
from schemas.topics import partition_of
from tests.webside import CLINIC, HARBOR, REACH, Side, records

DAY = 24 * 3_600_000
_places = itertools.count(1)


@dataclass
class Person:
    """A participant of that hub, as the tests need them."""

    side: Side
    participant: str
    local_id: str
    consent: str = ""

    def event(self, name: str, category: str = "service.housing", discloser: str = HARBOR) -> dict[str, Any]:
        """An admitted event in the log, its subject sealed. Out: what decisions have of it."""
        vault, at = self.side.hub.vault, _now() - 3_600_000
        envelope = {
            "id": "e-" + secrets.token_hex(13),
            "source": discloser,
            "type": "service-engagement",
            "occurred_at": at,
            "admitted_at": at,
            "participant": self.participant,
            "category": category,
            "labels": [],
            "discloser": discloser,
            "compartments": ["subject"],
            "consent_at_least": None,
        }
        fields = compartments.encode("service-engagement", "subject", {"local_id": "H-1", "name": name})
        sealer = vault.sealer(self.participant)
        sealed = {"subject": sealer.seal(sealing.aad(envelope, "subject"), fields)}
        value = codec.encode("Event", {"envelope": envelope, "sealed": sealed})
        place = self.side.hub.appender.append("service-engagement", self.participant, value)
        position = {"topic": "service-engagement", "partition": place.partition, "offset": place.offset}
        return {"event": envelope, "position": position}

    def decided(self, event: dict[str, Any], *outcomes: dict[str, Any], ago_ms: int = 0) -> None:
        """A decision about an event, as enforcement would have recorded it."""
        blank = {"subscription": "s", "basis": None, "grants": [], "compartments": [], "obligations": []}
        offsets = [row.offset for row in self.directives()]
        value = event | {
            "id": "x-" + secrets.token_hex(13),
            "cause": "first",
            "at": _now() - ago_ms,
            "consent_offset": max(offsets, default=-1),
            "governance_offset": self.side.hub.register().offset,
            "outcomes": [blank | one for one in outcomes],
        }
        self._project("decisions", "Decision", value)

    def delivered(
        self, event: dict[str, Any], stakeholder: str, *, ago_ms: int = 0, receipt: bool = True
    ) -> None:
        """An attempt, with its receipt or in doubt."""
        key, at = "d-" + secrets.token_hex(16), _now() - ago_ms
        parcel = {
            "key": key,
            "stakeholder": stakeholder,
            "adapter": "webhook",
            "event": event["event"]["id"],
            "participant": self.participant,
            "attempt": 1,
            "at": at,
        }
        share = {"subscription": "s", "purpose": "care-coordination", "basis": "consent"}
        share |= {"grants": [f"{self.consent}/care"], "compartments": ["subject"], "obligations": []}
        offsets = {"consent_offset": 1, "governance_offset": 1, "outbox_partition": 0, "outbox_offset": 1}
        self._project("deliveries", "Delivery", {"intent": parcel | offsets | {"shares": [share]}})
        if receipt:
            ended = {"outcome": "delivered", "code": "http-204", "next_at": None}
            self._project("deliveries", "Delivery", {"receipt": parcel | ended})

    def directive(self, kind: str, sender: str = REACH, **more: Any) -> dict[str, Any]:
        """A directive through the hub's door. Out: the answer."""
        body = {"id": secrets.token_hex(8), "participant": self.participant, "type": kind, **more}
        with self.side.client(sender) as client:
            answer = client.post("/v1/directives", json=body)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    def agree(self, *recipients: str, days: int = 300) -> str:
        """A consent for these recipients. Out: its id."""
        grant = {
            "id": "care",
            "disclosers": ["*"],
            "recipients": list(recipients),
            "purposes": ["care-coordination", "treatment"],
            "categories": ["service", "contact"],
            "labels": [],
            "compartments": ["subject", "occurrence"],
        }
        now = _now()
        sent = self.directive(
            "consent-granted",
            witness={"name": "Ana Ruiz", "organisation": REACH},
            consent={
                "id": "form-" + secrets.token_hex(4),
                "signed_at": instant.format(now - 1_000),
                "signature": {"method": "paper", "reference": "form 1, locker 3"},
                "starts_at": instant.format(now - 1_000),
                "expires_at": instant.format(now + days * DAY),
                "statements": ["right-to-revoke", "redisclosure", "refusal"],
                "grants": [grant],
            },
        )
        self.consent = str(sent["concerns"])
        return self.consent

    def directives(self) -> list[Any]:
        """What the log has of theirs."""
        found = records(self.side.hub.client["bootstrap.servers"], "consent")
        return [_Placed(one) for one in found if one.key().decode() == self.participant]

    def caught_up(self) -> "Person":
        """The store has what the log has, as far as people write it."""
        servers = self.side.hub.client["bootstrap.servers"]
        with self.side.hub.store.write() as connection:
            for topic in ("consent", "identity", "access"):
                project(
                    connection,
                    [
                        read(topic, one.partition(), one.offset(), one.value())
                        for one in records(servers, topic)
                    ],
                )
        return self

    def _project(self, topic: str, kind: str, value: dict[str, Any]) -> None:
        partition = partition_of(self.participant.encode(), 2)
        decoded = codec.decode(codec.encode(kind, value))[1]
        with self.side.hub.store.write() as connection:
            project(connection, [Read(topic, partition, 10**9 + next(_places), kind, decoded)])


class _Placed:
    def __init__(self, message: Any) -> None:
        self.offset = message.offset()
        self.body = json.loads(codec.decode_as("Directive", message.value())["body"])


def person(side: Side) -> Person:
    """Somebody new."""
    local_id = "R-" + secrets.token_hex(4)
    with side.client(REACH) as reach:
        made = reach.post("/v1/participants", json={"local_id": local_id})
    assert made.status_code in (200, 201), made.text
    return Person(side, made.json()["participant"], local_id)


def acts_of(side: Side, kind: str) -> list[dict[str, Any]]:
    """What the log has in `access` of one kind: the records, their bodies read."""
    found = [
        codec.decode_as("Access", one.value())
        for one in records(side.hub.client["bootstrap.servers"], "access")
    ]
    return [one | {"body": json.loads(one["body"])} for one in found if one["kind"] == kind]


def permitted(someone: Person, stakeholder: str) -> dict[str, Any]:
    """An outcome that permits, by the consent of that participant."""
    return {
        "stakeholder": stakeholder,
        "purpose": "care-coordination",
        "effect": "permit",
        "reason": "consent",
        "basis": "consent",
        "grants": [f"{someone.consent}/care"],
        "compartments": ["subject"],
        "obligations": ["record-disclosure"],
    }


def history(side: Side) -> Person:
    """Somebody who agreed, took something back, said never; of whom things were disclosed, one in doubt."""
    someone = person(side)
    someone.agree(REACH, CLINIC)
    first, second = someone.event("Rosa Maldonado"), someone.event("Rosa M. Maldonado")
    someone.decided(first, permitted(someone, REACH), permitted(someone, CLINIC))
    someone.decided(second, permitted(someone, REACH))
    someone.delivered(first, REACH)
    someone.delivered(first, CLINIC, receipt=False)
    someone.delivered(second, REACH)
    someone.directive("consent-revoked", consent_id=someone.consent, recipients=[CLINIC])
    someone.directive(
        "restriction-placed",
        restriction={
            "id": "never-" + secrets.token_hex(4),
            "recipients": ["city-attorney"],
            "purposes": ["*"],
            "categories": ["*"],
            "labels": ["*"],
        },
    )
    return someone.caught_up()


def busy(side: Side) -> None:
    """For pictures: consents that end soon, an emergency, fences that closed."""
    for days in (1, 6, 25):
        person(side).agree(CLINIC, days=days)
    for number, took_ms in enumerate((60, 80, 120, 140, 160, 180, 240, 320, 700, 1_800)):
        back = person(side)
        consent = back.agree(CLINIC)
        sent = back.directive("consent-revoked", consent_id=consent, recipients=[CLINIC])
        told = {"partition": sent["partition"], "consent_offset": sent["offset"], "governance_offset": 1_000}
        told |= {"stakeholders": [CLINIC], "at": _now() + took_ms, "owner": f"tests-{number}"}
        back._project("deliveries", "Delivery", {"acknowledgement": told})
    someone = person(side)
    someone.agree(REACH, CLINIC, HARBOR)
    now = _now()
    emergency = {"id": "em-" + secrets.token_hex(4), "recipient": CLINIC, "declared_by": "Dr. Vu"}
    emergency |= {"nature": "overdose", "declared_at": instant.format(now)}
    emergency |= {"expires_at": instant.format(now + 3_600_000)}
    someone.directive("emergency-declared", sender=CLINIC, emergency=emergency)
    history(side)


def _now() -> int:
    return time.time_ns() // 1_000_000
