"""Who may send which directive: the table of senders, asked at every way in."""

from typing import Any, Final, NamedTuple

from hub.governance import Register
from schemas.errors import Refused

WITNESSES: Final = frozenset({"case-management", "service-provider", "public-defender"})


class Sender(NamedTuple):
    """Who sends: a stakeholder's program, a person of the hub, or a participant through the hub's own page.

    `principal` is how records name them; `organisation` the stakeholder they belong to, if any.
    """

    principal: str
    organisation: str | None = None
    officer: bool = False
    participant: str | None = None


def check(directive: Any, sender: Sender, register: Register) -> None:
    """Lets a directive pass, or raises `Refused` with the reason."""
    role = register.role(sender.organisation) if sender.organisation else None
    own = sender.participant is not None and sender.participant == directive.participant
    kind = directive.type
    if kind in ("order-filed", "order-vacated"):
        allowed = sender.officer
        recipient = directive.order.recipient if kind == "order-filed" else None
        if recipient is not None and recipient == sender.organisation:
            raise Refused("a recipient does not file an order for itself", code="recipient")
    elif kind == "emergency-declared":
        medical = sender.organisation and register.stakeholders.get(sender.organisation, {}).get("medical")
        allowed = medical is True and directive.emergency.recipient == sender.organisation
    elif kind == "program-exited":
        allowed = role == "case-management"
    elif kind in ("consent-revoked", "restriction-placed"):
        allowed = own or role is not None
    else:  # consent-granted, restriction-lifted
        allowed = own or (role in WITNESSES and _witnessed(directive, sender))
    if not allowed:
        raise Refused("this sender may not send this directive", path="/type", code="sender")


def _witnessed(directive: Any, sender: Sender) -> bool:
    witness = directive.witness
    if witness is None:
        raise Refused(
            "the organisation that saw it signed names its witness", path="/witness", code="witness"
        )
    return bool(witness.organisation == sender.organisation)
