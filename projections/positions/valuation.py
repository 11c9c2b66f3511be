"""SQL for the value of positions at the AMM's prices: now, and at any log position.

Amounts are in micro-credits. The mark value of a position is its shares times their price, rounded down. Names of columns
and tables are those of the read models `positions` and `markets`.
"""

from typing import Final


def mark_value(shares: str, price: str) -> str:
    """Return the SQL for shares times price, rounded down to a micro-credit; it does not overflow 64 bits."""
    return f"({shares} / 1000000 * {price} + mod({shares}, 1000000) * {price} / 1000000)"


OF_POSITION: Final = "partition = k.partition AND opened_position = k.opened_position AND outcome = k.outcome"
"""The condition for the versions of a position `k`, by their key.

The event that began a position, and its outcome, name it: an event begins positions of one account in one market only. An
index compares numbers faster than ids.
"""

OPEN_POSITIONS: Final = "positions_markets m JOIN positions h USING (market_id)"
"""The tables that `IS_OPEN` and `UNREALIZED` are about: markets `m` and positions `h`."""

IS_OPEN: Final = "m.ended_position IS NULL AND h.shares > 0"

UNREALIZED: Final = f"{mark_value('h.shares', 'm.prices[array_position(m.outcomes, h.outcome)]')} - h.cost_basis"
"""The unrealized profit of an open position now."""

HELD_RANGE: Final = "int8range(drafted_position, ended_position)"
"""The range of log positions in which somebody may have held shares of a market, a row of positions_markets.

The expression has an index. Of all markets that ever were, the index finds the few that were open at a past log position,
and these lead to the positions in them.
"""


def held_at(position: str) -> str:
    """Return the SQL for whether shares of a market may have been held at a log position."""
    return f"{HELD_RANGE} @> {position}::int8"


def positions_value_now(account_id: str) -> str:
    """Return the SQL for the mark value of an account's positions now. The argument is an SQL expression."""
    value = mark_value("s.shares", "m.prices[array_position(m.outcomes, s.outcome)]")
    return f"""(
    SELECT coalesce(sum({value}), 0)::int8 FROM positions s JOIN positions_markets m USING (market_id)
    WHERE s.account_id = {account_id} AND s.open)"""


def positions_value_at(at: str, account_id: str) -> str:
    """Return the SQL for the mark value of an account's positions at a log position. Both are SQL expressions."""
    return value_at(
        at,
        "SELECT k.partition, k.opened_position, k.market_id, k.outcome, m.outcomes "
        "FROM positions_markets m JOIN positions k USING (market_id) "
        f"WHERE {held_at(at)} AND k.account_id = {account_id} AND k.opened_position <= {at}",
    )


def value_at(at: str, positions: str) -> str:
    """Return the SQL for the mark value of positions at a log position.

    `positions` is a query for their partitions, opened positions, markets and outcomes, and the outcomes of their markets.
    """
    value = mark_value("s.shares", "p.prices[array_position(k.outcomes, s.outcome)]")
    return f"""(
    SELECT coalesce(sum({value}), 0)::int8 FROM ({positions}) k CROSS JOIN LATERAL (
        SELECT outcome, shares FROM position_versions WHERE {OF_POSITION} AND position <= {at}
        ORDER BY position DESC LIMIT 1) s
    CROSS JOIN LATERAL (SELECT prices FROM market_activity WHERE market_id = k.market_id AND position <= {at}
        ORDER BY position DESC LIMIT 1) p
    WHERE s.shares > 0)"""
