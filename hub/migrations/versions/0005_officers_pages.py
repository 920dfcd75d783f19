"""What the privacy officers' pages look for: outcomes of one person, consents, new directives."""

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Creates the indexes."""
    op.create_index("ix_directives_concerns", "directives", ["concerns"])
    op.create_index("ix_directives_newest", "directives", ["recorded_at", "partition", "offset"])
    op.create_index("ix_directives_type", "directives", ["type", "recorded_at"])
    op.create_index("ix_outcomes_person", "outcomes", ["participant", "at"])


def downgrade() -> None:
    """Drops them."""
    op.drop_index("ix_outcomes_person", "outcomes")
    op.drop_index("ix_directives_type", "directives")
    op.drop_index("ix_directives_newest", "directives")
    op.drop_index("ix_directives_concerns", "directives")
