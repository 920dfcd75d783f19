"""What a written consent must say to be one, by law; asked where it enters, and cited where it is missing.

42 CFR 2.31(a) as amended by 89 FR 12472 (in force since April 16, 2024), and RCW 70.02.030(3). The hub
asks for all of it of every consent, also where only one of the two laws, or none, would.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from consent.terms import Grant, ends
from consent.untyped import mapping, moment, text, texts
from schemas.errors import Problem

MISSING: Final = "missing-element"


class Element(NamedTuple):
    """One element: what is said where it is missing, and the paragraphs that ask for it."""

    detail: str
    citation: str

    def problem(self, path: str) -> Problem:
        """The element, missing at that place."""
        return Problem(path, MISSING, f"{self.detail} ({self.citation})")


PATIENT: Final = Element("it does not say whose consent it is", "42 CFR 2.31(a)(1); RCW 70.02.030(3)(e)")
DISCLOSER: Final = Element("it does not say who may share", "42 CFR 2.31(a)(2); RCW 70.02.030(3)(d)")
INFORMATION: Final = Element("it does not say what may be shared", "42 CFR 2.31(a)(3); RCW 70.02.030(3)(b)")
RECIPIENT: Final = Element("it does not say who may receive", "42 CFR 2.31(a)(4)(i); RCW 70.02.030(3)(c)")
PURPOSE: Final = Element("it does not say what for", "42 CFR 2.31(a)(5)")
REVOCATION: Final = Element("the right to take it back, and how, is not stated", "42 CFR 2.31(a)(6)")
END: Final = Element(
    "it has no end; only for treatment alone it may have none", "42 CFR 2.31(a)(7); RCW 70.02.030(3)(f)"
)
SIGNATURE: Final = Element("it is not signed", "42 CFR 2.31(a)(8); RCW 70.02.030(3)(a)")
WRITING: Final = Element("it is not in writing", "42 CFR 2.31(a); RCW 70.02.030(3)(a)")
DATE: Final = Element("it does not say when it was signed", "42 CFR 2.31(a)(9); RCW 70.02.030(3)(a)")
REDISCLOSURE: Final = Element("that it may be passed on is not stated", "42 CFR 2.31(a)(10)(i)")
REFUSAL: Final = Element("what follows from not signing is not stated", "42 CFR 2.31(a)(10)(ii)")

STATED: Final = {"right-to-revoke": REVOCATION, "redisclosure": REDISCLOSURE, "refusal": REFUSAL}
GRANTED: Final = {
    "disclosers": DISCLOSER,
    "categories": INFORMATION,
    "compartments": INFORMATION,
    "recipients": RECIPIENT,
    "purposes": PURPOSE,
}
UNWRITTEN: Final = frozenset({"oral", "phone", "spoken", "telephone", "verbal"})


def missing(directive: object) -> list[Problem]:
    """Every element that a `consent-granted` lacks; nothing for any other directive.

    In: the directive's body as JSON has it, of whatever shape. What is there, and is not of its type, is not
    missing: that is for the shape to say.
    """
    body = mapping(directive)
    consent = body.get("consent")
    if body.get("type") != "consent-granted" or not isinstance(consent, Mapping):
        return []
    return [*_whole(body, consent), *_granted(consent.get("grants"))]


def _whole(body: Mapping[object, object], consent: Mapping[object, object]) -> Iterator[Problem]:
    if _blank(body.get("participant")):
        yield PATIENT.problem("/participant")
    if _blank(consent.get("signed_at")):
        yield DATE.problem("/consent/signed_at")
    signature = consent.get("signature")
    if _blank(signature):
        yield SIGNATURE.problem("/consent/signature")
    elif isinstance(signature, Mapping):
        for part in ("method", "reference"):
            if _blank(signature.get(part)):
                yield SIGNATURE.problem(f"/consent/signature/{part}")
        if (text(signature.get("method")) or "").strip().lower() in UNWRITTEN:
            yield WRITING.problem("/consent/signature/method")
    stated = texts(consent.get("statements"))
    for statement, element in STATED.items():
        if statement not in stated:
            yield element.problem("/consent/statements")
    if not _ends(consent):
        yield END.problem("/consent/expires_on" if "expires_on" in consent else "/consent/expires_at")


def _ends(consent: Mapping[object, object]) -> bool:
    fixed, named = consent.get("expires_at"), consent.get("expires_on")
    if not _blank(fixed) and moment(fixed) is None:
        return True  # there, and unreadable
    listed = consent.get("grants")
    grants = [Grant.of(one) for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return ends(moment(fixed), text(named), tuple(grants))


def _granted(grants: object) -> Iterator[Problem]:
    if _blank(grants):
        for element in (DISCLOSER, INFORMATION, RECIPIENT, PURPOSE):
            yield element.problem("/consent/grants")
    for index, grant in enumerate(grants if isinstance(grants, list) else ()):
        if isinstance(grant, Mapping):
            for name, element in GRANTED.items():
                if _blank(grant.get(name)):
                    yield element.problem(f"/consent/grants/{index}/{name}")


def _blank(value: object) -> bool:
    """Whether nothing is there: absent, empty, or nothing but spaces."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, list | Mapping):
        return not value
    return value is None
