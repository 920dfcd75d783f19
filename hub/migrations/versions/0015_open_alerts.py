"""The alerts that stand, wait, were put off or taken are found among all that ever were."""

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: None = None
depends_on: None = None

INDEXES = (
    ("ix_alerts_standing", "withdrawn_at IS NULL", "participant"),
    ("ix_alerts_open", "acknowledged_at IS NULL AND withdrawn_at IS NULL AND rule <> ''", "participant"),
    ("ix_alerts_taken", "acknowledged_at IS NOT NULL", "acknowledged_at"),
    ("ix_alerts_snoozed", "snoozed_until IS NOT NULL", "snoozed_until"),
)


def upgrade() -> None:
    """Creates the indexes."""
    for name, which, by in INDEXES:
        where = sa.text(which)
        op.create_index(name, "alerts", ["stakeholder", by], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Drops them."""
    for name, _, _ in INDEXES:
        op.drop_index(name, "alerts")
