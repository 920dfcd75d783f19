"""Tables of what is counted for everybody to see, and of what comes from the community."""

from typing import Final

import sqlalchemy as sa

from hub.columns import json, metadata, number, sealed, text

aggregates = sa.Table(  # how many people are in each cell, before it is known which may be shown
    "aggregates",
    metadata,
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    text("month", primary_key=True),  # empty: how far the counting has come
    number("at"),
    sealed("sealed"),
)

publications = sa.Table(  # of several of one measure and month, the first of the log
    "publications",
    metadata,
    text("measure", primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    text("month", primary_key=True),
    number("at"),
    json("body"),
)

letters = sa.Table(  # of the community: referrals and reports of harm
    "letters",
    metadata,
    text("id", primary_key=True),  # keyed hash of the code on its receipt
    text("kind"),
    number("at"),
    sealed("sealed"),
    number("taken_at", nullable=True),
    text("taken_by", nullable=True),
    number("taken_offset", nullable=True),
    number("closed_at", nullable=True),
    text("closed_by", nullable=True),
    text("outcome", nullable=True),
    number("closed_offset", nullable=True),
    sa.Index("ix_letters_closed", "closed_at", "id"),
)

letter_days = sa.Table(  # how many letters came on a day, and how many were turned away; no projection
    "letter_days",
    metadata,
    text("day", primary_key=True),  # as 2026-03-01, where the program is
    sa.Column("taken", sa.Integer, nullable=False),
    sa.Column("refused", sa.Integer, nullable=False),
)

reports = (
    sa.Table(  # of published numbers to those who are sent them; no projection, `work` has what was sent
        "reports",
        metadata,
        text("stakeholder", primary_key=True),
        text("period", primary_key=True),  # as 2026-03 or 2026-Q1
        number("until"),  # numbers that were published by then are in it
        sa.Column("attempts", sa.Integer, nullable=False),
        number("next_at", nullable=True),  # null once it ended
        text("code", nullable=True),  # what the last attempt came to
        text("digest", nullable=True),  # SHA-256 of the PDF that was sent
        number("sent_at", nullable=True),
        number("recorded_at", nullable=True),
    )
)

PUBLIC: Final = (aggregates, publications, letters)
