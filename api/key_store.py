"""API keys in PostgreSQL: create, list, revoke and find them. The database has only their hashes.

A key is 256 random bits: nobody can guess one, so one SHA-256 protects it as well as any slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import Connection

Role = Literal["trader", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

_FIRST_KEY_LOCK: Final = 0x7469_6469  # one process makes the first key; others that start at the same time wait


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as the database knows it: without its secret."""

    key_id: str
    prefix: str
    roles: list[Role]
    account_id: str | None
    label: str
    created_at: datetime
    revoked_at: datetime | None


class IdempotencyKeyReused(Exception):  # noqa: N818  named for what a caller has to tell
    """Another key was made with this idempotency key."""


_COLUMNS: Final = "key_id, prefix, roles, account_id, label, created_at, revoked_at"


def make_first_key(connection: Connection[Any], given: str | None) -> str | None:
    """Make the first key, with the roles operator and admin, if there is no key; return its secret if it is random.

    `given` is the secret from the settings. If it is unknown, it becomes a key even when there are others already.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_FIRST_KEY_LOCK])
        first = connection.execute("SELECT 1 FROM public.api_keys LIMIT 1").fetchone() is None
        if given is not None:
            known = connection.execute("SELECT 1 FROM public.api_keys WHERE hash = %s", [_hash(given)]).fetchone()
            if known is None:
                _insert(connection, given, ("operator", "admin"), None, "from TIDINGS_OPERATOR_KEY")
            return None
        if not first:
            return None
        secret = _new_secret()
        _insert(connection, secret, ("operator", "admin"), None, "first key")
        return secret


def create(
    connection: Connection[Any],
    roles: Sequence[Role],
    account_id: str | None,
    label: str,
    idempotency_key: str | None = None,
) -> tuple[str | None, Key]:
    """Make a key; return its secret, which nobody can read later, and the key.

    If a key was made with this `idempotency_key` before, return that key, and None instead of its secret.

    Raises:
        IdempotencyKeyReused: that key has other roles, another account or another label.
    """
    secret, wanted = _new_secret(), [role for role in ROLES if role in roles]
    made = _insert(connection, secret, wanted, account_id, label, idempotency_key)
    if made is not None:
        return secret, made
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM public.api_keys WHERE idempotency_key = %s", [idempotency_key])
        first = cursor.fetchone()
    assert first is not None, "only an idempotency key can be in the way of a new key"
    if (first.roles, first.account_id, first.label) != (wanted, account_id, label):
        raise IdempotencyKeyReused
    return None, first


def every(connection: Connection[Any]) -> list[Key]:
    """Return all keys, oldest first, revoked ones included."""
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM public.api_keys ORDER BY created_at, key_id")
        return cursor.fetchall()


def revoke(connection: Connection[Any], key_id: str) -> Key | None:
    """Revoke the key with this id for ever and return it; None when there is no such key."""
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        cursor.execute(
            "UPDATE public.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %s "
            f"RETURNING {_COLUMNS}",
            [key_id],
        )
        return cursor.fetchone()


def find(connection: Connection[Any], secret: str) -> Key | None:
    """Return the key with this secret, None when it is unknown or revoked."""
    digest = _hash(secret)
    cursor = connection.execute(
        f"SELECT hash, {_COLUMNS} FROM public.api_keys WHERE hash = %s AND revoked_at IS NULL", [digest]
    )
    row = cursor.fetchone()
    if row is None or not hmac.compare_digest(row[0], digest):
        return None
    return Key(*row[1:])


def signer(connection: Connection[Any], key_id: str) -> tuple[bytes, str] | None:
    """Return the SHA-256 of a key's secret and its account, None unless it is a trader's key that has not ended.

    Whoever holds the secret signs orders over Kafka with that hash (messages/signed_orders.py).
    """
    row = connection.execute(
        "SELECT hash, account_id FROM public.api_keys "
        "WHERE key_id = %s AND revoked_at IS NULL AND account_id IS NOT NULL AND 'trader' = ANY(roles)",
        [key_id],
    ).fetchone()
    return None if row is None else (bytes(row[0]), str(row[1]))


def public(key: Key) -> dict[str, Any]:
    """Return a key in JSON's types, without its secret, for HTTP and the command line."""
    return {
        "key_id": key.key_id,
        "prefix": key.prefix,
        "roles": key.roles,
        "account_id": key.account_id,
        "label": key.label,
        "created_at": key.created_at.isoformat(),
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }


def _new_secret() -> str:
    return f"tdg_{secrets.token_urlsafe(32)}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _insert(
    connection: Connection[Any],
    secret: str,
    roles: Sequence[Role],
    account_id: str | None,
    label: str,
    idempotency_key: str | None = None,
) -> Key | None:
    """Add a key and return it; return None if there is one with this `idempotency_key`."""
    digest = _hash(secret)
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        cursor.execute(
            "INSERT INTO public.api_keys (key_id, hash, prefix, roles, account_id, label, idempotency_key) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) "
            f"ON CONFLICT (idempotency_key) DO NOTHING RETURNING {_COLUMNS}",
            [f"key_{digest.hex()[:16]}", digest, secret[:8], list(roles), account_id, label, idempotency_key],
        )
        return cursor.fetchone()
