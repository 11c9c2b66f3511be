"""The identity of the log that a read model was folded from; "" until the projector has noted it."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE read_models.projection_positions ADD COLUMN log text NOT NULL DEFAULT ''")
