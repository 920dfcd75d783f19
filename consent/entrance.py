"""Who may send which directive, and whether it is complete: one check for every way in.

Pure: it is told who sends and what stands; refusing, and recording that it was refused, is its caller's.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from consent import elements
from consent.stakeholder import Stakeholder
from consent.terms import Order, Restriction
from consent.untyped import TREATING
from schemas import directives as shapes
from schemas.errors import Invalid, Refused

CASE_MANAGEMENT: Final = "case-management"
WITNESSES: Final = frozenset({CASE_MANAGEMENT, "service-provider", "public-defender"})
NO_FORM: Final = frozenset({"n/a", "na", "none", "pending", "unknown", "-"})  # references to no form at all
SIGNED_FORM: Final = "42 CFR 2.31(a)(8)"


class Sender(NamedTuple):
    """Who sends: a stakeholder's program, a person of the hub, or a participant through the hub's own page.

    `principal` is how records name them; `organisation` the stakeholder they belong to, if any.
    """

    principal: str
    organisation: str | None = None
    officer: bool = False
    participant: str | None = None


def read(body: Any) -> Any:
    """The directive in a body (of `schemas.directives`), with all that a written consent must have.

    Raises `Invalid` with every problem: first each missing element, cited, then those of the shape.
    """
    missing = elements.missing(body)
    try:
        directive = shapes.parse(body)
    except Invalid as invalid:
        cited = {problem.path for problem in missing}
        raise Invalid([*missing, *(one for one in invalid.problems if one.path not in cited)]) from None
    if missing:
        raise Invalid(missing)
    return directive


def check(
    directive: Any,
    sender: Sender,
    organisation: Stakeholder | None,
    standing: Restriction | Order | None = None,
) -> None:
    """Lets a directive pass that its sender may send; raises `Refused` for any other.

    In: the directive (of `schemas.directives`), its sender, the sender's organisation as it is registered,
    and the restriction or order that is to be taken away, as it stands.
    """
    if organisation is not None and organisation.id != sender.organisation:
        raise Refused("the organization is not the sender's", code="sender")
    rule = _TABLE.get(directive.type)
    if rule is None or not rule(directive, sender, organisation, standing):
        raise Refused("this sender may not send this directive", path="/type", code="sender")


def _granted(directive: Any, sender: Sender, organisation: Stakeholder | None, _standing: object) -> bool:
    if _own(directive, sender):
        return True
    if not _witnessed(directive, organisation):
        return False
    assert organisation is not None
    recipients = [name for grant in directive.consent.grants for name in grant.recipients]
    if _among(organisation, recipients) and not _points(directive.consent.signature.reference):
        raise Refused(
            "the organization that saw it signed is a recipient; the reference has to say where the form is",
            path="/consent/signature/reference",
            code="signed-form",
            citation=SIGNED_FORM,
        )
    return True


def _lifted(directive: Any, sender: Sender, organisation: Stakeholder | None, standing: object) -> bool:
    if _own(directive, sender):
        return True
    if not _witnessed(directive, organisation):
        return False
    assert organisation is not None
    if isinstance(standing, Restriction) and _among(organisation, standing.recipients):
        raise Refused(
            "whom a restriction keeps out does not witness that it is lifted; "
            "the participant says so, or somebody else witnesses it",
            path="/witness/organisation",
            code="recipient",
        )
    return True


def _passed_on(directive: Any, sender: Sender, organisation: Stakeholder | None, _standing: object) -> bool:
    return _own(directive, sender) or organisation is not None


def _ordered(directive: Any, sender: Sender, _organisation: object, standing: object) -> bool:
    recipients = {standing.recipient} if isinstance(standing, Order) else set()
    if directive.type == "order-filed":
        recipients.add(directive.order.recipient)
    if sender.organisation is not None and sender.organisation in recipients:
        raise Refused("a recipient neither files nor vacates an order for itself", code="recipient")
    return sender.officer


def _declared(directive: Any, _sender: object, organisation: Stakeholder | None, _standing: object) -> bool:
    return (
        organisation is not None and organisation.medical and directive.emergency.recipient == organisation.id
    )


def _exited(_directive: Any, _sender: object, organisation: Stakeholder | None, _standing: object) -> bool:
    return organisation is not None and organisation.role == CASE_MANAGEMENT


_TABLE: Final[Mapping[str, Any]] = {
    "consent-granted": _granted,
    "consent-revoked": _passed_on,
    "restriction-placed": _passed_on,
    "restriction-lifted": _lifted,
    "order-filed": _ordered,
    "order-vacated": _ordered,
    "emergency-declared": _declared,
    "program-exited": _exited,
}


def _own(directive: Any, sender: Sender) -> bool:
    """Whether the participant says it, through the hub's own page."""
    return sender.participant is not None and sender.participant == directive.participant


def _witnessed(directive: Any, organisation: Stakeholder | None) -> bool:
    """Whether the organisation that sends it may witness, and names a witness of its own."""
    if organisation is None or organisation.role not in WITNESSES:
        return False
    if directive.witness is None:
        raise Refused(
            "the organization that saw it signed names its witness", path="/witness", code="witness"
        )
    if directive.witness.organisation != organisation.id:
        raise Refused("the witness is of another organization", path="/witness/organisation", code="witness")
    return True


def _among(organisation: Stakeholder, recipients: Any) -> bool:
    return organisation.id in recipients or (TREATING in recipients and organisation.in_class)


def _points(reference: str) -> bool:
    """Whether a reference can lead somebody to a signed form."""
    return reference.strip().lower() not in NO_FORM and any(char.isalnum() for char in reference)
