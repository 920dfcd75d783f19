"""One small world for the tests of the decision point: a consent that covers, and ways to change it."""

from typing import Any

from consent import Decision, Policy, Stakeholders, decide, fold
from tests.cases import POLICY, STAKEHOLDERS

Json = dict[str, Any]

AT = "2026-06-01T12:00:00.000Z"
POLICIES = Policy.of(POLICY)
REGISTERED = Stakeholders.of(STAKEHOLDERS)


def grant(**changes: Any) -> Json:
    """A grant that covers `event()` for `harbor-house` and care coordination."""
    usual: Json = {
        "id": "g1",
        "disclosers": ["reach"],
        "recipients": ["harbor-house"],
        "purposes": ["care-coordination"],
        "categories": ["service"],
        "labels": [],
        "compartments": ["subject", "activity"],
        "data_from": None,
        "data_until": None,
    }
    return usual | changes


def consent(*grants: Json, **changes: Any) -> Json:
    """A valid consent that holds at `AT`."""
    usual: Json = {
        "id": "c1",
        "signed_at": "2026-01-01T00:00:00Z",
        "signature": {"method": "paper", "reference": "scan-1"},
        "starts_at": "2026-01-01T00:00:00Z",
        "expires_at": "2027-01-01T00:00:00Z",
        "statements": ["right-to-revoke", "redisclosure", "refusal"],
        "grants": list(grants) or [grant()],
    }
    return usual | changes


def granted(*grants: Json, **changes: Any) -> Json:
    return {"type": "consent-granted", "consent": consent(*grants, **changes)}


def revoked(consent_id: Any = "c1", **more: Any) -> Json:
    return {"type": "consent-revoked", "consent_id": consent_id, **more}


def restriction(**changes: Any) -> Json:
    usual: Json = {"id": "r1", "recipients": ["*"], "purposes": ["*"], "categories": ["*"], "labels": ["*"]}
    return {"type": "restriction-placed", "restriction": usual | changes}


def order(**changes: Any) -> Json:
    usual: Json = {
        "id": "o1",
        "recipient": "attorney",
        "categories": ["service"],
        "starts_at": "2026-01-01T00:00:00Z",
        "expires_at": "2027-01-01T00:00:00Z",
        "subpoena": True,
    }
    return {"type": "order-filed", "order": usual | changes}


def emergency(**changes: Any) -> Json:
    usual: Json = {
        "id": "e1",
        "recipient": "clinic",
        "declared_by": "dr-1",
        "nature": "overdose",
        "declared_at": "2026-06-01T00:00:00Z",
        "expires_at": "2026-06-02T00:00:00Z",
    }
    return {"type": "emergency-declared", "emergency": usual | changes}


def event(**changes: Any) -> Json:
    usual: Json = {
        "id": "evt-1",
        "participant": "p-1",
        "type": "service-engagement",
        "category": "service.housing",
        "labels": [],
        "discloser": "reach",
        "occurred_at": "2026-05-01T00:00:00Z",
        "compartments": ["subject", "occurrence", "activity", "clinical", "narrative"],
    }
    return usual | changes


def ask(
    *directives: Any,
    event: Any = None,
    recipient: Any = "harbor-house",
    purpose: Any = "care-coordination",
    at: Any = AT,
    policy: Policy = POLICIES,
    stakeholders: Stakeholders = REGISTERED,
    **changes: Any,
) -> Decision:
    """Decide about the usual event (with `changes`) after these directives."""
    about = globals()["event"](**changes) if event is None else event
    return decide(about, recipient, purpose, at, fold(directives), policy, stakeholders)


def reason(*directives: Any, **asked: Any) -> str:
    return ask(*directives, **asked).reason
