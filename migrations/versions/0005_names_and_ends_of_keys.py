"""API keys have names, an expiry, a last use and an origin: the settings, the first start, an invitation, or a request.

From the secret of the server follow those of invitations and of their keys, so that a request that is sent again gets them.

A key from the settings was chosen by somebody: nothing that is shown of it may follow from it, neither its prefix nor its id.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    "ALTER TABLE public.api_keys RENAME COLUMN label TO name",
    """
    ALTER TABLE public.api_keys
        ADD COLUMN origin text NOT NULL DEFAULT 'made',
        ADD COLUMN expires_at timestamptz,
        ADD COLUMN last_used_at timestamptz
    """,
    "CREATE TABLE public.server_secrets (name text PRIMARY KEY, secret bytea NOT NULL)",
    "UPDATE public.api_keys SET origin = 'first' WHERE name = 'first key'",
    """
    UPDATE public.api_keys SET origin = 'settings', prefix = '', key_id = 'key_' || replace(gen_random_uuid()::text, '-', '')
    WHERE name = 'from TIDINGS_OPERATOR_KEY'
    """,
)


def upgrade() -> None:
    """Change the table."""
    for statement in STATEMENTS:
        op.execute(statement)
