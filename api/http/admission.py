"""Admission: who sends a request, and whether it may be served now. Before its body is read, and before any other work.

`Admission.admit` notes the caller in the scope: a principal, None without a key, or the error of an invalid key, which the
routes that ask for the caller raise.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.concurrency import run_in_threadpool

from api import key_limits
from api.http.addresses import network_of
from api.http.auth import SESSION_SCHEME
from api.http.errors import ANSWERED, ApiError
from api.http.rate_limits import ORDER_OF_BATCH, Rates, kind_of

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool
    from starlette.types import Scope

    from api.http.auth import Keys, Principal, ValidKey
    from api.http.rate_limits import RateLimits

OWN_RATES_SECONDS: Final = 60.0
"""The time for which the rates of a key are remembered."""

BODY_OF_WRITE: Final = 4_096
"""The most bytes of a body that are included in a write."""

SHARED_SECONDS: Final = 0.25
"""The time for which requests join a look-up of their key that has begun. A key that was revoked may work so much longer."""

REMEMBERED_MAX: Final = 10_000
"""The most keys whose caller and rates are remembered."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request: who it is, and the subject whose buckets it takes from.

    `found` is the principal, None without a key, or the error of an invalid one.
    """

    found: Principal | Exception | None
    subject: str
    rates: Rates

    def principal(self) -> Principal | None:
        """Return who asks, None without a key; raises the error of an invalid key."""
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class _Known(NamedTuple):
    """The caller behind a header `Authorization`, whose rates are known until a time of `time.monotonic`."""

    key: ValidKey
    caller: Caller
    until: float


class Admission:
    """Admits the requests of one server."""

    def __init__(self, keys: Keys, pool: ConnectionPool[Connection[Any]], limits: RateLimits) -> None:
        self._keys = keys
        self._pool = pool
        self._limits = limits
        self._known: OrderedDict[bytes, _Known] = OrderedDict()  # by header; whoever is here had a valid key
        self._asked: dict[bytes, tuple[float, asyncio.Future[Caller]]] = {}  # by header: when a look-up began

    async def admit(self, scope: Scope) -> ApiError | None:
        """Note the caller of a request in its scope and count the request; return the error of one too many."""
        try:
            caller = scope["tidings.caller"] = await self._caller(scope)
            kind = kind_of(scope.get("method", "GET"), scope["path"], scope["query_string"])
            self._limits.charge(kind, caller.subject, caller.rates)
        except ApiError as error:
            return error
        scope["tidings.kind"] = kind
        return None

    def known_caller(self, scope: Scope) -> Caller | None:
        """Return the caller of a request, or None if only `admit` can tell; count nothing."""
        header = _authorization(scope)
        if header is None:
            return Caller(None, _address(scope), self._limits.of_addresses)
        return self._remembered(header, monotonic())

    def charge_read(self, caller: Caller) -> bool:
        """Count a read that is not costly; return False, and count nothing, where it is one too many."""
        try:
            self._limits.charge("reads", caller.subject, caller.rates)
        except ApiError:
            return False
        return True

    def charge_batch(self, scope: Scope, orders: int) -> None:
        """Count the orders of a batch; raises ApiError RATE_LIMITED, before any of them is sent."""
        caller: Caller = scope["tidings.caller"]
        self._limits.charge("writes", caller.subject, caller.rates, (orders - 1) * ORDER_OF_BATCH)

    def charge_quotes(self, scope: Scope, quotes: int) -> None:
        """Count quotes that a page asks for like a batch of orders: the page itself is a read.

        Raises:
            ApiError: RATE_LIMITED, before any of them is asked for.
        """
        caller: Caller = scope["tidings.caller"]
        self._limits.charge("writes", caller.subject, caller.rates, 1 + (quotes - 1) * ORDER_OF_BATCH)

    def count_body(self, scope: Scope, size: int) -> None:
        """Count a body that was read: each 4 KiB of it, from the second on, are as much work as a write."""
        if size > BODY_OF_WRITE:
            caller: Caller = scope["tidings.caller"]
            self._limits.count("writes", caller.subject, caller.rates, size / BODY_OF_WRITE - 1)

    def count_failed_key(self, scope: Scope) -> None:
        """Count a key that was not valid, in a form; raises ApiError RATE_LIMITED for an address that tries too many."""
        address = _address(scope)
        self._limits.check("failed_keys", address, self._limits.of_addresses)
        self._limits.count("failed_keys", address, self._limits.of_addresses)

    def count_refusals(self, scope: Scope, refusals: int) -> None:
        """Count commands of a request that the rules have refused."""
        caller: Caller = scope["tidings.caller"]
        self._limits.count("refusals", caller.subject, caller.rates, refusals)

    async def _caller(self, scope: Scope) -> Caller:
        """Return the caller; raises ApiError RATE_LIMITED for an address that tries too many keys."""
        header = _authorization(scope)
        if header is None:
            return Caller(None, _address(scope), self._limits.of_addresses)
        if (caller := self._remembered(header, monotonic())) is not None:
            return caller  # nearly all requests end here
        if header not in self._known:  # whoever had a valid key is not kept out by a stranger at its address
            self._limits.check("failed_keys", _address(scope), self._limits.of_addresses)
        try:
            return await self._shared_look_up(header)
        except ANSWERED as error:
            return self._unknown(scope, header, error)

    async def _shared_look_up(self, header: bytes) -> Caller:
        """Look a key up, once for all who ask at the same time: a thousand requests with one key take one connection."""
        now = monotonic()
        began, task = self._asked.get(header, (-SHARED_SECONDS, None))
        if task is None or now - began > SHARED_SECONDS:
            task = asyncio.ensure_future(self._look_up(header))
            self._asked[header] = now, task
            task.add_done_callback(partial(self._answered, header))
        return await asyncio.shield(task)  # whoever leaves does not end it for the others

    def _answered(self, header: bytes, task: asyncio.Future[Caller]) -> None:
        if self._asked.get(header, (0.0, None))[1] is task:
            del self._asked[header]
        if not task.cancelled():
            task.exception()  # perhaps nobody waits for it any more

    def _remembered(self, header: bytes, now: float) -> Caller | None:
        known = self._known.get(header)
        if known is not None and now < known.until and self._keys.is_valid(known.key, now):
            return known.caller
        return None

    def _unknown(self, scope: Scope, header: bytes, error: Exception) -> Caller:
        """Return the caller whose key is not valid, or cannot be looked up now."""
        address, rates = _address(scope), self._limits.of_addresses
        if isinstance(error, ApiError):
            self._known.pop(header, None)
            if header.startswith(SESSION_SCHEME.encode()):  # a browser sends its cookie for longer than a session lives
                return Caller(None, address, rates)
            self._limits.count("failed_keys", address, rates)
        return Caller(error, address, rates)

    async def _look_up(self, header: bytes) -> Caller:
        """Return the caller of a key, whose own rates may be in the database, and remember it."""
        key = await self._keys.look_up(header.decode("latin-1"))
        known, principal = self._known.get(header), key.principal
        if known is not None and known.until > monotonic():  # only the principal was made anew
            until, caller = known.until, Caller(principal, known.caller.subject, known.caller.rates)
        else:
            own = await run_in_threadpool(self._own_rates, principal.key_id)
            until = monotonic() + OWN_RATES_SECONDS
            # All keys of an account share its buckets: more keys are not more requests. Rates of its own, buckets of its own.
            subject = principal.key_id if own else principal.account_id or principal.key_id
            caller = Caller(principal, subject, self._limits.of_keys.but(own))
        self._known[header] = _Known(key, caller, until)
        self._known.move_to_end(header)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return caller

    def _own_rates(self, key_id: str) -> dict[str, float]:
        with self._pool.connection() as connection:
            return key_limits.find(connection, key_id)


def _authorization(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    return None


def _address(scope: Scope) -> str:
    """Return the address that a request without a key counts for; behind a proxy of the settings, its client's."""
    client = scope.get("client")
    return network_of(client[0]) if client else ""
