"""Who vouches for an account, what browser a session is in, when a token was used last; who is one person."""

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Adds the columns."""
    for name in ("issuer", "subject"):
        op.add_column("accounts", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("named", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_accounts_subject", "accounts", ["issuer", "subject"], unique=True)
    op.add_column("sessions", sa.Column("agent", sa.Text(), server_default="", nullable=False))
    op.add_column("sessions", sa.Column("sid", sa.Text(), nullable=True))
    op.add_column("tokens", sa.Column("used_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "merges",
        sa.Column("absorbed", sa.Text(), nullable=False),
        sa.Column("survivor", sa.Text(), nullable=False),
        sa.Column("links", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("absorbed", name=op.f("pk_merges")),
    )
    op.create_index(op.f("ix_merges_survivor"), "merges", ["survivor"])


def downgrade() -> None:
    """Drops them."""
    op.drop_table("merges")
    op.drop_index("ix_accounts_subject", "accounts")
    for table, names in (("accounts", ("issuer", "subject", "named")), ("sessions", ("agent", "sid"))):
        with op.batch_alter_table(table) as batch:
            for name in names:
                batch.drop_column(name)
    with op.batch_alter_table("tokens") as batch:
        batch.drop_column("used_at")
