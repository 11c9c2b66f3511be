"""From what people call a thing (slug or name) to its id, remembered for a moment."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal

from starlette.concurrency import run_in_threadpool

from projections import accounts, stories
from projections.markets import markets
from projections.reading import UnknownProjection, read

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from api.http.auth import Principal

from api.http.errors import ApiError, invalid_field

Kind = Literal["story", "market", "account"]

REMEMBERED: Final = 100_000
REMEMBERED_SECONDS: Final = 5.0
"""Names need not stay unique: one that was given to a second account must not lead to the first for long."""

_ID: Final = re.compile(r"(st|mk|ac|or)_[0-9a-f]{26}")


def is_id(text: str) -> bool:
    """Whether a text has the form of the ids that are made here (see `messages.commands.new_id`)."""
    return _ID.fullmatch(text) is not None


class Names:
    """Resolves references. What looks like an id is one, without a look into the database."""

    def __init__(self, pool: ConnectionPool[Connection[Any]]) -> None:
        self._pool = pool
        self._known: OrderedDict[tuple[Kind, str], tuple[float, str]] = OrderedDict()

    async def resolve(self, kind: Kind, reference: str) -> str:
        """Return the id for an id, slug or name; what nobody knows is returned as it is, for the engine to refuse."""
        known = self.known(kind, reference)
        if known is not None:
            return known
        found = await run_in_threadpool(self._look_up, kind, reference)
        if found is None:
            return reference
        self._known[kind, reference] = (time.monotonic() + REMEMBERED_SECONDS, found)
        self._known.move_to_end((kind, reference))
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found

    def known(self, kind: Kind, reference: str) -> str | None:
        """Return the id where it can be told without a look into the database, else None."""
        if is_id(reference):
            return reference
        known = self._known.get((kind, reference))
        return known[1] if known is not None and known[0] > time.monotonic() else None

    async def acting_account(self, principal: Principal, reference: str | None) -> str:
        """Return the id of the account the principal acts for: the one it names, or its own.

        Raises:
            ApiError: FORBIDDEN for another's account, INVALID_FIELD when its key has no account and it names none.
        """
        if reference is None:
            if principal.account_id is None:
                raise invalid_field("account", "is required with a key that has no account of its own")
            return principal.account_id
        account_id = await self.resolve("account", reference)
        if not principal.may_act_for(account_id):
            raise ApiError("FORBIDDEN", "a trader's key acts for its own account only", {"account": reference})
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
