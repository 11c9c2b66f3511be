"""Sessions of browsers in PostgreSQL: begin, find and end them. The database has only the hashes of their tokens.

A session stands for an API key, and ends with it. A browser sends its cookies to every server on the same host, whatever its
port; so it holds a token that is good for a few hours, and never the key.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any, Final

from psycopg.sql import SQL, Identifier

from api import key_store

if TYPE_CHECKING:
    from psycopg import Connection

    from api.key_store import Key

SESSION_SECONDS: Final = 12 * 3600
"""The life of a session."""

CODE_SECONDS: Final = 600
"""The life of the code in a link that signs in."""

_VALID: Final = "k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"


def begin(connection: Connection[Any], key_id: str) -> str:
    """Begin a session of a key; return its token, which nobody can read later. Sessions that have expired are forgotten."""
    return _made(connection, Identifier("public", "sessions"), key_id, secrets.token_urlsafe(32), SESSION_SECONDS)


def find(connection: Connection[Any], token: str) -> Key | None:
    """Return the key that a session stands for, with the earlier end of both; None when either has ended."""
    row = connection.execute(
        "SELECT k.key_id, k.prefix, k.roles, k.account_id, k.name, k.created_at, least(k.expires_at, s.expires_at), "
        "k.last_used_at, k.revoked_at FROM public.sessions s JOIN public.api_keys k USING (key_id) "
        f"WHERE s.hash = %s AND s.expires_at > now() AND {_VALID}",
        [_hash(token)],
    ).fetchone()
    return None if row is None else key_store.Key(*row)


def end(connection: Connection[Any], token: str) -> None:
    """End a session, if there is one. Every process that listens to `key_store.CHANNEL` learns of it."""
    connection.execute("DELETE FROM public.sessions WHERE hash = %s", [_hash(token)])
    connection.execute(f"NOTIFY {key_store.CHANNEL}")


def make_code(connection: Connection[Any], key_id: str) -> str:
    """Return a code that signs in with a key, once, within ten minutes."""
    return _made(connection, Identifier("public", "sign_in_codes"), key_id, secrets.token_urlsafe(24), CODE_SECONDS)


def use_code(connection: Connection[Any], code: str) -> str | None:
    """Return the id of the key that a code signs in with, and use the code up; None for an unknown or ended one."""
    row = connection.execute(
        "DELETE FROM public.sign_in_codes c USING public.api_keys k "
        f"WHERE c.hash = %s AND c.expires_at > now() AND k.key_id = c.key_id AND {_VALID} RETURNING c.key_id",
        [_hash(code)],
    ).fetchone()
    return None if row is None else str(row[0])


def _made(connection: Connection[Any], table: Identifier, key_id: str, secret: str, seconds: int) -> str:
    """Keep the hash of a secret for these seconds, forget those that have expired, and return the secret."""
    connection.execute(SQL("DELETE FROM {} WHERE expires_at < now()").format(table))
    connection.execute(
        SQL("INSERT INTO {} (hash, key_id, expires_at) VALUES (%s, %s, now() + make_interval(secs => %s))").format(
            table
        ),
        [_hash(secret), key_id, seconds],
    )
    return secret


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
