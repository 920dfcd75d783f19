"""People who sign at the case manager's side, for the tests of it."""

import contextlib
import re
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
from confluent_kafka import Producer

from hub.projections import project, read
from schemas import codec
from tests.webside import REACH, STAKEHOLDERS, Side, records

PIN = "204816"


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


def filled(page: str, **more: Any) -> dict[str, Any]:
    """A form with everything in it that it needs, signed by typing; `more` replaces."""
    fields: dict[str, Any] = {name: hidden(page, name) for name in ("form", "offer", "seen", "signed_at")}
    fields |= {
        "share": ["harbor-house/service", "tideline-clinic/service"],
        "label": ["tideline-clinic/part2"],
        "until": "90",
        "since": "earlier",
        "adult": "yes",
        "name": "Rosa",
        "method": "typed",
        "typed": "Rosa",
        "witness": "yes",
        "act": "sign",
    }
    return {name: value for name, value in (fields | more).items() if value is not None}


class Somebody:
    """A person whom the case manager meets, and what was signed."""

    def __init__(self, side: Side, manager: httpx.Client, **more: Any) -> None:
        self.side, self.manager = side, manager
        self.number = "R-" + secrets.token_hex(5)
        page = manager.get("/cases/people/new/consent").text
        self.fields = filled(page, local_id=self.number, **more)
        answer = manager.post("/cases/people/new/consent", data=self.fields)
        assert answer.status_code == 200, answer.text[:3000]
        self.page = answer.text
        found = re.fullmatch(r"/cases/people/([^/]+)/receipts/(c-[a-z2-7]{26})", answer.url.path)
        assert found, answer.url
        self.handle, self.consent = found[1], found[2]
        participant = side.hub.participants.of(REACH, self.number)
        assert participant is not None
        self.participant = participant

    @property
    def form(self) -> str:
        """The address of their form."""
        return f"/cases/people/{self.handle}/consent"

    def card(self) -> str:
        """A card with the PIN. Out: its code."""
        fields = {"consent": self.consent, "pin": PIN, "again": PIN}
        page = self.manager.post(f"/cases/people/{self.handle}/card", data=fields).text
        found = re.search(r'class="code lead">([A-Z0-9-]+)<', page)
        assert found
        return found[1]

    @contextlib.contextmanager
    def visit(self, code: str, pin: str = PIN) -> Iterator[httpx.Client]:
        """Their own page, open; forms' token is a header."""
        with self.side.client(follow_redirects=True) as client:
            answer = client.post("/me/signin", data={"code": code, "pin": pin})
            assert answer.status_code == 200
            client.headers["x-csrf-token"] = hidden(answer.text, "csrf")
            yield client


def projected(side: Side, participant: str) -> None:
    """What the auditor keeps of somebody's consents, and of what was done with them."""
    found = [
        read(topic, one.partition(), one.offset(), one.value())
        for topic in ("consent", "work", "access")
        for one in records(side.hub.client["bootstrap.servers"], topic)
    ]
    with side.hub.store.write() as connection:
        project(connection, [one for one in found if one.value["participant"] == participant])


def acknowledge(side: Side, fence: str) -> None:
    """Every owner has applied what stands there."""
    partition, offset = (int(one) for one in fence.rsplit("/", 2)[1:])
    told = {"stakeholders": [str(one["id"]) for one in STAKEHOLDERS], "governance_offset": 1_000}
    told |= {"partition": partition, "consent_offset": offset, "at": 1, "owner": "tests"}
    producer = Producer({"bootstrap.servers": side.hub.client["bootstrap.servers"]})
    producer.produce("deliveries", codec.encode("Delivery", {"acknowledgement": told}), b"", partition)
    assert producer.flush(30) == 0
