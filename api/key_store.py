"""API keys in PostgreSQL: create, list, revoke and find them. The database has only their hashes.

A key is 256 random bits: nobody can guess one, so one SHA-256 protects it as well as any slow hash. Only the first key may be
one that somebody chose, in the settings: nothing that is shown of it follows from it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import structlog
from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import Connection

Role = Literal["trader", "reader", "operator", "analyst", "admin"]
"""What a key may do: trade for its account, read what is private to its account, run stories and markets, read everything,
or administer accounts and keys and act for any account."""


ROLES: Final[tuple[Role, ...]] = get_args(Role)

_FIRST_KEY_LOCK: Final = 0x7469_6469  # one process makes the first key; others that start at the same time wait


CHANNEL: Final = "tidings_keys"
"""The PostgreSQL channel that tells every process of a revoked key."""

KEYS_MAX: Final = 50
"""The most valid keys that an account may have when it makes another one itself."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as the database knows it: without its secret."""

    key_id: str
    prefix: str
    roles: list[Role]
    account_id: str | None
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """The terms of a key to be made. `expires_at` None means that it never expires."""

    roles: Sequence[Role]
    account_id: str | None = None
    name: str = ""
    expires_at: datetime | None = None


class IdempotencyKeyReused(Exception):  # noqa: N818  named for what a caller has to tell
    """Another key was made with this idempotency key."""


class TooManyKeys(Exception):  # noqa: N818  likewise
    """The account has `KEYS_MAX` valid keys already."""


_COLUMNS: Final = "key_id, prefix, roles, account_id, name, created_at, expires_at, last_used_at, revoked_at"
_VALID: Final = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"


def make_first_key(connection: Connection[Any], given: str | None) -> str | None:
    """Make the first key, with the roles operator and admin, if there is no key; return its secret if it is random.

    `given` is the secret from the settings. If it is unknown, it becomes the first key, and every first key before it is
    revoked: the random one of the first start, or one from other settings. A key that was revoked stays so, with a warning.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_FIRST_KEY_LOCK])
        if given is not None:
            _end_other_first_keys(connection, _hash(given))
            known = connection.execute(
                "SELECT revoked_at IS NOT NULL FROM public.api_keys WHERE hash = %s", [_hash(given)]
            ).fetchone()
            if known is None:
                _insert(connection, given, NewKey(("operator", "admin"), name="from TIDINGS_OPERATOR_KEY"), "settings")
            elif known[0]:
                structlog.get_logger("api").warning("operator_key_is_revoked", setting="TIDINGS_OPERATOR_KEY")
            return None
        if connection.execute("SELECT 1 FROM public.api_keys LIMIT 1").fetchone() is not None:
            return None
        secret = _new_secret()
        _insert(connection, secret, NewKey(("operator", "admin"), name="first key"), "first")
        return secret


def create(
    connection: Connection[Any], new: NewKey, *, idempotency_key: str | None = None, keys_max: int | None = None
) -> tuple[str | None, Key]:
    """Make a key; return its secret, which nobody can read later, and the key.

    If a key was made with this `idempotency_key` before, return that key, and None instead of its secret.

    Raises:
        IdempotencyKeyReused: that key was made with other terms.
        TooManyKeys: the account has `keys_max` valid keys.
    """
    new = NewKey([role for role in ROLES if role in new.roles], new.account_id, new.name, new.expires_at)
    with connection.transaction(), connection.cursor(row_factory=class_row(Key)) as cursor:
        if keys_max is not None:  # the lock lets two requests at once not count the same keys
            connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_FIRST_KEY_LOCK, new.account_id])
        cursor.execute(f"SELECT {_COLUMNS} FROM public.api_keys WHERE idempotency_key = %s", [idempotency_key])
        first = cursor.fetchone()
        if first is None:
            if keys_max is not None and _valid_keys(connection, new.account_id) >= keys_max:
                raise TooManyKeys
            secret = _new_secret()
            made = _insert(connection, secret, new, "made", idempotency_key)
            if made is not None:
                return secret, made
            # Another request has made it just now.
            cursor.execute(f"SELECT {_COLUMNS} FROM public.api_keys WHERE idempotency_key = %s", [idempotency_key])
            first = cursor.fetchone()
    assert first is not None, "only an idempotency key can be in the way of a new key"
    if NewKey(first.roles, first.account_id, first.name, first.expires_at) != new:
        raise IdempotencyKeyReused
    return None, first


def every(connection: Connection[Any], account_id: str | None = None) -> list[Key]:
    """Return all keys, or those of an account, oldest first, revoked and expired ones included."""
    _adopt(connection)
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM public.api_keys WHERE %(account)s::text IS NULL OR account_id = %(account)s "
            "ORDER BY created_at, key_id",
            {"account": account_id},
        )
        return cursor.fetchall()


def revoke(connection: Connection[Any], key_id: str, account_id: str | None = None) -> Key | None:
    """Revoke the key with this id for ever and return it; None when there is no such key, or it is not of the account.

    Every process that listens to `CHANNEL` learns of it.
    """
    _adopt(connection)
    with connection.transaction(), connection.cursor(row_factory=class_row(Key)) as cursor:
        cursor.execute(
            "UPDATE public.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %(key)s "
            f"AND (%(account)s::text IS NULL OR account_id = %(account)s) RETURNING {_COLUMNS}",
            {"key": key_id, "account": account_id},
        )
        found = cursor.fetchone()
        connection.execute(f"NOTIFY {CHANNEL}")
        return found


def find(connection: Connection[Any], secret: str) -> Key | None:
    """Return the key with this secret, None when it is unknown, revoked or expired. Note its use, to the minute."""
    digest = _hash(secret)
    row = connection.execute(
        f"SELECT hash, last_used_at IS NULL OR last_used_at < now() - interval '1 minute', {_COLUMNS} "
        f"FROM public.api_keys WHERE hash = %s AND {_VALID}",
        [digest],
    ).fetchone()
    if row is None and _adopt(connection, digest):
        return find(connection, secret)
    if row is None or not hmac.compare_digest(row[0], digest):
        return None
    if row[1]:
        connection.execute("UPDATE public.api_keys SET last_used_at = now() WHERE hash = %s", [digest])
    return Key(*row[2:])


def signer(connection: Connection[Any], key_id: str) -> tuple[bytes, str] | None:
    """Return the SHA-256 of a key's secret and its account, None unless it is a trader's key that has not ended.

    Whoever holds the secret signs orders over Kafka with that hash (messages/signed_orders.py).
    """
    row = connection.execute(
        "SELECT hash, account_id FROM public.api_keys "
        f"WHERE key_id = %s AND {_VALID} AND account_id IS NOT NULL AND 'trader' = ANY(roles)",
        [key_id],
    ).fetchone()
    return None if row is None else (bytes(row[0]), str(row[1]))


def public(key: Key) -> dict[str, Any]:
    """Return a key in JSON's types, without its secret, for HTTP and the command line."""

    def time(moment: datetime | None) -> str | None:
        return moment.isoformat() if moment else None

    return {
        "key_id": key.key_id,
        "prefix": key.prefix,
        "roles": key.roles,
        "account_id": key.account_id,
        "name": key.name,
        "created_at": key.created_at.isoformat(),
        "expires_at": time(key.expires_at),
        "last_used_at": time(key.last_used_at),
        "revoked_at": time(key.revoked_at),
    }


def derived_secret(connection: Connection[Any], purpose: str) -> str:
    """Return the secret for this purpose: always the same in one database, and known to nobody who does not have it.

    So a request that is sent again gets the same secret, although only its hash is stored.
    """
    connection.execute(
        "INSERT INTO public.server_secrets (name, secret) VALUES ('derivation', %s) ON CONFLICT DO NOTHING",
        [secrets.token_bytes(32)],
    )
    row = connection.execute("SELECT secret FROM public.server_secrets WHERE name = 'derivation'").fetchone()
    assert row is not None, "it was inserted"
    return base64.urlsafe_b64encode(hmac.digest(row[0], purpose.encode(), "sha256")).decode().rstrip("=")


def secret_hash(secret: str) -> str:
    """Return the hash of a secret as hex digits."""
    return _hash(secret).hex()


def is_used(connection: Connection[Any], key_id: str) -> bool:
    """Return whether somebody has used the key, or it was revoked."""
    row = connection.execute(
        "SELECT last_used_at IS NOT NULL OR revoked_at IS NOT NULL FROM public.api_keys WHERE key_id = %s", [key_id]
    ).fetchone()
    return row is not None and bool(row[0])


def _adopt(connection: Connection[Any], digest: bytes | None = None) -> bool:
    """Take keys of invitations over from the read model `invitations`: the one with this hash, or all; return if there was any.

    The log makes these keys. Here they get what the log does not know: that they were used or revoked.
    """
    row = connection.execute("SELECT to_regclass('read_models.invited_keys')").fetchone()
    if row is None or row[0] is None:
        return False
    found = connection.execute(
        "INSERT INTO public.api_keys (key_id, hash, prefix, roles, account_id, name, origin, created_at) "
        "SELECT key_id, decode(key_hash, 'hex'), '', '{trader}', account_id, 'invitation', 'invited', "
        "to_timestamp(time / 1000000.0) FROM read_models.invited_keys k "
        "WHERE (%(hash)s::text IS NULL OR key_hash = %(hash)s) "
        "AND NOT EXISTS (SELECT 1 FROM public.api_keys a WHERE a.hash = decode(k.key_hash, 'hex')) "
        "ON CONFLICT DO NOTHING",
        {"hash": None if digest is None else digest.hex()},
    )
    return found.rowcount > 0


def _end_other_first_keys(connection: Connection[Any], digest: bytes) -> None:
    """Revoke the first keys but the one with this hash, in the settings of an earlier start or made by one."""
    ended = connection.execute(
        "UPDATE public.api_keys SET revoked_at = now() "
        "WHERE origin IN ('settings', 'first') AND hash <> %s AND revoked_at IS NULL",
        [digest],
    ).rowcount
    if ended:
        connection.execute(f"NOTIFY {CHANNEL}")


def _valid_keys(connection: Connection[Any], account_id: str | None) -> int:
    row = connection.execute(
        f"SELECT count(*) FROM public.api_keys WHERE account_id = %s AND {_VALID}", [account_id]
    ).fetchone()
    assert row is not None, "an aggregate always has a row"
    return int(row[0])


def _new_secret() -> str:
    return f"tdg_{secrets.token_urlsafe(32)}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _insert(
    connection: Connection[Any],
    secret: str,
    new: NewKey,
    origin: Literal["settings", "first", "made"],
    idempotency_key: str | None = None,
) -> Key | None:
    """Add a key and return it; return None if there is one with this `idempotency_key`."""
    prefix = "" if origin == "settings" else secret[:8]
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        cursor.execute(
            "INSERT INTO public.api_keys "
            "(key_id, hash, prefix, roles, account_id, name, origin, expires_at, idempotency_key) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) "
            f"ON CONFLICT (idempotency_key) DO NOTHING RETURNING {_COLUMNS}",
            [
                f"key_{secrets.token_hex(8)}",
                _hash(secret),
                prefix,
                list(new.roles),
                new.account_id,
                new.name,
                origin,
                new.expires_at,
                idempotency_key,
            ],
        )
        return cursor.fetchone()
