"""Leaderboard: who has made most, traded most, forecast best; by day, week, month and for ever, also by category.

It is read from sums that others keep: profits (with the positions) and forecast scores (with the trades). The past is
answered from the histories of positions, prices and trades.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from psycopg import Connection

from projections import timeline
from projections.profits import OPEN_POSITIONS, UNREALIZED, worth
from projections.reading import AsOf
from projections.trades import SIDES

NEEDS: Final = ("positions", "trades", "accounts", "markets", "timeline")
"""What `read` is to hold for a leaderboard, of now or of then."""


class Standing(NamedTuple):
    """A line of the leaderboard. `roi` and `brier` are in millionths, rounded down; None where there is nothing to divide by."""

    rank: int
    account_id: str
    name: str
    pnl: int
    realized: int
    unrealized: int
    volume: int
    buys: int
    roi: int | None
    brier: int | None
    trades: int


def window_start(window: str, time: int) -> int | None:
    """Return when the day, week (from Monday) or month of a moment began, in UTC; None for `all`."""
    if window == "all":
        return None
    moment = datetime.fromtimestamp(time // 1_000_000, UTC).replace(hour=0, minute=0, second=0)
    if window == "week":
        moment -= timedelta(days=moment.weekday())
    elif window == "month":
        moment = moment.replace(day=1)
    return int(moment.timestamp()) * 1_000_000


_IN_CATEGORY: Final = "(%(category)s::text IS NULL OR {column} = %(category)s)"

_ALL_TIME: Final = f"""
    SELECT account_id, realized, 0::int8 AS unrealized, volume, buys, trades, 0::numeric AS error, 0::numeric AS weight
    FROM profit_totals WHERE {_IN_CATEGORY.format(column="category")}
    UNION ALL
    SELECT account_id, 0, 0, 0, 0, 0, error, weight FROM trade_score_totals
    WHERE {_IN_CATEGORY.format(column="category")}"""

_IN_WINDOW: Final = f"""
    SELECT account_id, realized, 0::int8 AS unrealized, volume, buys, trades, 0::numeric AS error, 0::numeric AS weight
    FROM profit_days WHERE day >= %(start)s AND {_IN_CATEGORY.format(column="category")}
    UNION ALL
    SELECT account_id, 0, -unrealized, 0, 0, 0, 0, 0 FROM profit_openings
    WHERE day = (SELECT max(day) FROM profit_opened_days WHERE day <= %(start)s)
    AND {_IN_CATEGORY.format(column="category")}
    UNION ALL
    SELECT account_id, 0, 0, 0, 0, 0, error, weight FROM trade_scores
    WHERE day >= %(start)s AND {_IN_CATEGORY.format(column="category")}"""

_NOW: Final = f"""
    UNION ALL
    SELECT h.account_id, 0, {UNREALIZED}, 0, 0, 0, 0, 0 FROM {OPEN_POSITIONS}
    WHERE NOT m.over AND h.shares > 0 AND {_IN_CATEGORY.format(column="m.category")}"""

_VERSION: Final = """
    SELECT k.account_id, {sign} * v.realized, {sign} * ({worth} - v.cost_basis), {sign} * v.volume, {sign} * v.buys,
        {sign} * v.trades, 0::numeric AS error, 0::numeric AS weight
    FROM positions k JOIN positions_markets m USING (market_id) CROSS JOIN LATERAL (
        SELECT * FROM position_versions WHERE account_id = k.account_id AND market_id = k.market_id
        AND outcome = k.outcome AND position <= {at} ORDER BY position DESC LIMIT 1) v
    LEFT JOIN LATERAL (
        SELECT prices FROM market_activity WHERE market_id = k.market_id AND v.shares > 0 AND position <= {at}
        ORDER BY position DESC LIMIT 1) p ON true
    WHERE {in_category}"""

_WORTH: Final = f"coalesce({worth('v.shares', 'p.prices[array_position(m.outcomes, k.outcome)]')}, 0)"

_FORECASTS_THEN: Final = f"""
    SELECT t.account_id, 0, 0, 0, 0, 0, t.cost * error::numeric * error, t.cost
    FROM (SELECT k.market_id, k.outcomes, l.payouts FROM markets k CROSS JOIN LATERAL (
            SELECT status, payouts FROM market_lifecycle WHERE market_id = k.market_id AND position <= %(at)s
            ORDER BY position DESC LIMIT 1) l
        WHERE l.status = 'finalized' AND {_IN_CATEGORY.format(column="k.category")}) m
    JOIN {SIDES} t USING (market_id)
    CROSS JOIN LATERAL (SELECT t.price - m.payouts[array_position(m.outcomes, t.outcome)] AS error) e
    WHERE t.position > %(before)s AND t.position <= %(at)s"""

_RANKED: Final = """
    WITH sums AS (
        SELECT account_id, sum(realized)::int8 AS realized, sum(unrealized)::int8 AS unrealized,
            sum(volume)::int8 AS volume, sum(buys)::int8 AS buys, sum(trades)::int8 AS trades,
            sum(error) AS error, sum(weight) AS weight
        FROM ({parts}) parts(account_id, realized, unrealized, volume, buys, trades, error, weight) GROUP BY account_id),
    lines AS (
        SELECT *, realized + unrealized AS pnl, floor((realized + unrealized)::numeric * 1000000 / nullif(buys, 0))::int8 AS roi,
            div(error, nullif(weight, 0) * 1000000)::int8 AS brier
        FROM sums WHERE trades <> 0 OR realized <> 0 OR unrealized <> 0),
    ranked AS (SELECT *, rank() OVER (ORDER BY {order}) AS rank FROM lines WHERE {sort} IS NOT NULL)
    SELECT r.rank, r.account_id, coalesce(a.name, ''), r.pnl, r.realized, r.unrealized, r.volume, r.buys, r.roi, r.brier,
        r.trades
    FROM ranked r LEFT JOIN accounts a USING (account_id) ORDER BY r.rank, r.account_id LIMIT %(limit)s"""

SORTS: Final = {"pnl": "pnl DESC", "volume": "volume DESC", "roi": "roi DESC", "brier": "brier"}
WINDOWS: Final = ("day", "week", "month", "all")


def leaderboard(
    connection: Connection,
    as_of: AsOf,
    *,
    sort: str = "pnl",
    window: str = "all",
    category: str | None = None,
    limit: int = 100,
) -> list[Standing]:
    """Return the best accounts by `sort` (one of `SORTS`) in the window that the moment of `as_of` lies in.

    Equal values share a rank and the next rank skips; without a value (no purchase for roi, no finalized market for
    brier) there is no line. `read` must hold `NEEDS`.
    """
    start = window_start(window, as_of.time)
    values: dict[str, Any] = {"category": category, "limit": limit, "start": start, "at": as_of.position, "before": 0}
    if as_of.past:
        in_category = _IN_CATEGORY.format(column="m.category")
        parts = _VERSION.format(sign="1", at="%(at)s", worth=_WORTH, in_category=in_category)
        if start is not None:
            values["before"] = timeline.position_before(connection, start)
            parts += " UNION ALL " + _VERSION.format(sign="-1", at="%(before)s", worth=_WORTH, in_category=in_category)
        parts += f" UNION ALL {_FORECASTS_THEN}"
    else:
        parts = (_ALL_TIME if start is None else _IN_WINDOW) + _NOW
    query = _RANKED.format(parts=parts, order=SORTS[sort], sort=sort)
    return [Standing(*row) for row in connection.execute(query, values).fetchall()]
