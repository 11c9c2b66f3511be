"""Authentication: from the bearer key to a principal, and what its roles allow."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.concurrency import run_in_threadpool

from api import key_store, session_store
from api.http.errors import ApiError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from api.key_store import Role

CACHE_SECONDS: Final = 60.0
"""The life of a cached key while `KeyWatch` hears of every revoked key; so a key's last use is known to the minute."""

UNWATCHED_SECONDS: Final = 0.5
"""The life of a cached key while nobody hears of revoked keys, and so the longest that a revoked key then works."""

WATCHED_SECONDS: Final = 0.75
"""The age at which the last answer to `KeyWatch` no longer says that no key was revoked."""

CACHED_MAX: Final = 10_000
"""The most keys in the cache."""

SESSION_SCHEME: Final = "Session "
"""The beginning of the header `Authorization` of a request with the cookie of a session; `api.page.cookies` writes it."""


ACTORS: Final[tuple[Role, ...]] = ("trader", "admin")
"""The roles that act for accounts: trade, cancel, quote, dispute, withdraw."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller that a key stands for."""

    key_id: str
    roles: frozenset[Role]
    account_id: str | None
    name: str = ""
    expires_at: datetime | None = None

    @property
    def scope(self) -> str | None:
        """The account to which its idempotency keys are scoped; None for operators and admins: the whole exchange."""
        return self.account_id if self.roles.isdisjoint({"operator", "admin"}) else None

    @property
    def sees_all(self) -> bool:
        """Whether it may read what is private to any account, and the log as a whole."""
        return not self.roles.isdisjoint({"analyst", "admin"})

    def may_see(self, account_id: str) -> bool:
        """Return whether it may read what is private to the account: a trader or reader of its own, or who sees all."""
        own = self.account_id == account_id and not self.roles.isdisjoint({"trader", "reader"})
        return own or self.sees_all

    def may_act_for(self, account_id: str) -> bool:
        """Return whether it may trade for the account: a trader for its own, an admin for any, an operator for none."""
        return "admin" in self.roles or ("trader" in self.roles and self.account_id == account_id)

    def check_may_act_for(self, account_id: str) -> None:
        """Raise ApiError FORBIDDEN unless it may act for the account."""
        if not self.may_act_for(account_id):
            raise ApiError(
                "FORBIDDEN",
                "this needs the trader's key of the account itself, or one with the role admin",
                {"account_id": account_id, "roles": sorted(self.roles)},
            )


class ValidKey(NamedTuple):
    """A key that was valid at a time of `time.monotonic`, until another one unless it is revoked."""

    principal: Principal
    found_at: float
    expires_at: float


class Keys:
    """Looks keys up in the database, with a cache of valid keys.

    Unknown keys are not cached: each guess costs a query, and no guess can push a valid key out of the cache. A revoked key
    stops working within a second: `KeyWatch` calls `forget`, and sets `heard_at` to the last time at which it had heard of
    every revoked key. Without it a cached key lives for `UNWATCHED_SECONDS`. `used_at` is the last time at which a cached
    key was asked for.
    """

    def __init__(self, pool: ConnectionPool[Connection[Any]]) -> None:
        self._pool = pool
        self._cache: OrderedDict[str, ValidKey] = OrderedDict()
        self._forgotten_at = -math.inf
        self.heard_at = -math.inf
        self.used_at = -math.inf

    async def look_up(self, header: str) -> ValidKey:
        """Return the key in a header `Authorization`, or the key that a session of the pages stands for.

        Raises:
            ApiError: UNAUTHENTICATED, when the key is unknown, revoked or expired, or not a bearer key.
        """
        scheme, _, secret = header.partition(" ")
        secret = secret.strip()
        is_session = header.startswith(SESSION_SCHEME)
        if (scheme.lower() != "bearer" and not is_session) or not secret:
            raise ApiError("UNAUTHENTICATED", "the key must be sent as `Authorization: Bearer <key>`")
        cache = self._cache  # a key that is revoked while it is looked up goes into a cache that is forgotten
        cached_as = header if is_session else secret
        cached = cache.get(cached_as)
        if cached is not None and self.is_valid(cached, time.monotonic()):
            return cached
        asked_at = time.monotonic()
        key = await run_in_threadpool(self._find_session if is_session else self._find, secret)
        if key is None:
            cache.pop(cached_as, None)
            raise ApiError("UNAUTHENTICATED", "the key is unknown, revoked or expired")
        principal = Principal(key.key_id, frozenset(key.roles), key.account_id, key.name, key.expires_at)
        left = math.inf if key.expires_at is None else (key.expires_at - datetime.now(UTC)).total_seconds()
        found = cache[cached_as] = ValidKey(principal, asked_at, asked_at + left)
        cache.move_to_end(cached_as)
        if len(cache) > CACHED_MAX:
            cache.popitem(last=False)
        return found

    def is_valid(self, key: ValidKey, now: float) -> bool:
        """Return whether a key that was looked up is still valid, without a look into the database."""
        self.used_at = now
        seconds = CACHE_SECONDS if now - self.heard_at < WATCHED_SECONDS else UNWATCHED_SECONDS
        return now < key.expires_at and self._forgotten_at < key.found_at and now - key.found_at < seconds

    def _find(self, secret: str) -> key_store.Key | None:
        with self._pool.connection() as connection:
            return key_store.find(connection, secret)

    def _find_session(self, token: str) -> key_store.Key | None:
        with self._pool.connection() as connection:
            return session_store.find(connection, token)

    def forget(self) -> None:
        """Look every key up again, from any thread: a revoked key stops working at once."""
        self._forgotten_at = time.monotonic()
        self._cache = OrderedDict()


def require(principal: Principal | None, *roles: Role) -> Principal:
    """Return the principal if it has one of the roles.

    Raises:
        ApiError: UNAUTHENTICATED without a key, FORBIDDEN without such a role.
    """
    if principal is None:
        raise ApiError("UNAUTHENTICATED", "this needs a key: `Authorization: Bearer <key>`")
    if principal.roles.isdisjoint(roles):
        raise ApiError(
            "FORBIDDEN", f"this needs a key with the role {' or '.join(roles)}", {"roles": sorted(principal.roles)}
        )
    return principal
