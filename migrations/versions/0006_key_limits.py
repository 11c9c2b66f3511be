"""Rates of their own for single API keys."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table."""
    op.execute(
        """
        CREATE TABLE public.api_key_limits (
            key_id text PRIMARY KEY,
            rates jsonb NOT NULL
        )
        """
    )
