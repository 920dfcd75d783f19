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
    basis: str | None
    grants: tuple[str, ...]
    compartments: tuple[str, ...]
    obligations: tuple[str, ...]

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


def _denial(reason: str) -> Decision:
    return Decision("deny", reason, None, (), (), ())


INDETERMINATE: Final = _denial("indeterminate")
NO_AGREEMENT: Final = _denial("no-agreement")
ROLE: Final = _denial("role")
NO_DEDICATED_PROCEEDINGS: Final = _denial(PROCEEDINGS)
NO_DEDICATED_NOTES: Final = _denial(COUNSELLING_NOTES)
NO_EMERGENCY: Final = _denial("no-emergency")
RESTRICTION: Final = _denial("restriction")
REVOKED: Final = _denial("revoked")
EXPIRED: Final = _denial("expired")
NOT_STARTED: Final = _denial("not-started")
NO_CONSENT: Final = _denial("no-consent")
NOTHING_SHAREABLE: Final = _denial("nothing-shareable")


def _obligations(basis: str, part2: bool, proceedings: bool) -> tuple[str, ...]:
    duties = {"record-disclosure"}
    if basis == CONSENT:
        duties |= {"attach-consent-scope", "no-redisclosure"}
    if part2:
        duties.add("attach-part2-notice")
        if not proceedings:
            duties.add("not-for-proceedings")
    if basis == EMERGENCY:
        duties.add("review-emergency")
    return tuple(sorted(duties))


OBLIGATIONS: Final = {
    (basis, part2, proceedings): _obligations(basis, part2, proceedings)
    for basis in (CONSENT, COURT_ORDER, EMERGENCY)
    for part2 in (False, True)
    for proceedings in (False, True)
}
