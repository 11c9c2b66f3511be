"""What a subscription over WebSocket begins with: its markets, and its account's open orders, as of one position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from api.http.serializers import serialize
from domain.money import format_decimal
from projections import orders
from projections.markets import listing, markets
from projections.reading import read

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from api.stream.subscriber import Subscribed

SNAPSHOT_MARKETS_MAX: Final = 1_000
"""The most markets of a snapshot of all markets, the newest ones."""


def snapshot(pool: ConnectionPool[Connection[Any]], wanted: Subscribed) -> tuple[int, dict[str, Any]]:
    """Return the position that the read models stand for, and their state there in JSON's types.

    Raises UnknownProjection where nothing was folded yet.
    """
    with pool.connection() as connection, read(connection, "markets", "orders") as as_of:
        if wanted.markets is None:
            found = list(listing.newest(connection, as_of, limit=SNAPSHOT_MARKETS_MAX))
        else:
            each = [markets.get_market(connection, as_of, market_id) for market_id in sorted(wanted.markets)]
            found = [market for market in each if market is not None]
        state: dict[str, Any] = {
            "markets": [
                {
                    "market_id": market.market_id,
                    "market": market.slug,
                    "status": market.status,
                    "prices": dict(zip(market.outcomes, map(format_decimal, market.prices), strict=True)),
                }
                for market in found
            ]
        }
        if wanted.account_id is not None:
            rows = orders.account_orders(
                connection, as_of, wanted.account_id, wanted=orders.Wanted(is_open=True), limit=1_000
            )
            ids = wanted.markets
            state["orders"] = [serialize(row) for row in rows if ids is None or row.market_id in ids]
        return as_of.position, state
