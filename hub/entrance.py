"""Who may send which directive, asked with what the register and the record know."""

from typing import Any

from consent import entrance
from consent.entrance import Sender
from consent.stakeholder import Stakeholder
from consent.terms import Order, Restriction
from hub.governance import Register

__all__ = ["Sender", "check"]


def check(
    directive: Any, sender: Sender, register: Register, standing: Restriction | Order | None = None
) -> None:
    """Lets a directive pass, or raises `Refused` with the reason."""
    body = register.stakeholders.get(sender.organisation) if sender.organisation else None
    organisation = None if body is None else Stakeholder.of({**body, "id": sender.organisation})
    entrance.check(directive, sender, organisation, standing)
