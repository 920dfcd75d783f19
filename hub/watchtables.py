"""Projections that privacy officers watch by: what ends soon, waits for a link, is fenced; hourly volumes."""

from typing import Final

import sqlalchemy as sa

from hub.columns import metadata, number, text

ending = sa.Table(  # consents that were signed, with the day that ends them
    "ending",
    metadata,
    text("participant", primary_key=True),
    text("consent", primary_key=True),
    number("offset"),  # where it was given
    number("expires_at", nullable=True),  # null where no date ends it
    sa.Column("on_exit", sa.Boolean, nullable=False),
    number("ended_at", nullable=True),  # taken back whole, or left behind with the program
    sa.Index("ix_ending_expires", "expires_at"),
)

parked = sa.Table(  # what waits until somebody says who it is about
    "parked",
    metadata,
    text("event", primary_key=True),
    text("agency"),
    number("at"),
)

acknowledged = sa.Table(  # how far each outbox partition's owner had applied consent, each step's first time
    "acknowledged",
    metadata,
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    text("stakeholder", primary_key=True),
    number("consent_offset", primary_key=True, autoincrement=False),
    number("at"),
)

open_attempts = sa.Table(  # to deliver something that have no receipt yet: few, whatever there ever was
    "open_attempts",
    metadata,
    text("key", primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    text("participant", index=True),
    sa.Column("partition", sa.Integer, nullable=False),  # of the intent
    number("offset"),
)

hourly = sa.Table(  # how much each sender told, and each recipient was permitted, by the hour it was decided
    "hourly",
    metadata,
    number("hour", primary_key=True, autoincrement=False),  # since 1970, UTC
    text("kind", primary_key=True),  # sender or recipient
    text("who", primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    number("count"),
    number("labelled"),
)

WATCHED: Final = (ending, parked, acknowledged, open_attempts, hourly)
