"""How words are taken from texts that can be searched: as they are, until a setting names a language."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the text search configuration."""
    op.execute("CREATE TEXT SEARCH CONFIGURATION public.tidings (COPY = pg_catalog.simple)")
