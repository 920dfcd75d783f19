"""What one person says in each scene of the play, put together: directives, consents, grants.

The scenes, in order, are those of `SCENES`; a directive takes effect when its scene begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from examples.county.calendar import DAY_MS, SECOND_MS, rfc3339
from examples.county.people import Person

SCENES = ("weeks", "taken-back", "opened", "after", "race", "settled")
LABELS = ["part2", "mental-health", "hiv", "reproductive-health"]
STATEMENTS = ["right-to-revoke", "redisclosure", "refusal"]
STARTS_DURING_PLAY_MS = 40 * SECOND_MS

Body = dict[str, Any]


@dataclass(frozen=True)
class Directive:
    """One directive of one person: `body` is what decisions are made from, `sender` who hands it in."""

    id: str
    person: int
    sender: str
    body: Body


@dataclass
class Wish:
    """What one person says in each scene, and whether a referral comes along with it."""

    person: Person
    anchor: int
    said: dict[str, list[Directive]] = field(default_factory=dict)

    def says(self, scene: str, body: Body, sender: str = "reach") -> None:
        """Adds a directive to a scene."""
        number = sum(len(one) for one in self.said.values())
        identity = f"d-{self.person.key}-{number}"
        self.said.setdefault(scene, []).append(Directive(identity, self.person.number, sender, body))

    def agrees(
        self, scene: str, name: str, grants: Iterable[Body], sender: str = "reach", **terms: Any
    ) -> None:
        """Adds a signed consent to a scene; `terms` replace its ordinary ones (a year, begun 60 days ago)."""
        consent: Body = {
            "id": f"c-{self.person.key}-{name}",
            "signed_at": rfc3339(self.anchor - 60 * DAY_MS),
            "signature": {"method": "paper", "reference": f"form-{self.person.key}-{name}"},
            "starts_at": rfc3339(self.anchor - 60 * DAY_MS),
            "expires_at": rfc3339(self.anchor + 300 * DAY_MS),
            "statements": STATEMENTS,
            "grants": list(grants),
        }
        consent.update(terms)
        consent = {key: value for key, value in consent.items() if value is not None}
        self.says(scene, {"type": "consent-granted", "consent": consent}, sender)

    def takes_back(self, scene: str, name: str, **parts: list[str]) -> None:
        """Adds a revocation of a consent, whole or of some recipients or grants of it."""
        self.says(scene, {"type": "consent-revoked", "consent_id": f"c-{self.person.key}-{name}", **parts})

    def never(self, scene: str, name: str, **terms: list[str]) -> None:
        """Adds a restriction; what `terms` does not name is everything."""
        body = {key: terms.get(key, ["*"]) for key in ("recipients", "purposes", "categories", "labels")}
        restriction = {"id": f"r-{self.person.key}-{name}", **body}
        self.says(scene, {"type": "restriction-placed", "restriction": restriction})


def grant(name: str, recipients: list[str], purposes: list[str], categories: list[str], **terms: Any) -> Body:
    """One grant; `terms` replace: any discloser, the labels of health care, every compartment, no period."""
    body: Body = {
        "id": name,
        "disclosers": ["*"],
        "recipients": recipients,
        "purposes": purposes,
        "categories": categories,
        "labels": LABELS,
        "compartments": ["*"],
    }
    return {**body, **terms}


CARE = grant(
    "care",
    ["class:treating-provider"],
    ["care-coordination", "treatment"],
    ["contact", "service", "referral", "court"],
)
LEGAL = grant(
    "legal",
    ["public-defense", "municipal-court", "city-attorney"],
    ["legal-coordination"],
    ["court", "contact.custody-booking", "contact.custody-release", "referral", "service"],
    labels=["mental-health"],
)
HANDOFF = grant(
    "handoff",
    ["harbor-pd", "county-jail"],
    ["diversion-handoff"],
    ["referral", "contact.law-enforcement", "court.warrant"],
    labels=[],
    compartments=["subject", "occurrence", "engagement", "legal"],
)
BROAD = (CARE, LEGAL, HANDOFF)
