"""Which FHIR codes stand for which of our terms. One table each; every code here maps to exactly one term.

Codes are matched as codes, not by their place in a hierarchy: `TREAT` is treatment and nothing below it.
Sources: HL7 v3 ActReason (purposes of use), v3 ActCode (security labels, base policies), v3 RoleClass and
ParticipationType (actors), FHIR R4 consent scopes, categories and actions.
"""

from typing import Final

PURPOSE: Final = "urn:diversion-hub:purpose"
CATEGORY: Final = "urn:diversion-hub:category"
COMPARTMENT: Final = "urn:diversion-hub:compartment"
LABEL: Final = "urn:diversion-hub:label"
STAKEHOLDER: Final = "urn:diversion-hub:stakeholder"
CLASS: Final = "urn:diversion-hub:class"
STATEMENT: Final = "urn:diversion-hub:statement:"
SIGNATURE: Final = "urn:diversion-hub:signature"
WITNESS: Final = "urn:diversion-hub:witness"
EXPIRES_ON: Final = "urn:diversion-hub:expires-on"
GRANT: Final = "urn:diversion-hub:grant"
CONSENT: Final = "urn:diversion-hub:consent"
PARTICIPANT: Final = "urn:diversion-hub:participant"

ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
ACTION: Final = "http://terminology.hl7.org/CodeSystem/consentaction"
LOINC: Final = "http://loinc.org"

PURPOSES: Final = {
    (ACT_REASON, "TREAT"): "treatment",
    (ACT_REASON, "COC"): "care-coordination",
    (ACT_REASON, "HLEGAL"): "legal-coordination",
    (ACT_REASON, "HOUTCOMS"): "program-evaluation",
    (ACT_REASON, "ETREAT"): "emergency",
}
LABELS: Final = {
    (ACT_CODE, "42CFRPart2"): "part2",
    (ACT_CODE, "MH"): "mental-health",
    (ACT_CODE, "HIV"): "hiv",
    (ACT_CODE, "SEX"): "reproductive-health",
    (ACT_CODE, "PSYTHPN"): "counselling-notes",
}
LABEL_ALIASES: Final = {
    (ACT_CODE, "SUD"): "part2",  # the hub marks substance-use information by this label alone
    (ACT_CODE, "ETH"): "part2",
    (ACT_CODE, "PSY"): "mental-health",
}
RECIPIENT: Final = (PARTICIPATION, "IRCP")
DISCLOSER: Final = (PARTICIPATION, "CST")
BASES: Final = frozenset({(ACT_CODE, "OPTOUT"), (ACT_CODE, "OPTOUTE")})
DISCLOSE: Final = (ACTION, "disclose")
PRIVACY: Final = (SCOPE, "patient-privacy")
CONSENT_DOCUMENT: Final = (LOINC, "59284-0")


def code_of(term: str, table: dict[tuple[str, str], str], own: str) -> tuple[str, str]:
    """The code by which a term is written: the standard's where it has one, else our own system's."""
    return next((code for code, meant in table.items() if meant == term), (own, term))


def term_of(
    system: str, code: str, table: dict[tuple[str, str], str], own: str, known: frozenset[str]
) -> str | None:
    """The term that a code stands for, or None."""
    if system == own:
        return code if code in known else None
    meant = table.get((system, code))
    return meant if meant in known else None
