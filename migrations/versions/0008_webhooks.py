"""Webhooks: what operators registered, how far each is, and the secrets that sign its deliveries."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    """
    CREATE TABLE public.webhooks (
        webhook_id      text PRIMARY KEY,
        url             text NOT NULL,
        lifecycle       boolean NOT NULL,
        min_cost        int8,
        fills_of        text,
        created_at      timestamptz NOT NULL DEFAULT now(),
        idempotency_key text UNIQUE,
        log             text NOT NULL,
        position        int8 NOT NULL,
        delivered_at    timestamptz,
        failing_since   timestamptz,
        attempts        int8 NOT NULL DEFAULT 0,
        next_attempt_at timestamptz,
        last_error      text,
        disabled_at     timestamptz
    )
    """,
    """
    CREATE TABLE public.webhook_secrets (
        webhook_id      text NOT NULL REFERENCES public.webhooks ON DELETE CASCADE,
        secret          text NOT NULL,
        idempotency_key text,
        created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
        ends_at         timestamptz,
        PRIMARY KEY (webhook_id, secret),
        UNIQUE (webhook_id, idempotency_key)
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
