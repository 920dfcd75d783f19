"""Who works with whom, what they did to alerts, and how they want to be told."""

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None

NUMBERS = (
    "occurred_at",
    "due_at",
    "rung_at",
    "escalates_at",
    "escalated_at",
    "reserved_at",
    "act",
    "acted_at",
    "snoozed_until",
    "notified_at",
    "notified_again_at",
)
TABLES = (
    "caseloads",
    "covers",
    "custody",
    "sightings",
    "teams",
    "threads",
    "devices",
    "notifications",
    "preferences",
)


def upgrade() -> None:
    """Creates their tables, and the columns of what became of an alert."""
    op.create_table(
        "caseloads",
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stakeholder", "participant", "account", name=op.f("pk_caseloads")),
    )
    op.create_index("ix_caseloads_account", "caseloads", ["account"])

    op.create_table(
        "covers",
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("cover", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stakeholder", "account", "cover", name=op.f("pk_covers")),
    )
    op.create_index("ix_covers_cover", "covers", ["cover"])

    op.create_table(
        "custody",
        sa.Column("consent", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("consent", name=op.f("pk_custody")),
    )
    op.create_index(op.f("ix_custody_participant"), "custody", ["participant"])

    op.create_table(
        "sightings",
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("alert", "account", name=op.f("pk_sightings")),
    )
    op.create_table(
        "teams",
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("lead", sa.Boolean(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stakeholder", "team", "account", name=op.f("pk_teams")),
    )
    op.create_index("ix_teams_account", "teams", ["account"])

    op.create_table(
        "threads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_threads")),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.id"], name=op.f("fk_devices_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
    )
    op.create_index(op.f("ix_devices_account"), "devices", ["account"])

    op.create_table(
        "notifications",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.id"], name=op.f("fk_notifications_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index("ix_notifications_next", "notifications", ["next_at"])

    op.create_table(
        "preferences",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("quiet_from", sa.Integer(), nullable=True),
        sa.Column("quiet_until", sa.Integer(), nullable=True),
        sa.Column("digest_at", sa.Integer(), nullable=True),
        sa.Column("aloud", sa.Boolean(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("mail", sa.LargeBinary(), nullable=True),
        sa.Column("digested_at", sa.BigInteger(), nullable=True),
        sa.Column("looked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.id"], name=op.f("fk_preferences_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_preferences")),
    )
    op.add_column("alerts", sa.Column("audience", sa.Text(), server_default="caseload", nullable=False))
    op.add_column("alerts", sa.Column("version", sa.BigInteger(), server_default="0", nullable=False))
    for name in ("before", "facts"):
        op.add_column("alerts", sa.Column(name, sa.JSON(none_as_null=True), nullable=True))
    for name in ("thread", "acted_by", "handed_to"):
        op.add_column("alerts", sa.Column(name, sa.Text(), nullable=True))
    for name in NUMBERS:
        op.add_column("alerts", sa.Column(name, sa.BigInteger(), nullable=True))
    op.create_index("ix_alerts_thread", "alerts", ["thread"])
    op.create_index("ix_alerts_unnotified", "alerts", ["notified_at", "urgency"])
    op.create_index("ix_alerts_escalated", "alerts", ["escalated_at"])


def downgrade() -> None:
    """Drops them."""
    op.drop_index("ix_alerts_escalated", "alerts")
    op.drop_index("ix_alerts_unnotified", "alerts")
    op.drop_index("ix_alerts_thread", "alerts")
    with op.batch_alter_table("alerts") as table:
        for name in (*NUMBERS, "thread", "acted_by", "handed_to", "before", "facts", "version", "audience"):
            table.drop_column(name)
    for name in TABLES:
        op.drop_table(name)
