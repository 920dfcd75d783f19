"""What privacy officers watch by. `hub rebuild` fills the tables from what the log has already."""

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Creates their tables."""
    op.create_table(
        "ending",
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("consent", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("on_exit", sa.Boolean(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("participant", "consent", name=op.f("pk_ending")),
    )
    op.create_index("ix_ending_expires", "ending", ["expires_at"])
    op.create_table(
        "parked",
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event", name=op.f("pk_parked")),
    )
    op.create_table(
        "acknowledged",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("consent_offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "stakeholder", "consent_offset", name=op.f("pk_acknowledged")),
    )
    op.create_table(
        "hourly",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("labelled", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "kind", "who", "partition", name=op.f("pk_hourly")),
    )


def downgrade() -> None:
    """Drops them."""
    for name in ("hourly", "acknowledged", "parked", "ending"):
        op.drop_table(name)
