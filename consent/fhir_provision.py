"""Provisions of a FHIR R4 Consent as grants and restrictions: exactly, or refused with the element's path.

A provision is a product of its conditions. What permits becomes scopes with each denial inside it taken out
and each exception from a denial given back; what denies at the top becomes a restriction.
Source: HL7 FHIR R4, Consent, section 6.2.5 (provisions and their exceptions).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from consent import fhir_codes as codes
from consent.policy import Policy
from consent.scope import Inexpressible, Scope, less, scopes_max, within
from consent.untyped import ALL, ALWAYS_MS, NEVER_MS, TREATING
from schemas import instant
from schemas.errors import BadTime, Invalid

ROOT: Final = "Consent.provision"
_ABOUT: Final = frozenset({"type", "provision", "id", "extension"})
_EXPRESSED: Final = frozenset(
    {"period", "actor", "action", "securityLabel", "purpose", "class", "code", "dataPeriod"}
)


def permitted(provision: Mapping[str, Any], outer: Scope, path: str, policy: Policy) -> list[Scope]:
    """The scopes of a provision that permits, what is denied inside it taken out.

    In: `outer`, what surrounds it; `path`, where it stands (FHIRPath). Raises `Invalid` with the path of
    the element where no grants say exactly the same, or more than `scopes_max` would.
    """
    own, label = scope_of(provision, path, policy)
    if label:
        raise Invalid.one(
            f"{path}.securityLabel",
            "not-exact",
            "a grant cannot be for labelled information alone; deny the labels that it leaves out instead",
        )
    try:
        left = [within(outer, own)]
    except Inexpressible as error:
        raise Invalid.one(
            f"{path}.{error}", "not-exact", "it has no exact counterpart inside what surrounds it"
        ) from None
    wide = left[0]
    for what, value in (("actor", wide.recipients), ("purpose", wide.purposes), ("code", wide.categories)):
        if value is None:
            raise Invalid.one(f"{path}.{what}", "required", f"what is permitted needs its `{what}` named")
    for place, child in enumerate(provision.get("provision", ())):
        below = f"{path}.provision[{place}]"
        if child.get("type") != "deny":
            raise Invalid.one(
                f"{below}.type", "not-exact", "inside what is permitted only a denial means something"
            )
        taken, _ = scope_of(child, below, policy)
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
            raise Invalid.one(
                f"{below}.{error}", "not-exact", "no grants say exactly what this leaves"
            ) from None
        if len(left) > scopes_max:
            raise Invalid.one(below, "too-many", f"a consent comes to at most {scopes_max} grants")
    return [scope for scope in left if not scope.empty]


def _given_back(provision: Mapping[str, Any], outer: Scope, path: str, policy: Policy) -> list[Scope]:
    if provision.get("type") != "permit":
        raise Invalid.one(
            f"{path}.type", "not-exact", "inside what is denied only a permission means something"
        )
    if outer.label:
        raise Invalid.one(path, "not-exact", "a grant cannot be for labelled information alone")
    return permitted(provision, outer, path, policy)


def restriction(
    provision: Mapping[str, Any], outer: Scope, path: str, name: str, policy: Policy
) -> dict[str, Any]:
    """A denial at the top as a "never" of the participant's, which holds against every consent.

    Raises `Invalid` with the element's path for a condition or an exception that a restriction cannot have.
    """
    if provision.get("type") != "deny":
        raise Invalid.one(f"{path}.type", "required", "a provision permits or denies")
    if provision.get("provision"):
        raise Invalid.one(f"{path}.provision", "not-exact", "a restriction has no exceptions")
    own, label = scope_of(provision, path, policy)
    if outer != Scope():
        raise Invalid.one(ROOT, "not-exact", "a restriction cannot be narrowed by what surrounds it")
    if own.disclosers is not None:
        raise Invalid.one(f"{path}.actor", "not-exact", "a restriction names recipients, not who discloses")
    if own.compartments is not None:
        raise Invalid.one(f"{path}.class", "not-exact", "a restriction is on all parts of an event")
    if (own.since, own.until) != (ALWAYS_MS, NEVER_MS):
        raise Invalid.one(f"{path}.dataPeriod", "not-exact", "a restriction has no data period")
    return {
        "id": name,
        "recipients": _listed(own.recipients),
        "purposes": _listed(own.purposes),
        "categories": _listed(own.categories),
        "labels": [label] if label else [ALL],
    }


def _listed(names: frozenset[str] | None) -> list[str]:
    return [ALL] if names is None else sorted(names)


def grant(scope: Scope, name: str, policy: Policy) -> dict[str, Any]:
    """A scope as the body of a grant; every dimension stands, and the labels are those not taken out."""
    body: dict[str, Any] = {
        "id": name,
        "disclosers": _listed(scope.disclosers),
        "recipients": _listed(scope.recipients),
        "purposes": _listed(scope.purposes),
        "categories": _listed(scope.categories),
        "labels": sorted(policy.labels - scope.without),
        "compartments": _listed(scope.compartments),
    }
    if scope.since != ALWAYS_MS:
        body["data_from"] = instant.format(scope.since)
    if scope.until != NEVER_MS:
        body["data_until"] = instant.format(scope.until)
    return body


def scope_of(
    provision: Mapping[str, Any], path: str, policy: Policy, *, root: bool = False
) -> tuple[Scope, str | None]:
    """One provision's own conditions, and the label that it asks for. Raises `Invalid` for any other."""
    if root and provision.get("type") is not None:
        raise Invalid.one(f"{path}.type", "not-exact", "the root is the base rule and has no type (FHIR R4)")
    if provision.get("period") is not None and not root:
        raise Invalid.one(
            f"{path}.period", "not-exact", "a grant holds as long as its consent; only the root has a period"
        )
    for key in provision:
        if key not in _ABOUT | _EXPRESSED and not key.startswith("_"):
            raise Invalid.one(f"{path}.{key}", "not-exact", "it has no counterpart here")
    if (actions := provision.get("action")) and not any(codes.DISCLOSE in codings(one) for one in actions):
        raise Invalid.one(f"{path}.action", "not-exact", "the hub discloses and does nothing else")
    labels = [
        _term(
            one, f"{path}.securityLabel[{n}]", codes.LABELS | codes.LABEL_ALIASES, codes.LABEL, policy.labels
        )
        for n, one in enumerate(provision.get("securityLabel", ()))
    ]
    if len(set(labels)) > 1:
        raise Invalid.one(
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
        since=ALWAYS_MS if start is None else instant.parse(time(start, f"{path}.dataPeriod.start")),
        until=NEVER_MS if end is None else instant.parse(time(end, f"{path}.dataPeriod.end")),
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
            raise Invalid.one(f"{path}.code[{place}]", "not-exact", "a category has one coding")
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
    meant = codes.term_of(*_code(coding), table, own, known)
    if meant is None:
        raise Invalid.one(path, "unknown-code", "the code has no exact counterpart here")
    return meant


def _actors(
    actors: Sequence[Mapping[str, Any]], path: str
) -> tuple[frozenset[str] | None, frozenset[str] | None]:
    found: dict[tuple[str, str], set[str]] = {codes.DISCLOSER: set(), codes.RECIPIENT: set()}
    for place, actor in enumerate(actors):
        where = f"{path}.actor[{place}]"
        roles = [one for one in codings(actor.get("role")) if one in found]
        if len(roles) != 1:
            raise Invalid.one(
                f"{where}.role", "unknown-code", "an actor is `IRCP`, who receives, or `CST`, who discloses"
            )
        identifier = (actor.get("reference") or {}).get("identifier") or {}
        system, value = identifier.get("system"), identifier.get("value")
        if system == codes.STAKEHOLDER and value and value != ALL:
            found[roles[0]].add(value)
        elif system == codes.CLASS and roles[0] == codes.RECIPIENT and f"class:{value}" == TREATING:
            found[roles[0]].add(TREATING)
        else:
            raise Invalid.one(
                f"{where}.reference.identifier",
                "unknown-actor",
                "the actor is not a stakeholder's identifier",
            )
    return tuple(frozenset(found[one]) or None for one in (codes.DISCLOSER, codes.RECIPIENT))  # type: ignore[return-value]


def codings(concept: Any) -> Iterator[tuple[Any, Any]]:
    """The systems and codes of a CodeableConcept, None where one is left out; nothing where there is none."""
    for one in (concept or {}).get("coding", ()):
        yield _code(one)


def _code(coding: Mapping[str, Any]) -> tuple[Any, Any]:
    return coding.get("system"), coding.get("code")


def time(value: Any, path: str) -> str:
    """A FHIR dateTime as an instant in UTC. Raises `Invalid` for one without a time of day or an offset."""
    try:
        return instant.format(instant.parse(value))
    except (BadTime, TypeError, AttributeError):
        raise Invalid.one(path, "bad-time", "a time needs its date, time of day and offset") from None
