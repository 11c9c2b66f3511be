"""The schema of the views for dashboards. The views themselves follow the read models: see projections/dashboards/roles.py."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make it."""
    op.execute("CREATE SCHEMA IF NOT EXISTS dashboards")
