"""Counting outcomes reads an index alone, one event's deliveries are found by one; what they replace goes."""

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: None = None
depends_on: None = None


DELIVERIES = ("intents", "receipts", "withheld")


def upgrade() -> None:
    """Replaces indexes."""
    op.create_index("ix_outcomes_counted", "outcomes", ["at", "effect", "reason"])
    op.create_index("ix_receipts_counted", "receipts", ["at", "outcome", "code"])
    op.create_index("ix_withheld_at", "withheld", ["at"])
    op.drop_index("ix_outcomes_participant", "outcomes")
    for table in DELIVERIES:
        op.create_index(f"ix_{table}_event_stakeholder", table, ["event", "stakeholder", "at"])
        op.drop_index(f"ix_{table}_event", table)


def downgrade() -> None:
    """Puts them back."""
    for table in DELIVERIES:
        op.create_index(f"ix_{table}_event", table, ["event"])
        op.drop_index(f"ix_{table}_event_stakeholder", table)
    op.create_index("ix_outcomes_participant", "outcomes", ["participant"])
    op.drop_index("ix_withheld_at", "withheld")
    op.drop_index("ix_receipts_counted", "receipts")
    op.drop_index("ix_outcomes_counted", "outcomes")
