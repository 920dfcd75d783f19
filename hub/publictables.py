"""Tables of what is counted for everybody to see."""

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

PUBLIC: Final = (aggregates, publications)
