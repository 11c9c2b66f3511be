"""What the stream needs of the trades: those of some events, and the state from which it follows markets and orders."""

from collections.abc import Sequence

from psycopg import Connection
from psycopg.rows import args_row

from projections.reading import AsOf, query
from projections.trades.trades import TRADES, Trade


@query("trades")
def trades_at(connection: Connection, as_of: AsOf, events: Sequence[tuple[str, int]]) -> list[Trade]:
    """Return the trades of these events, by market and position, in the order of the log."""
    with connection.cursor(row_factory=args_row(Trade)) as cursor:
        return cursor.execute(
            f"SELECT {TRADES.column_list} FROM unnest(%s::text[], %s::int8[]) AS e(market, at) JOIN trades "
            "ON market_id = e.market AND position = e.at WHERE position <= %s ORDER BY position, number",
            [[market for market, _ in events], [position for _, position in events], as_of.position],
        ).fetchall()


@query("trades")
def markets_and_orders(
    connection: Connection, _: AsOf
) -> tuple[list[tuple[str, list[str], list[int]]], list[tuple[str, str, str, int]]]:
    """Return all markets and all resting orders as they are after the last position that was folded, never in the past.

    A market is its id, its outcomes and the prices at the end of its last command; an order is its id, outcome, side and limit.
    """
    markets = connection.execute("SELECT market_id, outcomes, prices FROM trades_markets").fetchall()
    orders = connection.execute("SELECT order_id, outcome, side, limit_price FROM trades_resting").fetchall()
    return markets, orders
