"""What comes out of a decision: a value with its reason, never a bare boolean."""

from typing import Final, Literal, NamedTuple

CONSENT: Final = "consent"
COURT_ORDER: Final = "court-order"
EMERGENCY: Final = "emergency"
PROCEEDINGS: Final = "proceedings"
COUNSELLING_NOTES: Final = "counselling-notes"
PART2: Final = "part2"


class Decision(NamedTuple):
    """One answer to "may this recipient have this event for this purpose, now?".

    `reason` names the rule that matched; `basis` is `consent`, `court-order`, `emergency` or None. `grants`
    are `consent_id/grant_id`, or the ids of orders or emergencies. The last three are sorted, and empty on a
    denial.
    """

    effect: Literal["permit", "deny"]
    reason: str
    basis: str | None = None
    grants: tuple[str, ...] = ()
    compartments: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()

    @property
    def permitted(self) -> bool:
        """Whether anything may be disclosed."""
        return self.effect == "permit"

    def as_json(self) -> dict[str, object]:
        """The shape in which `hub decide` and the records carry it: lists for the last three."""
        return {
            "effect": self.effect,
            "reason": self.reason,
            "basis": self.basis,
            "grants": list(self.grants),
            "compartments": list(self.compartments),
            "obligations": list(self.obligations),
        }


INDETERMINATE: Final = Decision("deny", "indeterminate")
NO_AGREEMENT: Final = Decision("deny", "no-agreement")
ROLE: Final = Decision("deny", "role")
NO_DEDICATED_PROCEEDINGS: Final = Decision("deny", PROCEEDINGS)
NO_DEDICATED_NOTES: Final = Decision("deny", COUNSELLING_NOTES)
NO_EMERGENCY: Final = Decision("deny", "no-emergency")
RESTRICTION: Final = Decision("deny", "restriction")
REVOKED: Final = Decision("deny", "revoked")
EXPIRED: Final = Decision("deny", "expired")
NOT_STARTED: Final = Decision("deny", "not-started")
NO_CONSENT: Final = Decision("deny", "no-consent")
NOTHING_SHAREABLE: Final = Decision("deny", "nothing-shareable")

_SCOPE: Final = ("attach-consent-scope", "no-redisclosure", "record-disclosure")
_SCOPE_PART2: Final = ("attach-consent-scope", "attach-part2-notice", "no-redisclosure")

# by basis, whether the event is labelled `part2`, and whether the purpose is `proceedings`
OBLIGATIONS: Final = {
    (CONSENT, False, False): _SCOPE,
    (CONSENT, False, True): _SCOPE,
    (CONSENT, True, False): (*_SCOPE_PART2, "not-for-proceedings", "record-disclosure"),
    (CONSENT, True, True): (*_SCOPE_PART2, "record-disclosure"),
    (COURT_ORDER, False, True): ("record-disclosure",),
    (COURT_ORDER, True, True): ("attach-part2-notice", "record-disclosure"),
    (EMERGENCY, False, False): ("record-disclosure", "review-emergency"),
    (EMERGENCY, True, False): (
        "attach-part2-notice", "not-for-proceedings", "record-disclosure", "review-emergency",
    ),
}  # fmt: skip
