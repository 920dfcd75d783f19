"""What participants ask for as of right, and by when it has to be answered."""

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None

NUMBERS = ("extended_at", "extended_offset", "closed_at", "closed_offset")
TEXTS = ("extended_by", "closed_by", "outcome")
SEALED = ("asked", "extended_why", "closed_why")


def upgrade() -> None:
    """Creates their table."""
    op.create_table(
        "petitions",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "kind", "participant", "by")),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("filed_at", "first_due_at", "due_at")
        ),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in NUMBERS),
        *(sa.Column(name, sa.Text(), nullable=True) for name in TEXTS),
        *(sa.Column(name, sa.LargeBinary(), nullable=True) for name in SEALED),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_petitions")),
    )
    op.create_index("ix_petitions_participant", "petitions", ["participant"])
    op.create_index("ix_petitions_due", "petitions", ["due_at", "id"])
    op.create_index("ix_petitions_closed", "petitions", ["closed_at", "id"])


def downgrade() -> None:
    """Drops it."""
    op.drop_table("petitions")
