"""Who came to a participant's own page, made a card for it, or read what they signed; never unseen."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa

from hub import acts
from hub.accounts import named
from hub.language import Tongue
from hub.store import Store
from hub.tables import acts as acted

KINDS: Final = (acts.SIGNED_IN, acts.CARD_MADE, acts.FORM_READ)
SHOWN_MAX: Final = 10
_OWN: Final = ("participant:", "helper:")


class Coming(NamedTuple):
    """What somebody did, when (epoch milliseconds), and who, as records name them and by name if known."""

    kind: str
    at: int
    principal: str
    name: str | None


def comings(store: Store, participant: str) -> list[Coming]:
    """The newest, newest first; as far as the store has got with the log."""
    looked = sa.and_(acted.c.what == acts.FORM_READ, acted.c.who.startswith("participant:"))
    query = (
        sa.select(acted.c.what, acted.c.at, acted.c.who)
        .where(acted.c.participant == participant, acted.c.what.in_(KINDS), sa.not_(looked))
        .order_by(acted.c.at.desc())
        .limit(SHOWN_MAX)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
        people = {row.who.partition(":")[2] for row in rows if not row.who.startswith(_OWN)}
        names = named(connection, people)
    return [Coming(row.what, row.at, row.who, names.get(row.who.partition(":")[2])) for row in rows]


def told(one: Coming, helpers: Mapping[str, str], words: Tongue) -> str:
    """One of them in a sentence. In: the helpers of now, card to name."""
    who, _, card = one.principal.partition(":")
    name = helpers.get(card) if who == "helper" else one.name
    if who == "participant":
        return words.say("Opened with your own card")
    name = name or (words.say("somebody who helped you") if who == "helper" else words.say("somebody"))
    if one.kind == acts.CARD_MADE:
        return words.say("A card was made with %(name)s", name=name)
    if one.kind == acts.FORM_READ:
        return words.say("A form that you signed was read by %(name)s", name=name)
    return words.say("Opened by %(name)s, with a card of their own", name=name)
