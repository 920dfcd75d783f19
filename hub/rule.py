"""What of a directive is written in clear, what is sealed, and under which ids.

Ids that senders choose may say something about somebody (a case number, a name), so the log holds ids that
the hub derives from them. A sender may go on using its own, or use the hub's, which the answer tells.
"""

import base64
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from consent.terms import Consent, Emergency
from hub import helping
from hub.entrance import Sender
from hub.governance import Register, canonical
from schemas.errors import Invalid

ORDERS: Final = frozenset({"order-filed", "order-vacated"})
NAMES: Final = {
    "consent-revoked": ("consent_id", "c"),
    "restriction-lifted": ("restriction_id", "r"),
    "order-vacated": ("order_id", "o"),
}
_CARRIES: Final = {
    "consent-granted": ("consent", "c"),
    "restriction-placed": ("restriction", "r"),
    "order-filed": ("order", "o"),
    "emergency-declared": ("emergency", "m"),
}
_MADE: Final = re.compile(r"[corm]-[a-z2-7]{26}")
_STARS: Final = {  # where "*" stands for all
    "grant": frozenset({"disclosers", "compartments"}),
    "restriction": frozenset({"recipients", "purposes", "categories", "labels"}),
    "order": frozenset(),
}


class Halves(NamedTuple):
    """A directive in two: `rule` names nobody, `personal` gets sealed. `concerns` is its matter's id."""

    rule: dict[str, Any]
    personal: dict[str, Any]
    concerns: str | None


def letters(digest: str) -> str:
    """The first 130 bits of a hexadecimal digest, as 26 lower-case letters and digits."""
    return base64.b32encode(bytes.fromhex(digest)).decode("ascii")[:26].lower()


class Splitter:
    """Splits directives; the same one always into the same halves."""

    def __init__(self, mac: Callable[[str, bytes], str]) -> None:
        """In: the vault's keyed hash."""
        self._mac = mac

    def split(self, sender: Sender, directive: Any) -> Halves:
        """In: a directive of `schemas.directives`, and who sends it, for the ids are the sender's."""
        rule, personal = directive.rule(), directive.personal()
        if directive.type in _CARRIES:
            section, letter = _CARRIES[directive.type]
            body = rule[section]
            given = body.get("id") or directive.id
            concerns = body["id"] = self.named(letter, directive.participant, sender, given)
            personal["id"] = given
            if section == "consent":
                body["signature"] = {"method": body["signature"]["method"], "reference": "sealed"}
            if section == "emergency":
                personal["emergency"] = {key: body[key] for key in ("declared_by", "nature")}
                body |= {"declared_by": "sealed", "nature": "sealed"}
            return Halves(rule, personal, concerns)
        if directive.type in NAMES:
            field, letter = NAMES[directive.type]
            if not _MADE.fullmatch(rule[field]):
                rule[field] = self.named(letter, directive.participant, sender, rule[field])
            return Halves(rule, personal, rule[field])
        return Halves(rule, personal, None)

    def named(self, letter: str, participant: str, sender: Sender, given: str) -> str:
        """The hub's id for what a sender calls `given`: the same for the same names, and says nothing."""
        scope = "officers" if letter == "o" else sender.organisation or sender.principal
        names = canonical([letter, participant, scope, given])
        return f"{letter}-{letters(self._mac('names', names))}"


def refuse_idle(directive: Any, known: Register, *, own: bool = False) -> None:
    """Raises `Invalid` for what would have no effect when folded: an invalid consent, terms nobody knows.

    Only where it is the participant's `own` word may it name a helper.
    """
    rule = directive.rule()
    helper = helping.named(rule) if own else frozenset()
    if directive.type == "consent-granted" and Consent.of({"id": "made", **rule["consent"]}) is None:
        raise Invalid.one("/consent", "consent-not-valid", "an element that a valid consent needs is missing")
    if directive.type == "emergency-declared" and Emergency.of(rule["emergency"]) is None:
        raise Invalid.one("/emergency", "emergency-not-valid", "an emergency lasts at most 24 hours")
    for index, grant in enumerate(rule.get("consent", {}).get("grants", ())):
        _terms(known, grant, f"/consent/grants/{index}", "grant", helper)
    if "restriction" in rule:
        _terms(known, rule["restriction"], "/restriction", "restriction")
    if "order" in rule:
        _terms(known, rule["order"], "/order", "order")


def _terms(
    known: Register, part: dict[str, Any], path: str, kind: str, helper: frozenset[str] = frozenset()
) -> None:
    """Terms that policy and register do not have would cover nothing, and nobody would notice."""
    stakeholders = known.stakeholders.keys()
    categories = known.terms("categories")
    good = {
        "disclosers": stakeholders,
        "recipients": stakeholders | {"class:treating-provider"} | helper,
        "categories": {".".join(c.split(".")[: n + 1]) for c in categories for n in range(c.count(".") + 1)},
        "purposes": known.terms("purposes"),
        "labels": known.terms("labels"),
        "compartments": known.terms("compartments"),
    }
    for field, allowed in good.items():
        for index, term in enumerate(part.get(field, ())):
            if term not in allowed and not (term == "*" and field in _STARS[kind]):
                raise Invalid.one(f"{path}/{field}/{index}", "unknown-term", f"not one of the hub's {field}")
    if "recipient" in part and part["recipient"] not in stakeholders:
        raise Invalid.one(f"{path}/recipient", "unknown-term", "not a registered stakeholder")
