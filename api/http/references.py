"""References: the id, slug or name by which a caller names a story, market or account, resolved to the id."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

from starlette.concurrency import run_in_threadpool

from api.http.errors import ApiError, invalid_field
from messages.fields import ID, InvalidCommand
from messages.names import is_id
from projections import accounts, stories
from projections.markets import markets
from projections.reading import UnknownProjection, read

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from api.http.auth import Principal
    from api.http.waits import Waits
    from projections.reading import Query

Kind = Literal["story", "market", "account"]

CACHED_MAX: Final = 100_000
"""The most references in the cache."""

UNKNOWN_SECONDS: Final = 5.0
"""The longest wait for read models that may not have what a reference names yet."""

_NEEDS: Final[dict[Kind, Query[..., Any] | str]] = {
    "story": stories.get_story,
    "market": "markets",
    "account": accounts.get_account,
}
"""What the look-up of each kind needs."""


def is_id_text(text: str) -> bool:
    """Return whether a command may have this text for an id."""
    try:
        ID.check(text, "")
    except InvalidCommand:
        return False
    return True


class References:
    """Resolves references, with a cache: a slug or a name belongs to the same id for ever.

    A reference in the form of an id is taken for one without a query; no slug and no name has this form.
    """

    def __init__(self, pool: ConnectionPool[Connection[Any]], waits: Waits) -> None:
        self._pool = pool
        self._waits = waits
        self._cache: OrderedDict[tuple[Kind, str], str] = OrderedDict()

    async def resolve(self, kind: Kind, reference: str) -> str:
        """Return the id of a reference; an unknown reference is returned as it is, and the engine refuses it.

        Raises:
            ApiError: the kind's NOT_FOUND, when the reference is unknown and no command may have it for an id; as `find`.
        """
        found = self.known(kind, reference) or await self.find(kind, reference)
        if found is None and not is_id_text(reference):
            raise ApiError(f"{kind.upper()}_NOT_FOUND", f"no such {kind}", {kind: reference})
        return found or reference

    async def find(self, kind: Kind, reference: str) -> str | None:
        """Return the id of the story, market or account if there is one, else None.

        Whoever got a reply may name what it made. So nothing counts as unknown before the read models include all replies.

        Raises:
            ApiError: UNAVAILABLE, when they are late, or behind what they were after a crash of PostgreSQL.
        """
        told = self._waits.told
        found, position = await run_in_threadpool(self._look_up, kind, reference)
        if found is None and position < told:
            with suppress(ApiError):  # too many wait: this one does not
                await self._waits.reached(None, "writes", [_NEEDS[kind]], told, monotonic() + UNKNOWN_SECONDS)
            found, position = await run_in_threadpool(self._look_up, kind, reference)
            if found is None and position < told:
                raise ApiError("UNAVAILABLE", f"the {kind} may not be in the read models yet", retry_after_seconds=1)
        if found is not None:
            self._cache[kind, reference] = found
            self._cache.move_to_end((kind, reference))
            if len(self._cache) > CACHED_MAX:
                self._cache.popitem(last=False)
        return found

    def known(self, kind: Kind, reference: str) -> str | None:
        """Return the id of a reference if it needs no query, else None."""
        if is_id(reference):
            return reference
        return self._cache.get((kind, reference))

    async def acting_account(self, principal: Principal, reference: str | None) -> str:
        """Return the id of the account that the principal acts for: the one that `reference` names, or its own.

        Raises:
            ApiError: FORBIDDEN for another's account, INVALID_FIELD without a reference and an account of its own.
        """
        if reference is None:
            if principal.account_id is None:
                raise invalid_field("account", "is required with a key that has no account of its own")
            account_id = principal.account_id
        else:
            account_id = await self.resolve("account", reference)
        principal.check_may_act_for(account_id)
        return account_id

    def _look_up(self, kind: Kind, reference: str) -> tuple[str | None, int]:
        """Return the id or None, and the position that this is known for: 0 while nothing was ever folded."""
        try:
            with self._pool.connection() as connection, read(connection, _NEEDS[kind]) as as_of:
                match kind:
                    case "story":
                        story = stories.get_story(connection, as_of, reference)
                        return story.story_id if story else None, as_of.position
                    case "market":
                        market = markets.get_market(connection, as_of, reference)
                        return market.market_id if market else None, as_of.position
                    case "account":
                        account = accounts.get_account(connection, as_of, reference)
                        return account.account_id if account else None, as_of.position
        except UnknownProjection:
            return None, 0
