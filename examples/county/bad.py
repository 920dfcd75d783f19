"""What agencies get wrong, on purpose: each is refused with its reason, and the next one goes through."""

from __future__ import annotations

from typing import Any

from examples.county.calendar import HOUR_MS, rfc3339
from examples.county.people import Person


def good(person: Person, anchor: int, source: str, identity: str) -> dict[str, Any]:
    """An outreach contact with nothing wrong in it, as a CloudEvent."""
    moment = rfc3339(anchor - 3 * HOUR_MS)
    return {
        "specversion": "1.0",
        "id": identity,
        "source": f"urn:agency:{source}",
        "type": "contact",
        "category": "contact.outreach",
        "subject": person.locals[source],
        "time": moment,
        "datacontenttype": "application/json",
        "data": {"local_id": person.locals[source], "occurred_at": moment, "mode": "phone"},
    }


def _service(event: dict[str, Any], **fields: str) -> dict[str, Any]:
    data = {"local_id": event["subject"], "occurred_at": event["time"], **fields}
    return {**event, "type": "service-engagement", "category": "service.housing", "data": data}


def refused(person: Person, anchor: int) -> dict[str, dict[str, Any]]:
    """By what is wrong with it: an event that must be refused when it is sent."""
    source = "reach"

    def event(name: str) -> dict[str, Any]:
        return good(person, anchor, source, f"bad-{person.key}-{name}")

    return {
        "a category that nobody agreed on": {**event("category"), "category": "contact.rumour"},
        "a category of another type": {**event("type"), "category": "court.hearing"},
        "a failure": _service(event("failure"), step="no-show"),
        "a phase that blames": _service(event("phase"), phase="non-compliant"),
        "a time without an offset": {**event("time"), "time": "2026-11-02T09:00:00"},
        "a label that nobody knows": {**event("label"), "labels": "gossip"},
        "somebody else's name": {**event("source"), "source": "urn:agency:tideline-clinic"},
        "nobody it is about": {**event("nobody"), "subject": "", "data": {"mode": "phone"}},
        "a field beyond all bounds": {
            **event("long"),
            "data": {**event("long")["data"], "staff": "x" * 100_000},
        },
    }


def strangers(anchor: int, count: int) -> list[dict[str, Any]]:
    """Events about people whom the hub never learns of: accepted, parked, and never told to anybody."""
    nobody = Person(0, "", "", "", {"harbor-house": ""}, frozenset())
    told = []
    for number in range(count):
        event = good(nobody, anchor, "harbor-house", f"stranger-{number}")
        local = f"HMIS-{number:09d}"
        event |= {"subject": local, "data": {**event["data"], "local_id": local}}
        told.append(event)
    return told


def conflicting(sent: dict[str, Any]) -> dict[str, Any]:
    """The same source and id with something else in it: set aside, not delivered."""
    return {**sent, "data": {**sent["data"], "narrative": "Something else under the same number."}}
