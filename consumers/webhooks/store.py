"""Webhooks in PostgreSQL: register, list, remove, enable; their secrets; and how far each is.

A secret signs, so it is stored as it is; only the answer to the request that makes it shows it. Whoever changes a webhook
notifies `CHANNEL`.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import class_row

from consumers.webhooks.deliveries import WebhookFilter

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import Connection

CHANNEL: Final = "tidings_webhooks"
"""The PostgreSQL channel that tells the sender of a webhook that was added, removed or enabled."""

WEBHOOKS_MAX: Final = 50
"""The most webhooks of an exchange: each has requests of its own, up to eight at a time."""

FAILING_SECONDS_MAX: Final = 24 * 3600
"""The time of failures without a break after which a webhook is disabled."""

OLD_SECRET_SECONDS: Final = 24 * 3600
"""The time for which a replaced secret still signs, beside the new one."""

SECRETS_MAX: Final = 5
"""The most secrets that sign at a time: with more rotations the oldest ends earlier."""

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tidings webhooks changed', 0))"
_COLUMNS: Final = (
    "webhook_id, url, lifecycle, min_cost, fills_of, created_at, log, position, delivered_at, failing_since, attempts, "
    "next_attempt_at, last_error, disabled_at"
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook without its secrets. `position` is the last one of `log`, the log's identity, that it is done with."""

    webhook_id: str
    url: str
    lifecycle: bool
    min_cost: int | None
    fills_of: str | None
    created_at: datetime
    log: str
    position: int
    delivered_at: datetime | None
    failing_since: datetime | None
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    disabled_at: datetime | None

    @property
    def wanted(self) -> WebhookFilter:
        """What it is told."""
        return WebhookFilter(self.lifecycle, self.min_cost, self.fills_of)


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place in a log: its identity and a position."""

    log: str
    position: int


class RegistrationReused(Exception):  # noqa: N818  named for what a caller has to tell
    """Another webhook was registered with this idempotency key."""


class TooManyWebhooks(Exception):  # noqa: N818  likewise
    """There are `WEBHOOKS_MAX` webhooks already."""


def register(
    connection: Connection[Any], url: str, wanted: WebhookFilter, after: LogPosition, idempotency_key: str | None = None
) -> tuple[str | None, Webhook]:
    """Register a webhook, to be told what happens after a place in the log; return its secret and the webhook.

    If one was registered with this `idempotency_key` before, return that one, and None instead of its secret.

    Raises:
        RegistrationReused: that one has another URL or filter.
        TooManyWebhooks: there are `WEBHOOKS_MAX`.
    """
    with connection.transaction():
        connection.execute(_LOCK)
        first = _one(connection, "SELECT {} FROM public.webhooks WHERE idempotency_key = %s", [idempotency_key])
        if first is not None:
            if (first.url, first.wanted) != (url, wanted):
                raise RegistrationReused
            return None, first
        row = connection.execute("SELECT count(*) FROM public.webhooks").fetchone()
        if row is not None and row[0] >= WEBHOOKS_MAX:
            raise TooManyWebhooks
        made = _one(
            connection,
            "INSERT INTO public.webhooks (webhook_id, url, lifecycle, min_cost, fills_of, log, position, idempotency_key) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING {}",
            [f"wh_{secrets.token_hex(8)}", url, *wanted, after.log, after.position, idempotency_key],
        )
        assert made is not None, "it was inserted"
        secret = _add_secret(connection, made.webhook_id, None)
        connection.execute(f"NOTIFY {CHANNEL}")
        return secret, made


def every(connection: Connection[Any]) -> list[Webhook]:
    """Return all webhooks, oldest first."""
    with connection.cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} FROM public.webhooks ORDER BY created_at, webhook_id").fetchall()


def find(connection: Connection[Any], webhook_id: str) -> Webhook | None:
    """Return a webhook, None if there is none with this id."""
    return _one(connection, "SELECT {} FROM public.webhooks WHERE webhook_id = %s", [webhook_id])


def remove(connection: Connection[Any], webhook_id: str) -> Webhook | None:
    """Remove a webhook with its secrets and return it as it was; None if there is none with this id."""
    with connection.transaction():
        connection.execute(f"NOTIFY {CHANNEL}")
        return _one(connection, "DELETE FROM public.webhooks WHERE webhook_id = %s RETURNING {}", [webhook_id])


def rotate(
    connection: Connection[Any], webhook_id: str, idempotency_key: str | None = None
) -> tuple[str | None, Webhook] | None:
    """Give a webhook a new secret; return it and the webhook, None if there is no such webhook.

    The old ones sign for `OLD_SECRET_SECONDS` more. Asked again with the same `idempotency_key`, nothing is done, and the
    secret is None.
    """
    with connection.transaction():
        connection.execute(_LOCK)
        if (found := find(connection, webhook_id)) is None:
            return None
        query = "SELECT 1 FROM public.webhook_secrets WHERE webhook_id = %s AND idempotency_key = %s"
        if connection.execute(query, [webhook_id, idempotency_key]).fetchone():
            return None, found
        connection.execute(
            "UPDATE public.webhook_secrets SET ends_at = now() + make_interval(secs => %s) "
            "WHERE webhook_id = %s AND ends_at IS NULL",
            [OLD_SECRET_SECONDS, webhook_id],
        )
        secret = _add_secret(connection, webhook_id, idempotency_key)
        connection.execute(
            "DELETE FROM public.webhook_secrets WHERE webhook_id = %(id)s AND (ends_at < now() OR secret NOT IN ("
            "SELECT secret FROM public.webhook_secrets WHERE webhook_id = %(id)s ORDER BY created_at DESC LIMIT %(most)s))",
            {"id": webhook_id, "most": SECRETS_MAX},
        )
        return secret, found


def enable(connection: Connection[Any], webhook_id: str, end: LogPosition, *, skip: bool) -> Webhook | None:
    """Let a webhook try again at once, and return it; None if there is no such webhook.

    It continues where it was. With `skip`, or if that place is not in this log, it continues at the log's `end`.
    """
    with connection.transaction():
        connection.execute(f"NOTIFY {CHANNEL}")
        return _one(
            connection,
            "UPDATE public.webhooks SET disabled_at = NULL, failing_since = NULL, attempts = 0, next_attempt_at = NULL, "
            "position = CASE WHEN %(skip)s OR log <> %(log)s OR position > %(end)s THEN %(end)s ELSE position END, "
            "log = %(log)s WHERE webhook_id = %(id)s RETURNING {}",
            {"skip": skip, "log": end.log, "end": end.position, "id": webhook_id},
        )


def signing_secrets(connection: Connection[Any], webhook_id: str) -> list[str]:
    """Return the secrets that sign now, newest first."""
    rows = connection.execute(
        "SELECT secret FROM public.webhook_secrets WHERE webhook_id = %s AND (ends_at IS NULL OR ends_at > now()) "
        "ORDER BY created_at DESC",
        [webhook_id],
    ).fetchall()
    return [str(secret) for (secret,) in rows]


# --- what the sender writes


def move(connection: Connection[Any], webhook_id: str, position: int) -> None:
    """Note that there is nothing for the webhook up to this position."""
    connection.execute(
        "UPDATE public.webhooks SET position = greatest(position, %s) WHERE webhook_id = %s", [position, webhook_id]
    )


def note_delivered(connection: Connection[Any], webhook_id: str, position: int) -> None:
    """Note that everything up to this position was delivered."""
    connection.execute(
        "UPDATE public.webhooks SET position = greatest(position, %s), delivered_at = now(), failing_since = NULL, "
        "attempts = 0, next_attempt_at = NULL, last_error = NULL WHERE webhook_id = %s",
        [position, webhook_id],
    )


def note_failure(
    connection: Connection[Any], webhook_id: str, position: int, error: str, pause_seconds: float, *, gone: bool
) -> None:
    """Note that a delivery after this position failed, and when to try again.

    A webhook that has failed for `FAILING_SECONDS_MAX`, or that is gone, is disabled.
    """
    connection.execute(
        "UPDATE public.webhooks SET position = greatest(position, %(position)s), attempts = attempts + 1, "
        "failing_since = coalesce(failing_since, now()), last_error = %(error)s, "
        "next_attempt_at = now() + make_interval(secs => %(pause)s), "
        "disabled_at = CASE WHEN %(gone)s OR failing_since < now() - make_interval(secs => %(longest)s) THEN now() END "
        "WHERE webhook_id = %(id)s",
        {
            "position": position,
            "error": error[:500],
            "pause": pause_seconds,
            "gone": gone,
            "longest": FAILING_SECONDS_MAX,
            "id": webhook_id,
        },
    )


def disable(connection: Connection[Any], webhook_id: str, error: str) -> None:
    """Disable a webhook for this reason."""
    connection.execute(
        "UPDATE public.webhooks SET disabled_at = now(), last_error = %s WHERE webhook_id = %s", [error, webhook_id]
    )


def _one(connection: Connection[Any], query: str, values: Any) -> Webhook | None:
    """Return the row of a query, in which `{}` stands for the columns."""
    with connection.cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(query.format(_COLUMNS), values).fetchone()


def _add_secret(connection: Connection[Any], webhook_id: str, idempotency_key: str | None) -> str:
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    connection.execute(
        "INSERT INTO public.webhook_secrets (webhook_id, secret, idempotency_key) VALUES (%s, %s, %s)",
        [webhook_id, secret, idempotency_key],
    )
    return secret
