"""Which fields can ever reach whom: by the policy's matrix and the compartments of the schemas. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from connectors.projection import SENDERS_OWN
from schemas import compartments
from schemas.events import type_of

ROLES: Final = {
    "case-management": "case management",
    "service-provider": "provider",
    "public-health": "public health",
    "public-defender": "defender",
    "prosecutor": "prosecutor",
    "police": "police",
    "court": "court",
}
LETTERS: Final = {
    "care-coordination": "C",
    "treatment": "T",
    "emergency": "E",
    "legal-coordination": "L",
    "diversion-handoff": "H",
    "proceedings": "P",
}
HEAD: Final = """# Which fields can ever reach whom

This page is made from the policy and the schemas, by `python -m examples.profiles`; a test holds it to
them. It says what *can* reach a role at most. What does reach anybody is what the participant agreed to,
narrowed by restrictions, and by who has an agreement.

The letters are purposes: **C** care coordination, **T** treatment, **E** emergency (with a declared one),
**L** legal coordination, **H** handing over at diversion, **P** proceedings (with a court's order, or a
consent for just that). A letter in brackets holds for some categories of that type only. Roles without a
column hear nothing about single people: business, civil rights, community, elected.

Besides these fields, everybody gets an event id and a participant id made for them alone, and the type.
The sender's own id of the person goes to nobody; each gets its own, where the hub knows it and `subject`
is open. Ready descriptions of these stakeholders, for `hub agency load`, are in
[stakeholders.toml](../../examples/profiles/stakeholders.toml).
"""


def page(policy: Mapping[str, Any]) -> str:
    """The whole page, in Markdown. In: a policy as JSON."""
    parts = [HEAD]
    for kind in compartments.RECORDS:
        parts += ["", f"## {kind}", "", "| field | compartment | " + " | ".join(ROLES.values()) + " |"]
        parts.append("| --- | --- |" + " --- |" * len(ROLES))
        for field, compartment in compartments.fields(kind).items():
            if field not in SENDERS_OWN:
                cells = (letters(policy, role, kind, compartment) for role in ROLES)
                parts.append(f"| `{field}` | {compartment} | " + " | ".join(cells) + " |")
    return "\n".join(parts) + "\n"


def letters(policy: Mapping[str, Any], role: str, kind: str, compartment: str) -> str:
    """For which purposes a compartment of a type's events can reach a role."""
    categories = [one for one in policy["categories"] if type_of(one) == kind]
    found = []
    for purpose, letter in LETTERS.items():
        open_to = [one for one in categories if _opens(policy, role, one, purpose, compartment)]
        if open_to:
            found.append(letter if len(open_to) == len(categories) else f"({letter})")
    return " ".join(found)


def _opens(policy: Mapping[str, Any], role: str, category: str, purpose: str, compartment: str) -> bool:
    return any(
        row["role"] == role
        and purpose in row["purposes"]
        and compartment in row["compartments"]
        and (category == row["category"] or category.startswith(row["category"] + "."))
        for row in policy["matrix"]
    )
