"""What others said in a participant's name that takes back or forbids: shown to them, and so confirmed.

Any organisation may pass such a word on, for taking back is made easy; whoever's word it was gets to see it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa

from hub.accounts import named
from hub.language import Tongue
from hub.store import Store
from hub.tables import directives

KINDS: Final = ("consent-revoked", "restriction-placed")
SENDERS: Final = ("stakeholder:", "person:")  # what a helper does stands with who was here
SHOWN_MAX: Final = 10


class Spoken(NamedTuple):
    """A directive: its type, when it was recorded (epoch milliseconds), who sent it, their name if known."""

    type: str
    at: int
    sender: str
    name: str | None


def spoken(store: Store, participant: str) -> list[Spoken]:
    """The newest, newest first; as far as the store has got with the log."""
    others = sa.or_(*(directives.c.sender.startswith(one) for one in SENDERS))
    query = (
        sa.select(directives.c.type, directives.c.recorded_at, directives.c.sender)
        .where(directives.c.participant == participant, directives.c.type.in_(KINDS), others)
        .order_by(directives.c.recorded_at.desc(), directives.c.offset.desc())
        .limit(SHOWN_MAX)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
        people = {row.sender.partition(":")[2] for row in rows if row.sender.startswith("person:")}
        names = named(connection, people)
    return [
        Spoken(row.type, row.recorded_at, row.sender, names.get(row.sender.partition(":")[2])) for row in rows
    ]


def told(one: Spoken, called: Mapping[str, str], words: Tongue) -> str:
    """One of them in a sentence. In: what stakeholders are called, by id."""
    kind, _, who = one.sender.partition(":")
    name = called.get(who, who) if kind == "stakeholder" else one.name or words.say("somebody")
    if one.type == "consent-revoked":
        return words.say("%(name)s told us that you take back what you signed", name=name)
    return words.say("%(name)s told us that you never want to share with somebody", name=name)
