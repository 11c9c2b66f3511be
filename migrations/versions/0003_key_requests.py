"""The Idempotency-Key with which an API key was made: a request that is sent again makes no second key."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE public.api_keys ADD COLUMN idempotency_key text UNIQUE")
