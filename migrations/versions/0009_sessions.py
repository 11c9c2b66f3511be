"""Sessions of browsers, and the codes of links that sign in: each stands for a key and ends with it."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    """
    CREATE TABLE public.sessions (
        hash       bytea PRIMARY KEY,
        key_id     text NOT NULL REFERENCES public.api_keys (key_id) ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE public.sign_in_codes (
        hash       bytea PRIMARY KEY,
        key_id     text NOT NULL REFERENCES public.api_keys (key_id) ON DELETE CASCADE,
        expires_at timestamptz NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
