"""Key-encryption keys that are replaced, and processes that say that they have forgotten a key."""

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Creates their tables. What wraps the keys that are there is the current key-encryption key."""
    op.create_table(
        "keks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keks")),
    )
    op.execute(
        "INSERT INTO keks (id, since) SELECT kek, min(created_at) FROM keys "
        "WHERE wrapped IS NOT NULL GROUP BY kek"
    )
    op.create_table(
        "erasures",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_erasures")),
    )
    op.create_table(
        "holders",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("forgotten", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holders")),
    )


def downgrade() -> None:
    """Drops them. Where a participant's key was renewed, an older release opens nothing under the new one."""
    for table in ("holders", "erasures", "keks"):
        op.drop_table(table)
