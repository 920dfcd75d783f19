"""What a participant has said so far: their directives, also those the projections have not reached yet.

A page shows what somebody did a moment ago, and what they did is in the log before they are answered.
"""

import json
from typing import Any, Final

import sqlalchemy as sa

from consent.record import Placed
from hub.lookup import Lookup
from hub.store import Store
from hub.tables import directives, requests
from schemas import codec

AHEAD_MAX: Final = 100  # directives of one participant that are looked up in the log
CONSENT: Final = "consent"


def placed(store: Store, lookup: Lookup, participant: str) -> list[Placed]:
    """A participant's directives in the order of the log. Raises `Unavailable`."""
    known = sa.select(directives).where(directives.c.participant == participant)
    asked = sa.select(requests.c.partition, requests.c.offset).where(
        requests.c.participant == participant, requests.c.offset.is_not(None)
    )
    with store.read() as connection:
        found = {
            row.offset: Placed(row.offset, row.id, json.loads(row.body))
            for row in connection.execute(known.order_by(directives.c.offset))
        }
        ahead = [row for row in connection.execute(asked) if row.offset not in found]
    for row in sorted(ahead, key=lambda one: -one.offset)[:AHEAD_MAX]:
        value = lookup.value(CONSENT, row.partition, row.offset)
        if value is not None:
            one: dict[str, Any] = codec.decode_as("Directive", value)
            found[row.offset] = Placed(row.offset, one["id"], json.loads(one["body"]))
    return [found[offset] for offset in sorted(found)]
