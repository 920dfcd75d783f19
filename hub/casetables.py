"""Tables of who works with whom, of how they want to be told, and of what participants ask for.

Caseloads, teams, cover, who saw what and petitions are projections of `work`. A row carries the offset of the
record that set it, so that records applied twice, or in another order, come to the same.
"""

import sqlalchemy as sa

from hub.columns import metadata, number, sealed, text

caseloads = sa.Table(
    "caseloads",
    metadata,
    text("stakeholder", primary_key=True),
    text("participant", primary_key=True),
    text("account", primary_key=True),
    number("since"),
    number("until", nullable=True),  # null while it lasts
    text("by"),
    number("offset"),
    sa.Index("ix_caseloads_account", "account"),
)

teams = sa.Table(
    "teams",
    metadata,
    text("stakeholder", primary_key=True),
    text("team", primary_key=True),
    text("account", primary_key=True),
    sa.Column("lead", sa.Boolean, nullable=False),  # sees what escalates, and may assign
    number("until", nullable=True),
    number("offset"),
    sa.Index("ix_teams_account", "account"),
)

covers = sa.Table(
    "covers",
    metadata,
    text("stakeholder", primary_key=True),
    text("account", primary_key=True),  # who is away
    text("cover", primary_key=True),
    number("starts_at"),
    number("ends_at"),
    number("offset"),
    sa.Index("ix_covers_cover", "cover"),
)

sightings = sa.Table(
    "sightings",
    metadata,
    text("alert", primary_key=True),
    text("account", primary_key=True),
    number("at"),  # for the first time
)

preferences = sa.Table(
    "preferences",
    metadata,
    text("account", sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("quiet_from", sa.Integer, nullable=True),  # minutes after midnight, where the hub's people are
    sa.Column("quiet_until", sa.Integer, nullable=True),
    sa.Column("digest_at", sa.Integer, nullable=True),  # minutes after midnight; null for no digest
    sa.Column("aloud", sa.Boolean, nullable=False),  # sound and vibration, for what is urgent
    text("language"),
    sealed("mail", nullable=True),
    number("digested_at", nullable=True),
    number("looked_at", nullable=True),
)

devices = sa.Table(  # what takes Web Push
    "devices",
    metadata,
    text("id", primary_key=True),  # keyed hash of its address
    text("account", sa.ForeignKey("accounts.id", ondelete="CASCADE"), index=True),
    sealed("sealed"),
    number("created_at"),
)

notifications = sa.Table(  # what is to be pushed or mailed
    "notifications",
    metadata,
    text("id", primary_key=True),
    text("account", sa.ForeignKey("accounts.id", ondelete="CASCADE")),
    text("channel"),  # push or mail
    text("device", nullable=True),
    text("kind"),  # urgent or digest
    sa.Column("attempts", sa.Integer, nullable=False),
    number("next_at", nullable=True),  # null once it ended
    text("outcome", nullable=True),
    number("at"),
    sa.Index("ix_notifications_next", "next_at"),
)

custody = sa.Table(  # which organisation looks after a consent
    "custody",
    metadata,
    text("consent", primary_key=True),
    text("participant", index=True),
    text("stakeholder"),
    number("expires_at", nullable=True),
    number("ended_at", nullable=True),
)

threads = sa.Table(  # of matters that alerts remind of: when what was last told about them happened
    "threads",
    metadata,
    text("id", primary_key=True),
    number("occurred_at"),
)

petitions = sa.Table(  # what participants ask for as of right, and by when it has to be answered
    "petitions",
    metadata,
    text("id", primary_key=True),
    text("kind"),
    text("participant", index=True),
    text("by"),
    number("filed_at"),
    sealed("asked", nullable=True),
    number("first_due_at"),
    number("due_at"),  # the same, or after the one extension
    number("extended_at", nullable=True),
    text("extended_by", nullable=True),
    sealed("extended_why", nullable=True),
    number("extended_offset", nullable=True),
    number("closed_at", nullable=True),
    text("closed_by", nullable=True),
    text("outcome", nullable=True),  # answered or refused
    sealed("closed_why", nullable=True),
    number("closed_offset", nullable=True),
    sa.Index("ix_petitions_due", "due_at", "id"),
    sa.Index("ix_petitions_closed", "closed_at", "id"),
)
