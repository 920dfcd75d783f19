"""What waits to be fetched, and files that are about to get their name."""

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Creates their tables."""
    op.create_table(
        "pulls",
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("participant", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("fetched_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("stakeholder", "number", name=op.f("pk_pulls")),
        sa.UniqueConstraint("key", name=op.f("uq_pulls_key")),
    )
    op.create_index(op.f("ix_pulls_participant"), "pulls", ["participant"], unique=False)
    op.create_table(
        "sent_files",
        sa.Column("stakeholder", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("keys", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stakeholder", "name", name=op.f("pk_sent_files")),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("sent_files")
    op.drop_table("pulls")
