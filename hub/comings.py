"""Who came to a participant's own page, made a card for it, read what they signed, or did something for them;
never unseen."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa

from hub import acts, helping
from hub.accounts import named
from hub.language import Tongue
from hub.store import Store
from hub.tables import acts as acted
from hub.tables import directives

KINDS: Final = (acts.SIGNED_IN, acts.CARD_MADE, acts.FORM_READ)
SHOWN_MAX: Final = 10
_OWN: Final = ("participant:", helping.PREFIX)


class Coming(NamedTuple):
    """What somebody did, when (epoch milliseconds), and who, as records name them and by name if known."""

    kind: str
    at: int
    principal: str
    name: str | None


def comings(store: Store, participant: str) -> list[Coming]:
    """The newest, newest first; as far as the store has got with the log."""
    looked = sa.and_(acted.c.what == acts.FORM_READ, acted.c.who.startswith("participant:"))
    asked = sa.and_(acted.c.what == acts.REQUEST_FILED, acted.c.who.startswith(helping.PREFIX))
    came = sa.select(acted.c.what, acted.c.at, acted.c.who).where(
        acted.c.participant == participant, sa.or_(acted.c.what.in_(KINDS), asked), sa.not_(looked)
    )
    said = sa.select(directives.c.type, directives.c.recorded_at, directives.c.sender).where(
        directives.c.participant == participant, directives.c.sender.startswith(helping.PREFIX)
    )
    both = sa.union_all(came, said).subquery()
    query = sa.select(both).order_by(both.c.at.desc()).limit(SHOWN_MAX)
    with store.read() as connection:
        rows = connection.execute(query).all()
        people = {row.who.partition(":")[2] for row in rows if not row.who.startswith(_OWN)}
        names = named(connection, people)
    return [Coming(row.what, row.at, row.who, names.get(row.who.partition(":")[2])) for row in rows]


def told(one: Coming, helpers: Mapping[str, str], words: Tongue) -> str:
    """One of them in a sentence. In: helpers' names, by how records call them."""
    if one.principal.startswith("participant:"):
        return words.say("Opened with your own card")
    if helping.is_one(one.principal):
        name = helpers.get(one.principal) or words.say("somebody who helped you")
    else:
        name = one.name or words.say("somebody")
    return {
        acts.CARD_MADE: words.say("A card was made with %(name)s", name=name),
        acts.FORM_READ: words.say("A form that you signed was read by %(name)s", name=name),
        acts.REQUEST_FILED: words.say("%(name)s asked for something for you", name=name),
        "consent-revoked": words.say("%(name)s took something back for you", name=name),
        "restriction-placed": words.say("%(name)s said never for you", name=name),
    }.get(one.kind, words.say("Opened by %(name)s, with a card of their own", name=name))
