"""References: the id, slug or name by which a caller names a story, market or account, resolved to the id."""

from __future__ import annotations

from collections import OrderedDict
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

Kind = Literal["story", "market", "account"]

CACHED_MAX: Final = 100_000
"""The most references in the cache."""


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

    def __init__(self, pool: ConnectionPool[Connection[Any]]) -> None:
        self._pool = pool
        self._cache: OrderedDict[tuple[Kind, str], str] = OrderedDict()

    async def resolve(self, kind: Kind, reference: str) -> str:
        """Return the id of a reference; an unknown reference is returned as it is, and the engine refuses it.

        Raises:
            ApiError: the kind's NOT_FOUND, when the reference is unknown and no command may have it for an id.
        """
        found = self.known(kind, reference) or await self.find(kind, reference)
        if found is None and not is_id_text(reference):
            raise ApiError(f"{kind.upper()}_NOT_FOUND", f"no such {kind}", {kind: reference})
        return found or reference

    async def find(self, kind: Kind, reference: str) -> str | None:
        """Return the id of the story, market or account if the read models have it, else None."""
        found = await run_in_threadpool(self._look_up, kind, reference)
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

    def _look_up(self, kind: Kind, reference: str) -> str | None:
        try:
            with self._pool.connection() as connection:
                match kind:
                    case "story":
                        with read(connection, stories.get_story) as as_of:
                            story = stories.get_story(connection, as_of, reference)
                            return story.story_id if story else None
                    case "market":
                        with read(connection, "markets") as as_of:
                            market = markets.get_market(connection, as_of, reference)
                            return market.market_id if market else None
                    case "account":
                        with read(connection, accounts.get_account) as as_of:
                            account = accounts.get_account(connection, as_of, reference)
                            return account.account_id if account else None
        except UnknownProjection:
            return None
