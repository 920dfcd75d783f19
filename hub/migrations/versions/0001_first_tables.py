"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:  # noqa: PLR0915
    """Creates them."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("demo", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "acts",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=True),
        sa.Column("about", sa.Text(), nullable=True),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "offset", name=op.f("pk_acts")),
    )
    op.create_index(op.f("ix_acts_about"), "acts", ["about"], unique=False)
    op.create_index(op.f("ix_acts_at"), "acts", ["at"], unique=False)
    op.create_index(op.f("ix_acts_participant"), "acts", ["participant"], unique=False)
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("changed", name=op.f("uq_alerts_changed")),
    )
    op.create_index(op.f("ix_alerts_participant"), "alerts", ["participant"], unique=False)
    op.create_index("ix_alerts_stakeholder", "alerts", ["stakeholder", "changed"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "crosswalk",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("local", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("agency", "local", name=op.f("pk_crosswalk")),
    )
    op.create_index(op.f("ix_crosswalk_participant"), "crosswalk", ["participant"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("discloser", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("position", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("consent_offset", sa.BigInteger(), nullable=False),
        sa.Column("governance_offset", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("partition", "offset", name=op.f("uq_decisions_partition_offset")),
    )
    op.create_index(op.f("ix_decisions_at"), "decisions", ["at"], unique=False)
    op.create_index(op.f("ix_decisions_event"), "decisions", ["event"], unique=False)
    op.create_index(op.f("ix_decisions_participant"), "decisions", ["participant"], unique=False)
    op.create_table(
        "directives",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("concerns", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "offset", name=op.f("pk_directives")),
    )
    op.create_index(op.f("ix_directives_id"), "directives", ["id"], unique=False)
    op.create_index(op.f("ix_directives_participant"), "directives", ["participant"], unique=False)
    op.create_table(
        "event_status",
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("conflicts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event", name=op.f("pk_event_status")),
    )
    op.create_table(
        "intents",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("outbox_partition", sa.Integer(), nullable=False),
        sa.Column("outbox_offset", sa.BigInteger(), nullable=False),
        sa.Column("consent_offset", sa.BigInteger(), nullable=False),
        sa.Column("governance_offset", sa.BigInteger(), nullable=False),
        sa.Column("shares", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("partition", "offset", name=op.f("pk_intents")),
    )
    op.create_index(op.f("ix_intents_event"), "intents", ["event"], unique=False)
    op.create_index(op.f("ix_intents_key"), "intents", ["key"], unique=False)
    op.create_index(op.f("ix_intents_participant"), "intents", ["participant"], unique=False)
    op.create_index("ix_intents_stakeholder_at", "intents", ["stakeholder", "at"], unique=False)
    op.create_table(
        "keys",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("kek", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "subject", "version", name=op.f("pk_keys")),
    )
    op.create_table(
        "offsets",
        sa.Column("projection", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "topic", "partition", name=op.f("pk_offsets")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
    op.create_index(op.f("ix_quarantine_agency"), "quarantine", ["agency"], unique=False)
    op.create_index(op.f("ix_quarantine_at"), "quarantine", ["at"], unique=False)
    op.create_table(
        "receipts",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("partition", "offset", name=op.f("pk_receipts")),
    )
    op.create_index(op.f("ix_receipts_event"), "receipts", ["event"], unique=False)
    op.create_index(op.f("ix_receipts_key"), "receipts", ["key"], unique=False)
    op.create_index(op.f("ix_receipts_participant"), "receipts", ["participant"], unique=False)
    op.create_index("ix_receipts_stakeholder_at", "receipts", ["stakeholder", "at"], unique=False)
    op.create_table(
        "requests",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("directive", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("made", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sender", "id", name=op.f("pk_requests")),
        sa.UniqueConstraint("directive", name=op.f("uq_requests_directive")),
    )
    op.create_index(op.f("ix_requests_participant"), "requests", ["participant"], unique=False)
    op.create_table(
        "stakeholder_secrets",
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stakeholder", "name", name=op.f("pk_stakeholder_secrets")),
    )
    op.create_table(
        "submissions",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("sender", "id", name=op.f("pk_submissions")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("scopes", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )
    op.create_index(op.f("ix_tokens_stakeholder"), "tokens", ["stakeholder"], unique=False)
    op.create_table(
        "withheld",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("consent_offset", sa.BigInteger(), nullable=False),
        sa.Column("governance_offset", sa.BigInteger(), nullable=False),
        sa.Column("reasons", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("partition", "offset", name=op.f("pk_withheld")),
    )
    op.create_index(op.f("ix_withheld_event"), "withheld", ["event"], unique=False)
    op.create_index(op.f("ix_withheld_key"), "withheld", ["key"], unique=False)
    op.create_index(op.f("ix_withheld_participant"), "withheld", ["participant"], unique=False)
    op.create_index("ix_withheld_stakeholder_at", "withheld", ["stakeholder", "at"], unique=False)
    op.create_table(
        "outcomes",
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("subscription", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=True),
        sa.Column("grants", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("compartments", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("obligations", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision"], ["decisions.id"], name=op.f("fk_outcomes_decision"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("decision", "number", name=op.f("pk_outcomes")),
    )
    op.create_index("ix_outcomes_event", "outcomes", ["event", "stakeholder"], unique=False)
    op.create_index("ix_outcomes_newest", "outcomes", ["at", "decision", "number"], unique=False)
    op.create_index(op.f("ix_outcomes_participant"), "outcomes", ["participant"], unique=False)
    op.create_index("ix_outcomes_reason", "outcomes", ["reason", "at"], unique=False)
    op.create_index("ix_outcomes_stakeholder", "outcomes", ["stakeholder", "at"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("csrf", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.id"], name=op.f("fk_sessions_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )


def downgrade() -> None:  # noqa: PLR0915
    """Drops them."""
    op.drop_table("sessions")
    op.drop_index("ix_outcomes_stakeholder", table_name="outcomes")
    op.drop_index("ix_outcomes_reason", table_name="outcomes")
    op.drop_index(op.f("ix_outcomes_participant"), table_name="outcomes")
    op.drop_index("ix_outcomes_newest", table_name="outcomes")
    op.drop_index("ix_outcomes_event", table_name="outcomes")
    op.drop_table("outcomes")
    op.drop_index("ix_withheld_stakeholder_at", table_name="withheld")
    op.drop_index(op.f("ix_withheld_participant"), table_name="withheld")
    op.drop_index(op.f("ix_withheld_key"), table_name="withheld")
    op.drop_index(op.f("ix_withheld_event"), table_name="withheld")
    op.drop_table("withheld")
    op.drop_index(op.f("ix_tokens_stakeholder"), table_name="tokens")
    op.drop_table("tokens")
    op.drop_table("submissions")
    op.drop_table("stakeholder_secrets")
    op.drop_index(op.f("ix_requests_participant"), table_name="requests")
    op.drop_table("requests")
    op.drop_index("ix_receipts_stakeholder_at", table_name="receipts")
    op.drop_index(op.f("ix_receipts_participant"), table_name="receipts")
    op.drop_index(op.f("ix_receipts_key"), table_name="receipts")
    op.drop_index(op.f("ix_receipts_event"), table_name="receipts")
    op.drop_table("receipts")
    op.drop_index(op.f("ix_quarantine_at"), table_name="quarantine")
    op.drop_index(op.f("ix_quarantine_agency"), table_name="quarantine")
    op.drop_table("quarantine")
    op.drop_table("offsets")
    op.drop_table("keys")
    op.drop_index("ix_intents_stakeholder_at", table_name="intents")
    op.drop_index(op.f("ix_intents_participant"), table_name="intents")
    op.drop_index(op.f("ix_intents_key"), table_name="intents")
    op.drop_index(op.f("ix_intents_event"), table_name="intents")
    op.drop_table("intents")
    op.drop_table("event_status")
    op.drop_index(op.f("ix_directives_participant"), table_name="directives")
    op.drop_index(op.f("ix_directives_id"), table_name="directives")
    op.drop_table("directives")
    op.drop_index(op.f("ix_decisions_participant"), table_name="decisions")
    op.drop_index(op.f("ix_decisions_event"), table_name="decisions")
    op.drop_index(op.f("ix_decisions_at"), table_name="decisions")
    op.drop_table("decisions")
    op.drop_index(op.f("ix_crosswalk_participant"), table_name="crosswalk")
    op.drop_table("crosswalk")
    op.drop_table("counters")
    op.drop_index("ix_alerts_stakeholder", table_name="alerts")
    op.drop_index(op.f("ix_alerts_participant"), table_name="alerts")
    op.drop_table("alerts")
    op.drop_index(op.f("ix_acts_participant"), table_name="acts")
    op.drop_index(op.f("ix_acts_at"), table_name="acts")
    op.drop_index(op.f("ix_acts_about"), table_name="acts")
    op.drop_table("acts")
    op.drop_table("accounts")
