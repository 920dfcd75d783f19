"""What is counted for everybody to see."""

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Creates the tables of counts and of what was published of them."""
    op.create_table(
        "aggregates",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "month", name=op.f("pk_aggregates")),
    )
    op.create_table(
        "publications",
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("measure", "version", "month", name=op.f("pk_publications")),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("publications")
    op.drop_table("aggregates")
