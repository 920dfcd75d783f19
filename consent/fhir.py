"""FHIR R4 Consent resources as directives. What can't be said exactly is refused with the element's path.

A consent whose base is to share nothing (`OPTOUT`) becomes one of ours: each provision that permits becomes
grants, with what is denied inside it taken out exactly; each that denies at the top becomes a restriction. So
an import never shares more than its source says. R4 and R4B define Consent alike (R4B changed other
resources), so R4B's model checks both. Source: HL7 FHIR R4, Consent, sections 6.2.4 to 6.2.6.
"""

from collections.abc import Mapping
from typing import Any, Final

from fhir.resources.R4B.consent import Consent as Resource
from pydantic import ValidationError

from consent import fhir_codes as codes
from consent.fhir_provision import ROOT, codings, grant, permitted, restriction, scope_of, time
from consent.policy import Policy
from consent.scope import Scope, scopes_max
from consent.terms import STATEMENTS
from schemas import strict
from schemas.errors import Invalid, Problem

body_bytes_max: Final = 1024 * 1024
provisions_max: Final = 500
provision_depth_max: Final = 8
json_depth_max: Final = 64


def parse(body: bytes, policy: Policy, consent_id: str | None = None) -> list[dict[str, Any]]:
    """A Consent resource in JSON as directive bodies: any `restriction-placed`, then one `consent-granted`.

    In that order, so that at no moment more is shared than the resource says. `consent_id` replaces the
    resource's own identifier. Raises `Invalid`, its path a FHIRPath, for anything that is not a Consent or
    has no exact counterpart.
    """
    if len(body) > body_bytes_max:
        raise Invalid.one("Consent", "too-large", f"a resource is at most {body_bytes_max} bytes")
    if _depth(body) > json_depth_max:
        raise Invalid.one(ROOT, "too-deep", f"provisions stand at most {provision_depth_max} deep")
    try:
        resource = strict.load(body)
        strict.check(resource)
    except Invalid as error:
        raise Invalid(one._replace(path=_fhirpath(one.path)) for one in error.problems) from None
    return directives(resource, policy, consent_id)


def _fhirpath(pointer: str) -> str:
    """A JSON Pointer into a resource as a FHIRPath, as far as it names what it passes."""
    path = "Consent"
    for step in pointer.split("/")[1:]:
        if step == "*":
            break
        path += f"[{step}]" if step.isdigit() else f".{step}"
    return path


def _depth(body: bytes) -> int:
    """How deep the JSON is nested, told without a recursion that hostile input could exhaust."""
    depth = deepest = 0
    inside = escaped = False
    for byte in body:
        if inside:
            inside = escaped or byte != 0x22
            escaped = byte == 0x5C and not escaped
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def directives(resource: Any, policy: Policy, consent_id: str | None = None) -> list[dict[str, Any]]:
    """As `parse`, from the resource as plain JSON values."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "Consent":
        raise Invalid.one("Consent.resourceType", "not-a-consent", "expected a resource of type `Consent`")
    _said(resource)
    root = resource.get("provision")
    if not isinstance(root, dict):
        raise Invalid.one(ROOT, "required", "a consent to share needs provisions")
    _bounded(root)
    try:
        Resource.model_validate(resource)
    except ValidationError as error:
        steps = error.errors()[0]["loc"]
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        raise Invalid.one(
            f"Consent{where}", "not-fhir", "the element is not what FHIR R4 says it is"
        ) from None
    _plain(resource)
    body = _head(resource, root, consent_id)
    name = body["id"]
    outer, _ = scope_of(root, ROOT, policy, root=True)
    granted: list[Scope] = []
    restrictions: list[dict[str, Any]] = []
    for place, child in enumerate(root.get("provision", ())):
        path = f"{ROOT}.provision[{place}]"
        if child.get("type") == "permit":
            granted += permitted(child, outer, path, policy)
        else:
            restrictions.append(restriction(child, outer, path, f"{name}.{place}", policy))
        if len(granted) > scopes_max:
            raise Invalid.one(path, "too-many", f"a consent comes to at most {scopes_max} grants")
    if not granted:
        raise Invalid.one(
            ROOT, "nothing-permitted", "no provision permits anything, so there is nothing to sign"
        )
    body["grants"] = [grant(one, f"g{place}", policy) for place, one in enumerate(granted, 1)]
    return [
        *({"type": "restriction-placed", "restriction": one} for one in restrictions),
        {"type": "consent-granted", "consent": body},
    ]


def _said(resource: Mapping[str, Any]) -> None:
    """Refuses what is there and says nothing: FHIR has no null in JSON. And what is nested without an end."""
    waiting: list[tuple[Any, str, int]] = [(resource, "Consent", 1)]
    while waiting:
        element, path, depth = waiting.pop()
        if element is None:
            raise Invalid.one(path, "null", "an element without a value is left out")
        if depth > json_depth_max:
            raise Invalid.one(ROOT, "too-deep", f"provisions stand at most {provision_depth_max} deep")
        if isinstance(element, dict):
            waiting += [(value, f"{path}.{name}", depth + 1) for name, value in element.items()]
        elif isinstance(element, list):
            waiting += [(value, f"{path}[{place}]", depth + 1) for place, value in enumerate(element)]


def _bounded(root: Mapping[str, Any]) -> None:
    """Bounds what a hostile resource may cost before anything else looks at it."""
    waiting: list[tuple[Any, int, str]] = [(root, 0, ROOT)]
    count = 0
    while waiting:
        provision, depth, path = waiting.pop()
        count += 1
        if depth > provision_depth_max:
            raise Invalid.one(path, "too-deep", f"provisions stand at most {provision_depth_max} deep")
        if count > provisions_max:
            raise Invalid.one(path, "too-many", f"a resource has at most {provisions_max} provisions")
        nested = provision.get("provision") if isinstance(provision, dict) else None
        if isinstance(nested, list):
            waiting += [(one, depth + 1, f"{path}.provision[{n}]") for n, one in enumerate(nested)]


def _plain(resource: Mapping[str, Any]) -> None:
    """Refuses what could change the meaning of everything else."""
    if resource.get("status") != "active":
        raise Invalid.one("Consent.status", "not-active", "only an active consent permits anything")
    if resource.get("implicitRules") is not None:
        raise Invalid.one(
            "Consent.implicitRules", "not-exact", "rules that stand elsewhere are not known here"
        )
    if codes.PRIVACY not in set(codings(resource.get("scope"))):
        raise Invalid.one("Consent.scope", "not-exact", "the scope has to be `patient-privacy`")
    base = set(codings(resource.get("policyRule")))
    if not base or not base <= codes.BASES:
        raise Invalid.one(
            "Consent.policyRule", "not-exact", "the base has to be `OPTOUT`: nothing but what is permitted"
        )
    waiting: list[tuple[str, Any]] = [("Consent", resource)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            if value.get("modifierExtension"):
                raise Invalid.one(
                    f"{path}.modifierExtension", "not-exact", "an unknown modifier changes the meaning"
                )
            waiting += [(f"{path}.{key}", one) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{n}]", one) for n, one in enumerate(value)]


def _head(resource: Mapping[str, Any], root: Mapping[str, Any], consent_id: str | None) -> dict[str, Any]:
    identifiers = [one.get("value") for one in resource.get("identifier", ()) if one.get("value")]
    name = consent_id or (identifiers[0] if identifiers else resource.get("id"))
    if name is None:
        raise Invalid.one("Consent.identifier", "required", "a consent needs an identifier of its own")
    signed = resource.get("dateTime")
    if signed is None:
        raise Invalid.one("Consent.dateTime", "required", "when it was signed has to be said")
    stated = {one.get("uri", "").removeprefix(codes.STATEMENT) for one in resource.get("policy", ())}
    if missing := sorted(STATEMENTS - stated):
        raise Invalid(
            Problem("Consent.policy", "required", f"no policy has the uri `{codes.STATEMENT}{one}`")
            for one in missing
        )
    period = root.get("period", {})
    if period.get("start") is None:
        raise Invalid.one(f"{ROOT}.period.start", "required", "when it starts has to be said")
    body: dict[str, Any] = {
        "id": name,
        "signed_at": time(signed, "Consent.dateTime"),
        "signature": _signature(resource),
        "starts_at": time(period["start"], f"{ROOT}.period.start"),
        "statements": sorted(STATEMENTS),
    }
    if period.get("end") is not None:
        body["expires_at"] = time(period["end"], f"{ROOT}.period.end")
    if ends := [one for one in resource.get("extension", ()) if one.get("url") == codes.EXPIRES_ON]:
        body["expires_on"] = ends[0].get("valueCode")
        if body["expires_on"] not in ("program-exit", "none"):
            raise Invalid.one(
                "Consent.extension", "unknown-code", "it ends on `program-exit`, or `none` for treatment"
            )
    if "expires_at" not in body and "expires_on" not in body:
        raise Invalid.one(f"{ROOT}.period.end", "required", "a consent needs an end")
    return body


def _signature(resource: Mapping[str, Any]) -> dict[str, str]:
    for one in resource.get("extension", ()):
        if one.get("url") == codes.SIGNATURE:
            parts = {part.get("url"): part.get("valueString") for part in one.get("extension", ())}
            if parts.get("method") and parts.get("reference"):
                return {"method": parts["method"], "reference": parts["reference"]}
            raise Invalid.one("Consent.extension", "required", "a signature has a `method` and a `reference`")
    source = resource.get("sourceReference") or {}
    if source.get("reference"):
        return {"method": "document", "reference": source["reference"]}
    raise Invalid.one("Consent.source", "required", "the signed form has to be named")
