"""The schema for the dashboards' views. The views are created with the read models: see projections/dashboards/roles.py."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the schema."""
    op.execute("CREATE SCHEMA IF NOT EXISTS dashboards")
