"""Consents as FHIR resources at the hub's door: taken in like any directive, given out as they stand."""

import hashlib
import json
from typing import Any, Final

import sqlalchemy as sa

from consent import Policy, fhir, fhir_export
from consent import fhir_codes as codes
from consent.record import Placed, Record
from consent.untyped import NEVER_MS, TREATING
from hub.directives import Sent
from hub.entrance import Sender
from hub.governance import canonical
from hub.parts import Parts
from hub.tables import directives
from schemas import instant
from schemas.errors import HubError, Invalid, Problem, Refused, Unavailable

DIRECTIVES_MAX: Final = 10_000
SEVERITY: Final = "error"
_ISSUES: Final = {
    "required": "required",
    "missing": "required",
    "not-exact": "not-supported",
    "unknown-code": "code-invalid",
    "unknown-actor": "not-found",
    "bad-time": "value",
    "not-fhir": "structure",
    "not-json": "structure",
    "too-deep": "too-costly",
    "too-many": "too-costly",
    "too-many-directives": "too-costly",
    "too-large": "too-long",
    "sender": "forbidden",
    "not-found": "not-found",
    "conflict": "conflict",
}


def outcome(error: HubError) -> dict[str, Any]:
    """An error of ours as an `OperationOutcome`, each problem with the path of its element."""
    problems = error.problems if isinstance(error, Invalid) else (error.problem(),)
    return {"resourceType": "OperationOutcome", "issue": [_issue(one) for one in problems]}


def _issue(problem: Problem) -> dict[str, Any]:
    issue: dict[str, Any] = {
        "severity": SEVERITY,
        "code": _ISSUES.get(problem.code, "processing"),
        "details": {"text": problem.code},
        "diagnostics": problem.detail,
    }
    if problem.path:
        issue["expression"] = [problem.path]
    return issue


def submission(resource: Any, of: Parts) -> dict[str, Any]:
    """A Consent resource as a submission: its directives in order, under ids that a repeat has too.

    Raises `Invalid` for what has no exact counterpart.
    """
    found = fhir.directives(resource, _policy(of))
    patient = (resource.get("patient") or {}).get("identifier") or {}
    participant = patient.get("value") if patient.get("system") == codes.PARTICIPANT else None
    if not participant:
        raise Invalid.one(
            "Consent.patient.identifier",
            "required",
            f"the participant's id, of the system `{codes.PARTICIPANT}`",
        )
    name = "fhir-" + hashlib.sha256(canonical(resource)).hexdigest()[:32]
    witness = _witness(resource)
    for place, directive in enumerate(found):
        directive |= {"id": f"{name}-{place}", "participant": participant}
        if witness and directive["type"] == "consent-granted":
            directive["witness"] = witness
    return {"id": name, "directives": found, "events": []}


def _policy(of: Parts) -> Policy:
    source = of.register().policy
    if source is None:
        raise Unavailable("there is no policy yet")
    return Policy.of(source)


def _witness(resource: dict[str, Any]) -> dict[str, Any] | None:
    for one in resource.get("extension", ()):
        if one.get("url") == codes.WITNESS:
            return {part.get("url"): part.get("valueString") for part in one.get("extension", ())}
    return None


def taken(of: Parts, sender: Sender, resource: Any) -> tuple[Sent, bool]:
    """Writes what a resource says. Out: the consent as it was recorded, and whether that is new."""
    done = of.submissions.submit(sender, submission(resource, of))
    granted = next(one for one in done.directives if one.type == "consent-granted")
    return granted, done.new


def standing(of: Parts, sender: Sender, consent: str) -> dict[str, Any]:
    """A consent as it stands now, as a resource. For whoever sent it, and for privacy officers.

    What was taken back since is gone from it; one taken back whole is `inactive`. Raises `Refused`.
    """
    granted = sa.select(directives.c.participant).where(
        directives.c.concerns == consent, directives.c.type == "consent-granted"
    )
    if not sender.officer:
        granted = granted.where(directives.c.sender == sender.principal)
    with of.store.read() as connection:
        participant = connection.execute(granted.limit(1)).scalar()
        if participant is None:
            raise Refused("no such consent of yours", code="not-found")
        rows = connection.execute(
            sa.select(directives.c.offset, directives.c.id, directives.c.body)
            .where(directives.c.participant == participant)
            .order_by(directives.c.offset)
            .limit(DIRECTIVES_MAX)
        ).all()
    placed = [Placed(row.offset, row.id, json.loads(row.body)) for row in rows]
    return _resource(placed, consent, participant, of)


def _resource(placed: list[Placed], consent: str, participant: str, of: Parts) -> dict[str, Any]:
    held = Record(placed).consents.get(consent)
    bodies = (one.body for one in placed if isinstance(one.body, dict))
    body = next(
        one["consent"]
        for one in bodies
        if one.get("type") == "consent-granted" and one["consent"]["id"] == consent
    )
    if held is None:
        raise Refused("no such consent of yours", code="not-found")
    left = [grant for grant in body["grants"] if grant["id"] not in held.grants]
    made = fhir_export.resource(body | {"grants": left}, (), participant, _policy(of))
    for provision in made["provision"]["provision"]:
        _narrow(provision, held.parties)
    permitted = [one for one in made["provision"].pop("provision") if one["actor"]]
    if permitted:  # FHIR has no empty lists
        made["provision"]["provision"] = permitted
    if held.exited_at != NEVER_MS and held.consent.on_exit:
        made["provision"]["period"]["end"] = instant.format(held.expires_at)
    if held.revoked or not permitted:
        made["status"] = "inactive"
    return made


def _narrow(provision: dict[str, Any], parties: set[str]) -> None:
    """Takes the parties out that a permission was taken back from."""
    gone = {one.removeprefix("class:") if one == TREATING else one for one in parties}
    kept = [one for one in provision["actor"] if one["reference"]["identifier"]["value"] not in gone]
    receiving = [one for one in kept if one["role"]["coding"][0]["code"] == codes.RECIPIENT[1]]
    provision["actor"] = kept if receiving else []
    if any(one["reference"]["identifier"]["system"] == codes.CLASS for one in receiving):
        denied = [fhir_export.recipient(one) for one in sorted(parties - {TREATING})]
        if denied:
            provision.setdefault("provision", []).extend({"type": "deny", "actor": [one]} for one in denied)
