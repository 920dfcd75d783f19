"""Tables of participants' own cards and visits. No projections: like sessions, they are lost with the store.

A card that was lost with it is made anew; what it opened is all still there.
"""

import sqlalchemy as sa

from hub.columns import metadata, number, sealed, text

passes = sa.Table(  # what opens a participant's page: their own card, or that of somebody they named
    "passes",
    metadata,
    text("id", primary_key=True),
    text("participant", index=True),
    text("code", unique=True),  # keyed hash of what is on the card
    text("pin"),  # argon2id
    sealed("helper", nullable=True),  # a helper's name; null for the participant's own card
    sa.Column("acts", sa.Boolean, nullable=False),  # whether they may do something, besides looking
    text("made_by"),
    number("made_at"),
    number("expires_at", nullable=True),
    number("ended_at", nullable=True),
)

attempts = sa.Table(  # wrong PINs, by the keyed hash of the code that was tried, whether there is one or not
    "attempts",
    metadata,
    text("code", primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    number("at", index=True),
)

visits = sa.Table(
    "visits",
    metadata,
    text("digest", primary_key=True),
    text("pass", sa.ForeignKey("passes.id", ondelete="CASCADE")),
    text("csrf"),
    number("created_at"),
    number("seen_at"),
    number("expires_at"),
)
