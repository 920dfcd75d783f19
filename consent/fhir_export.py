"""Our consents as FHIR R4 Consent resources, such that reading one back gives the same grants.

A grant's labels are what it leaves out, as denials inside the permission: FHIR reads several labels of one
provision as information that carries them all, a grant as information that carries none but these.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from consent import fhir_codes as codes
from consent.policy import Policy
from consent.untyped import ALL, TREATING


def resource(
    consent: Mapping[str, Any], restrictions: Sequence[Mapping[str, Any]], participant: str, policy: Policy
) -> dict[str, Any]:
    """A Consent resource (R4, JSON values) of a valid consent's body and the restrictions that go with it.

    In: bodies as directives carry them; the participant's id in the hub.
    """
    period = {"start": consent["starts_at"]}
    if consent.get("expires_at"):
        period["end"] = consent["expires_at"]
    extension: list[dict[str, Any]] = [
        {
            "url": codes.SIGNATURE,
            "extension": [
                {"url": part, "valueString": consent["signature"][part]} for part in ("method", "reference")
            ],
        }
    ]
    if consent.get("expires_on"):
        extension.append({"url": codes.EXPIRES_ON, "valueCode": consent["expires_on"]})
    return {
        "resourceType": "Consent",
        "extension": extension,
        "identifier": [{"system": codes.CONSENT, "value": consent["id"]}],
        "status": "active",
        "scope": _concept(codes.PRIVACY),
        "category": [_concept(codes.CONSENT_DOCUMENT)],
        "patient": {"identifier": {"system": codes.PARTICIPANT, "value": participant}},
        "dateTime": consent["signed_at"],
        "policy": [{"uri": codes.STATEMENT + one} for one in sorted(consent["statements"])],
        "policyRule": _concept((codes.ACT_CODE, "OPTOUT")),
        "provision": {
            "period": period,
            "provision": [
                *(_permit(grant, policy) for grant in consent["grants"]),
                *(deny for one in restrictions for deny in _denials(one)),
            ],
        },
    }


def _permit(grant: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    provision: dict[str, Any] = {"type": "permit", "actor": _recipients(grant["recipients"])}
    if ALL not in grant["disclosers"]:
        provision["actor"] += [_actor(codes.DISCLOSER, one) for one in grant["disclosers"]]
    provision["purpose"] = [_purpose(one) for one in grant["purposes"]]
    if ALL not in grant["compartments"]:
        provision["class"] = [_coding((codes.COMPARTMENT, one)) for one in grant["compartments"]]
    provision["code"] = [_concept((codes.CATEGORY, one)) for one in grant["categories"]]
    period = {
        key: grant[ours] for key, ours in (("start", "data_from"), ("end", "data_until")) if grant.get(ours)
    }
    if period:
        provision["dataPeriod"] = period
    if left_out := sorted(policy.labels - set(grant["labels"])):
        provision["provision"] = [{"type": "deny", "securityLabel": [_label(one)]} for one in left_out]
    return provision


def _denials(restriction: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One denial for each label that the restriction names: it speaks of any of them, a provision of all."""
    base: dict[str, Any] = {"type": "deny"}
    if ALL not in restriction["recipients"]:
        base["actor"] = _recipients(restriction["recipients"])
    if ALL not in restriction["purposes"]:
        base["purpose"] = [_purpose(one) for one in restriction["purposes"]]
    if ALL not in restriction["categories"]:
        base["code"] = [_concept((codes.CATEGORY, one)) for one in restriction["categories"]]
    if ALL in restriction["labels"]:
        return [base]
    return [base | {"securityLabel": [_label(one)]} for one in restriction["labels"]]


def recipient(name: str) -> dict[str, Any]:
    """An actor that receives: a stakeholder, or the class of treating providers."""
    return _actor(codes.RECIPIENT, name)


def _recipients(names: Sequence[str]) -> list[dict[str, Any]]:
    return [recipient(one) for one in names]


def _actor(role: tuple[str, str], name: str) -> dict[str, Any]:
    if name == TREATING:
        identifier = {"system": codes.CLASS, "value": name.removeprefix("class:")}
    else:
        identifier = {"system": codes.STAKEHOLDER, "value": name}
    return {"role": _concept(role), "reference": {"identifier": identifier}}


def _purpose(term: str) -> dict[str, str]:
    return _coding(codes.code_of(term, codes.PURPOSES, codes.PURPOSE))


def _label(term: str) -> dict[str, str]:
    return _coding(codes.code_of(term, codes.LABELS, codes.LABEL))


def _coding(code: tuple[str, str]) -> dict[str, str]:
    return {"system": code[0], "code": code[1]}


def _concept(code: tuple[str, str]) -> dict[str, Any]:
    return {"coding": [_coding(code)]}
