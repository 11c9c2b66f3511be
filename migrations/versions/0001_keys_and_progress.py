"""API keys, the progress of read models, and parked and skipped events: the tables from before there were migrations.

A database from that time has these tables already, and keeps them.
"""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS public.api_keys (
        key_id      text PRIMARY KEY,
        hash        bytea NOT NULL UNIQUE,
        prefix      text NOT NULL,
        roles       text[] NOT NULL,
        account_id  text,
        label       text NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT now(),
        revoked_at  timestamptz
    )
    """,
    "CREATE SCHEMA IF NOT EXISTS read_models",
    """
    CREATE TABLE IF NOT EXISTS read_models.projection_positions (
        projection  text NOT NULL,
        partition   int8 NOT NULL,
        position    int8 NOT NULL,
        time        int8 NOT NULL,
        version     int8 NOT NULL,
        generation  int8 NOT NULL,
        updated_at  int8 NOT NULL,
        PRIMARY KEY (projection, partition)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS read_models.projection_tables (
        projection  text PRIMARY KEY,
        tables      text[] NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS read_models.projection_parked (
        projection  text NOT NULL,
        partition   int8 NOT NULL,
        position    int8 NOT NULL,
        keys        text[] NOT NULL,
        topic       text NOT NULL,
        error       text,
        parked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        attempts    int8 NOT NULL DEFAULT 1,
        PRIMARY KEY (projection, partition, position)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS read_models.projection_skipped (
        projection  text NOT NULL,
        partition   int8 NOT NULL,
        position    int8 NOT NULL,
        skipped_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        reason      text NOT NULL,
        PRIMARY KEY (projection, partition, position)
    )
    """,
)


def upgrade() -> None:
    """Create the tables that are missing."""
    for statement in TABLES:
        op.execute(statement)
