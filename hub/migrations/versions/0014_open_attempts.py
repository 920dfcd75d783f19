"""Attempts that have no receipt yet stand apart; a person's deliveries are found by when they were."""

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: None = None
depends_on: None = None


DELIVERIES = ("intents", "receipts", "withheld")
OPEN = """
INSERT INTO open_attempts ("key", attempt, participant, "partition", "offset")
SELECT intents."key", intents.attempt, min(participant), min("partition"), min("offset") FROM intents
WHERE NOT EXISTS (
    SELECT 1 FROM receipts WHERE receipts."key" = intents."key" AND receipts.attempt = intents.attempt
)
GROUP BY intents."key", intents.attempt
"""


def upgrade() -> None:
    """Creates the table, with what is open, and replaces indexes."""
    op.create_table(
        "open_attempts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "attempt", name=op.f("pk_open_attempts")),
    )
    op.create_index(op.f("ix_open_attempts_participant"), "open_attempts", ["participant"])
    op.execute(OPEN)
    for table in DELIVERIES:
        op.create_index(f"ix_{table}_person", table, ["participant", "at"])
        op.drop_index(f"ix_{table}_participant", table)


def downgrade() -> None:
    """Puts them back."""
    for table in DELIVERIES:
        op.create_index(f"ix_{table}_participant", table, ["participant"])
        op.drop_index(f"ix_{table}_person", table)
    op.drop_table("open_attempts")
