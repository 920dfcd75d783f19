"""FHIR R4 Consent resources as directives. What can't be said exactly is refused with the element's path.

A consent whose base is to share nothing (`OPTOUT`) becomes one of ours: each provision that permits becomes
grants, with what is denied inside it taken out exactly; each that denies at the top becomes a restriction. So
an import never shares more than its source says. R4 and R4B define Consent alike (R4B changed other
resources), so R4B's model checks both. Source: HL7 FHIR R4, Consent, sections 6.2.4 to 6.2.6.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fhir.resources.R4B.consent import Consent as Resource
from pydantic import ValidationError

from consent import fhir_codes as codes
from consent.policy import Policy
from consent.scope import Inexpressible, Scope, less, scopes_max, within
from consent.terms import STATEMENTS
from consent.untyped import ALL, ALWAYS_MS, NEVER_MS, TREATING
from schemas import instant, strict
from schemas.errors import BadTime, Invalid, Problem

body_bytes_max: Final = 1024 * 1024
provisions_max: Final = 500
provision_depth_max: Final = 8
json_depth_max: Final = 64
ROOT: Final = "Consent.provision"
_ABOUT: Final = frozenset({"type", "provision", "id", "extension"})
_EXPRESSED: Final = frozenset(
    {"period", "actor", "action", "securityLabel", "purpose", "class", "code", "dataPeriod"}
)


def _no(path: str, code: str, detail: str) -> Invalid:
    return Invalid.one(path, code, detail)


def parse(body: bytes, policy: Policy, consent_id: str | None = None) -> list[dict[str, Any]]:
    """A Consent resource in JSON as directive bodies: any `restriction-placed`, then one `consent-granted`.

    In that order, so that at no moment more is shared than the resource says. `consent_id` replaces the
    resource's own identifier. Raises `Invalid`, its path a FHIRPath, for anything that is not a Consent or
    has no exact counterpart.
    """
    if len(body) > body_bytes_max:
        raise _no("Consent", "too-large", f"a resource is at most {body_bytes_max} bytes")
    if _depth(body) > json_depth_max:
        raise _no(ROOT, "too-deep", f"provisions stand at most {provision_depth_max} deep")
    resource = strict.load(body)
    strict.check(resource, "")
    return directives(resource, policy, consent_id)


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
        raise _no("Consent.resourceType", "not-a-consent", "expected a resource of type `Consent`")
    root = resource.get("provision")
    if not isinstance(root, dict):
        raise _no(ROOT, "required", "a consent to share needs provisions")
    _bounded(root)
    try:
        Resource.model_validate(resource)
    except ValidationError as error:
        steps = error.errors()[0]["loc"]
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        raise _no(f"Consent{where}", "not-fhir", "the element is not what FHIR R4 says it is") from None
    _plain(resource)
    body = _head(resource, root, consent_id)
    name = body["id"]
    outer, _ = _scope(root, ROOT, policy, root=True)
    granted: list[Scope] = []
    restrictions: list[dict[str, Any]] = []
    for place, child in enumerate(root.get("provision", ())):
        path = f"{ROOT}.provision[{place}]"
        if child.get("type") == "permit":
            granted += _permitted(child, outer, path, policy)
        else:
            restrictions.append(_restriction(child, outer, path, f"{name}.{place}", policy))
        if len(granted) > scopes_max:
            raise _no(path, "too-many", f"a consent comes to at most {scopes_max} grants")
    if not granted:
        raise _no(ROOT, "nothing-permitted", "no provision permits anything, so there is nothing to sign")
    body["grants"] = [_grant(one, f"g{place}", policy) for place, one in enumerate(granted, 1)]
    return [
        *({"type": "restriction-placed", "restriction": one} for one in restrictions),
        {"type": "consent-granted", "consent": body},
    ]


def _bounded(root: Mapping[str, Any]) -> None:
    """Bounds what a hostile resource may cost before anything else looks at it."""
    waiting: list[tuple[Any, int, str]] = [(root, 0, ROOT)]
    count = 0
    while waiting:
        provision, depth, path = waiting.pop()
        count += 1
        if depth > provision_depth_max:
            raise _no(path, "too-deep", f"provisions stand at most {provision_depth_max} deep")
        if count > provisions_max:
            raise _no(path, "too-many", f"a resource has at most {provisions_max} provisions")
        nested = provision.get("provision", []) if isinstance(provision, dict) else []
        if isinstance(nested, list):
            waiting += [(one, depth + 1, f"{path}.provision[{n}]") for n, one in enumerate(nested)]


def _plain(resource: Mapping[str, Any]) -> None:
    """Refuses what could change the meaning of everything else."""
    if resource.get("status") != "active":
        raise _no("Consent.status", "not-active", "only an active consent permits anything")
    if resource.get("implicitRules") is not None:
        raise _no("Consent.implicitRules", "not-exact", "rules that stand elsewhere are not known here")
    if codes.PRIVACY not in set(_codings(resource.get("scope"))):
        raise _no("Consent.scope", "not-exact", "the scope has to be `patient-privacy`")
    base = set(_codings(resource.get("policyRule")))
    if not base or not base <= codes.BASES:
        raise _no(
            "Consent.policyRule", "not-exact", "the base has to be `OPTOUT`: nothing but what is permitted"
        )
    waiting: list[tuple[str, Any]] = [("Consent", resource)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            if value.get("modifierExtension"):
                raise _no(f"{path}.modifierExtension", "not-exact", "an unknown modifier changes the meaning")
            waiting += [(f"{path}.{key}", one) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}[{n}]", one) for n, one in enumerate(value)]


def _head(resource: Mapping[str, Any], root: Mapping[str, Any], consent_id: str | None) -> dict[str, Any]:
    identifiers = [one.get("value") for one in resource.get("identifier", ()) if one.get("value")]
    name = consent_id or (identifiers[0] if identifiers else resource.get("id"))
    if name is None:
        raise _no("Consent.identifier", "required", "a consent needs an identifier of its own")
    signed = resource.get("dateTime")
    if signed is None:
        raise _no("Consent.dateTime", "required", "when it was signed has to be said")
    stated = {one.get("uri", "").removeprefix(codes.STATEMENT) for one in resource.get("policy", ())}
    if missing := sorted(STATEMENTS - stated):
        raise Invalid(
            Problem("Consent.policy", "required", f"no policy has the uri `{codes.STATEMENT}{one}`")
            for one in missing
        )
    period = root.get("period", {})
    if period.get("start") is None:
        raise _no(f"{ROOT}.period.start", "required", "when it starts has to be said")
    body: dict[str, Any] = {
        "id": name,
        "signed_at": _time(signed, "Consent.dateTime"),
        "signature": _signature(resource),
        "starts_at": _time(period["start"], f"{ROOT}.period.start"),
        "statements": sorted(STATEMENTS),
    }
    if period.get("end") is not None:
        body["expires_at"] = _time(period["end"], f"{ROOT}.period.end")
    if ends := [one for one in resource.get("extension", ()) if one.get("url") == codes.EXPIRES_ON]:
        body["expires_on"] = ends[0].get("valueCode")
        if body["expires_on"] not in ("program-exit", "none"):
            raise _no(
                "Consent.extension", "unknown-code", "it ends on `program-exit`, or `none` for treatment"
            )
    if "expires_at" not in body and "expires_on" not in body:
        raise _no(f"{ROOT}.period.end", "required", "a consent needs an end")
    return body


def _signature(resource: Mapping[str, Any]) -> dict[str, str]:
    for one in resource.get("extension", ()):
        if one.get("url") == codes.SIGNATURE:
            parts = {part.get("url"): part.get("valueString") for part in one.get("extension", ())}
            if parts.get("method") and parts.get("reference"):
                return {"method": parts["method"], "reference": parts["reference"]}
            raise _no("Consent.extension", "required", "a signature has a `method` and a `reference`")
    source = resource.get("sourceReference") or {}
    if source.get("reference"):
        return {"method": "document", "reference": source["reference"]}
    raise _no("Consent.source", "required", "the signed form has to be named")


def _permitted(provision: Mapping[str, Any], outer: Scope, path: str, policy: Policy) -> list[Scope]:
    """The scopes of a provision that permits, what is denied inside it taken out."""
    own, label = _scope(provision, path, policy)
    if label:
        raise _no(
            f"{path}.securityLabel",
            "not-exact",
            "a grant cannot be for labelled information alone; deny the labels that it leaves out instead",
        )
    try:
        left = [within(outer, own)]
    except Inexpressible as error:
        raise _no(
            f"{path}.{error}", "not-exact", "it has no exact counterpart inside what surrounds it"
        ) from None
    wide = left[0]
    for what, value in (("actor", wide.recipients), ("purpose", wide.purposes), ("code", wide.categories)):
        if value is None:
            raise _no(f"{path}.{what}", "required", f"what is permitted needs its `{what}` named")
    for place, child in enumerate(provision.get("provision", ())):
        below = f"{path}.provision[{place}]"
        if child.get("type") != "deny":
            raise _no(f"{below}.type", "not-exact", "inside what is permitted only a denial means something")
        taken, _ = _scope(child, below, policy)
        try:
            returned = [
                scope
                for back, inner in enumerate(child.get("provision", ()))
                for scope in _given_back(
                    inner, within(within(outer, own), taken), f"{below}.provision[{back}]", policy
                )
            ]
            left = [
                *(piece for scope in left for piece in less(scope, taken, policy)),
                *(both for scope in left for one in returned if not (both := within(scope, one)).empty),
            ]
        except Inexpressible as error:
            raise _no(f"{below}.{error}", "not-exact", "no grants say exactly what this leaves") from None
        if len(left) > scopes_max:
            raise _no(below, "too-many", f"a consent comes to at most {scopes_max} grants")
    return [scope for scope in left if not scope.empty]


def _given_back(provision: Mapping[str, Any], outer: Scope, path: str, policy: Policy) -> list[Scope]:
    if provision.get("type") != "permit":
        raise _no(f"{path}.type", "not-exact", "inside what is denied only a permission means something")
    if outer.label:
        raise _no(path, "not-exact", "a grant cannot be for labelled information alone")
    return _permitted(provision, outer, path, policy)


def _restriction(
    provision: Mapping[str, Any], outer: Scope, path: str, name: str, policy: Policy
) -> dict[str, Any]:
    """A denial at the top as a "never" of the participant's, which holds against every consent."""
    if provision.get("type") != "deny":
        raise _no(f"{path}.type", "required", "a provision permits or denies")
    if provision.get("provision"):
        raise _no(f"{path}.provision", "not-exact", "a restriction has no exceptions")
    own, label = _scope(provision, path, policy)
    if outer != Scope():
        raise _no(ROOT, "not-exact", "a restriction cannot be narrowed by what surrounds it")
    if own.disclosers is not None:
        raise _no(f"{path}.actor", "not-exact", "a restriction names recipients, not who discloses")
    if own.compartments is not None:
        raise _no(f"{path}.class", "not-exact", "a restriction is on all parts of an event")
    if (own.since, own.until) != (ALWAYS_MS, NEVER_MS):
        raise _no(f"{path}.dataPeriod", "not-exact", "a restriction has no data period")
    return {
        "id": name,
        "recipients": _listed(own.recipients),
        "purposes": _listed(own.purposes),
        "categories": _listed(own.categories),
        "labels": [label] if label else [ALL],
    }


def _listed(names: frozenset[str] | None) -> list[str]:
    return [ALL] if names is None else sorted(names)


def _grant(scope: Scope, name: str, policy: Policy) -> dict[str, Any]:
    grant: dict[str, Any] = {
        "id": name,
        "disclosers": _listed(scope.disclosers),
        "recipients": _listed(scope.recipients),
        "purposes": _listed(scope.purposes),
        "categories": _listed(scope.categories),
        "labels": sorted(policy.labels - scope.without),
        "compartments": _listed(scope.compartments),
    }
    if scope.since != ALWAYS_MS:
        grant["data_from"] = instant.format(scope.since)
    if scope.until != NEVER_MS:
        grant["data_until"] = instant.format(scope.until)
    return grant


def _scope(
    provision: Mapping[str, Any], path: str, policy: Policy, *, root: bool = False
) -> tuple[Scope, str | None]:
    """One provision's own conditions, and the label that it asks for."""
    if root and provision.get("type") is not None:
        raise _no(f"{path}.type", "not-exact", "the root is the base rule and has no type (FHIR R4)")
    if provision.get("period") is not None and not root:
        raise _no(
            f"{path}.period", "not-exact", "a grant holds as long as its consent; only the root has a period"
        )
    for key in provision:
        if key not in _ABOUT | _EXPRESSED and not key.startswith("_"):
            raise _no(f"{path}.{key}", "not-exact", "it has no counterpart here")
    if (actions := provision.get("action")) and not any(codes.DISCLOSE in _codings(one) for one in actions):
        raise _no(f"{path}.action", "not-exact", "the hub discloses and does nothing else")
    labels = [
        _term(
            one, f"{path}.securityLabel[{n}]", codes.LABELS | codes.LABEL_ALIASES, codes.LABEL, policy.labels
        )
        for n, one in enumerate(provision.get("securityLabel", ()))
    ]
    if len(set(labels)) > 1:
        raise _no(
            f"{path}.securityLabel", "not-exact", "several labels mean information that carries them all"
        )
    label = labels[0] if labels else None
    disclosers, recipients = _actors(provision.get("actor", ()), path)
    period = provision.get("dataPeriod", {})
    start, end = period.get("start"), period.get("end")
    scope = Scope(
        disclosers=disclosers,
        recipients=recipients,
        purposes=_terms(provision, "purpose", path, codes.PURPOSES, codes.PURPOSE, policy.purposes),
        categories=_concepts(provision, path, policy),
        compartments=_terms(provision, "class", path, {}, codes.COMPARTMENT, frozenset(policy.bits)),
        label=label,
        since=ALWAYS_MS if start is None else instant.parse(_time(start, f"{path}.dataPeriod.start")),
        until=NEVER_MS if end is None else instant.parse(_time(end, f"{path}.dataPeriod.end")),
    )
    return scope, label


def _terms(
    provision: Mapping[str, Any],
    key: str,
    path: str,
    table: dict[tuple[str, str], str],
    own: str,
    known: frozenset[str],
) -> frozenset[str] | None:
    values = provision.get(key)
    if not values:
        return None
    return frozenset(_term(one, f"{path}.{key}[{n}]", table, own, known) for n, one in enumerate(values))


def _concepts(provision: Mapping[str, Any], path: str, policy: Policy) -> frozenset[str] | None:
    values = provision.get("code")
    if not values:
        return None
    known = frozenset(one for lineage in policy.lineages.values() for one in lineage)
    found = set()
    for place, concept in enumerate(values):
        codings = concept.get("coding", [])
        if len(codings) != 1:
            raise _no(f"{path}.code[{place}]", "not-exact", "a category has one coding")
        where = f"{path}.code[{place}].coding[0]"
        found.add(_term(codings[0], where, {}, codes.CATEGORY, known))
    return frozenset(found)


def _term(
    coding: Mapping[str, Any],
    path: str,
    table: dict[tuple[str, str], str],
    own: str,
    known: frozenset[str],
) -> str:
    meant = codes.term_of(coding.get("system", ""), coding.get("code", ""), table, own, known)
    if meant is None:
        raise _no(path, "unknown-code", "the code has no exact counterpart here")
    return meant


def _actors(
    actors: Sequence[Mapping[str, Any]], path: str
) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    found: dict[tuple[str, str], set[str]] = {codes.DISCLOSER: set(), codes.RECIPIENT: set()}
    for place, actor in enumerate(actors):
        where = f"{path}.actor[{place}]"
        roles = [one for one in _codings(actor.get("role")) if one in found]
        if len(roles) != 1:
            raise _no(
                f"{where}.role", "unknown-code", "an actor is `IRCP`, who receives, or `CST`, who discloses"
            )
        identifier = (actor.get("reference") or {}).get("identifier") or {}
        system, value = identifier.get("system"), identifier.get("value")
        if system == codes.STAKEHOLDER and value and value != ALL:
            found[roles[0]].add(value)
        elif system == codes.CLASS and roles[0] == codes.RECIPIENT and f"class:{value}" == TREATING:
            found[roles[0]].add(TREATING)
        else:
            raise _no(
                f"{where}.reference.identifier",
                "unknown-actor",
                "the actor is not a stakeholder's identifier",
            )
    return tuple(frozenset(found[one]) or None for one in (codes.DISCLOSER, codes.RECIPIENT))  # type: ignore[return-value]


def _codings(concept: Any) -> Iterator[tuple[str, str]]:
    for one in (concept or {}).get("coding", ()):
        yield one.get("system", ""), one.get("code", "")


def _time(value: Any, path: str) -> str:
    try:
        return instant.format(instant.parse(value))
    except (BadTime, TypeError, AttributeError):
        raise _no(path, "bad-time", "a time needs its date, time of day and offset") from None
