"""Leaderboard: accounts by profit, volume, return or Brier score; of a day, week, month or all time, also by category.

It is read from sums that other read models keep: profits (with the positions) and scores of forecasts (with the trades).
A past leaderboard is read from the versions of positions, prices and scores.
"""

from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.money import Credits, Fraction, Time
from projections import timeline
from projections.forms import Count, CreditsSum
from projections.positions.valuation import OF_POSITION, held_at, mark_value
from projections.reading import AsOf, query, whole_numbers
from projections.times import DAY, SECOND

Sort = Literal["pnl", "volume", "roi", "brier"]
Window = Literal["day", "week", "month", "all"]

SORTS: Final[dict[Sort, str]] = {"pnl": "pnl DESC", "volume": "volume DESC", "roi": "roi DESC", "brier": "brier"}
"""The order of each sort in SQL."""


class Standing(NamedTuple):
    """A line of the leaderboard.

    `roi` is profit divided by purchases, `brier` the mean of squared errors: millionths, rounded down, and None where there
    is nothing to divide by. `trades` counts executions, not fills.
    """

    rank: Count
    account_id: str
    name: str
    pnl: CreditsSum
    realized: CreditsSum
    unrealized: Credits
    volume: CreditsSum
    buys: CreditsSum
    roi: Fraction | None
    brier: Fraction | None
    trades: Count

    @property
    def key(self) -> tuple[int, str]:
        """Its place in the list, by rank."""
        return self.rank, self.account_id


class AccountSums(NamedTuple):
    """What a line of the leaderboard is made of; `error` and `weight` are those of `projections.trades.scores`."""

    account_id: str
    realized: CreditsSum
    unrealized: CreditsSum
    volume: CreditsSum
    buys: CreditsSum
    trades: Count
    error: int
    weight: int


class Profit(NamedTuple):
    """The profit of an account over all time; `pnl` is the sum of the other two."""

    pnl: CreditsSum
    realized: CreditsSum
    unrealized: CreditsSum


def window_start(window: Window, time: Time) -> Time | None:
    """Return the start of the day, week (from Monday) or month that a time lies in, in UTC; None for `all`."""
    day = time - time % DAY
    date = datetime.fromtimestamp(day // SECOND, UTC)
    match window:
        case "day":
            return day
        case "week":
            return day - date.weekday() * DAY
        case "month":
            return day - (date.day - 1) * DAY
        case "all":
            return None


_IN_CATEGORY: Final = "(%(category)s::text IS NULL OR {column} = %(category)s)"

_PROFIT_TOTALS: Final = f"""
    SELECT account_id, realized, 0::numeric AS unrealized, volume, buys, trades, 0::numeric AS error, 0::numeric AS weight
    FROM profit_totals WHERE {_IN_CATEGORY.format(column="category")}"""

_ALL_TIME: Final = f"""
    {_PROFIT_TOTALS}
    UNION ALL
    SELECT account_id, 0, 0, 0, 0, 0, error, weight FROM trade_score_totals
    WHERE {_IN_CATEGORY.format(column="category")}"""

_IN_WINDOW: Final = f"""
    SELECT account_id, realized, 0::numeric AS unrealized, volume, buys, trades, 0::numeric AS error, 0::numeric AS weight
    FROM profit_days WHERE day >= %(start)s AND {_IN_CATEGORY.format(column="category")}
    UNION ALL
    SELECT account_id, 0, 0, 0, 0, 0, error, weight FROM trade_score_days
    WHERE day >= %(start)s AND {_IN_CATEGORY.format(column="category")}"""

_OPENINGS: Final = f"""
    SELECT account_id, 0, -unrealized, 0, 0, 0, 0, 0 FROM profit_openings
    WHERE day = (SELECT max(day) FROM profit_opened_days WHERE day <= %(start)s)
    AND {_IN_CATEGORY.format(column="category")}"""

# Sums of an account first: there are many more positions than accounts, and later sums are of numeric. OFFSET 0: the planner
# underestimates how many positions are open in how few markets, and would look them up again for each market.
_UNREALIZED_NOW: Final = f"""
    SELECT h.account_id, 0, sum({mark_value("h.shares", "m.price")} - h.cost_basis), 0, 0, 0, 0, 0
    FROM (SELECT market_id, unnest(outcomes) AS outcome, unnest(prices) AS price FROM positions_markets
        WHERE ended_position IS NULL AND {_IN_CATEGORY.format(column="category")}) m
    JOIN (SELECT account_id, market_id, outcome, shares, cost_basis FROM positions WHERE open OFFSET 0) h
        USING (market_id, outcome)
    GROUP BY h.account_id"""

_SUMS_PAST: Final = f"""
    SELECT t.account_id, {{sign}} * account_realized, 0::numeric AS unrealized, {{sign}} * account_volume,
        {{sign}} * account_buys,
        {{sign}} * account_trades, 0::numeric AS error, 0::numeric AS weight
    FROM profit_totals t CROSS JOIN LATERAL (
        SELECT * FROM position_versions v WHERE v.account_id = t.account_id AND v.category = t.category
        AND v.position <= {{at}} ORDER BY v.position DESC LIMIT 1) v
    WHERE {_IN_CATEGORY.format(column="t.category")}"""

# How the versions of positions are found: one by one through the index, or by reading the part of the index that has them.
_ONE_BY_ONE: Final = f"""LATERAL (SELECT shares, cost_basis FROM position_versions WHERE {OF_POSITION}
        AND position <= %(at)s AND k.position > %(at)s ORDER BY position DESC LIMIT 1) v ON true"""
_IN_ORDER: Final = """(
        SELECT DISTINCT ON (partition, opened_position, outcome) partition, opened_position, outcome, shares, cost_basis
        FROM position_versions WHERE opened_position BETWEEN %(first)s AND %(at)s AND position <= %(at)s
        ORDER BY partition DESC, opened_position DESC, outcome DESC, position DESC) v
    ON v.partition = k.partition AND v.opened_position = k.opened_position AND v.outcome = k.outcome AND k.position > %(at)s"""

IN_ORDER_FACTOR = 4
"""The log positions for each position that is looked up, up to which reading in order is quicker than one by one."""

# The positions to look up are at most two for each trader of a market, and at most one for each event since.
_WORK: Final = f"""
    SELECT min(m.drafted_position), least(2 * sum(p.traders)::int8,
        (SELECT max(position) FROM projection_positions WHERE projection = 'positions') - %(at)s)
    FROM positions_markets m CROSS JOIN LATERAL (SELECT traders FROM market_activity WHERE market_id = m.market_id
        AND position <= %(at)s ORDER BY position DESC LIMIT 1) p
    WHERE {held_at("%(at)s")} AND {_IN_CATEGORY.format(column="m.category")}"""

# The current row serves for a position that has not changed since.
_UNREALIZED_PAST: Final = f"""
    SELECT account_id, 0, sum({mark_value("shares", "price")} - cost_basis), 0, 0, 0, 0, 0
    FROM (SELECT k.account_id, m.price,
        CASE WHEN k.position <= %(at)s THEN k.shares ELSE v.shares END AS shares,
        CASE WHEN k.position <= %(at)s THEN k.cost_basis ELSE v.cost_basis END AS cost_basis
    FROM (SELECT m.market_id, unnest(m.outcomes) AS outcome, unnest(p.prices) AS price FROM positions_markets m
        CROSS JOIN LATERAL (SELECT prices FROM market_activity WHERE market_id = m.market_id
            AND position <= %(at)s ORDER BY position DESC LIMIT 1) p
        WHERE {held_at("%(at)s")} AND {_IN_CATEGORY.format(column="m.category")}) m
    JOIN positions k ON k.market_id = m.market_id AND k.outcome = m.outcome AND k.opened_position <= %(at)s
    LEFT JOIN {{versions}}) held
    WHERE shares > 0 GROUP BY account_id"""

_SCORES_PAST: Final = f"""
    SELECT t.account_id, 0, 0, 0, 0, 0, v.error, v.weight FROM trade_score_totals t CROSS JOIN LATERAL (
        SELECT total_error AS error, total_weight AS weight FROM trade_score_versions v
        WHERE v.account_id = t.account_id AND v.category = t.category AND v.position <= %(at)s ORDER BY v.position DESC LIMIT 1) v
    WHERE {_IN_CATEGORY.format(column="t.category")}"""

# The current row serves for a day that has not changed since, which is so for most days.
_SCORES_OF_WINDOW_PAST: Final = f"""
    SELECT d.account_id, 0, 0, 0, 0, 0, v.error, v.weight FROM trade_score_days d CROSS JOIN LATERAL (
        SELECT d.error, d.weight WHERE d.position <= %(at)s
        UNION ALL (SELECT error, weight FROM trade_score_versions WHERE d.position > %(at)s AND account_id = d.account_id
            AND category = d.category AND day = d.day AND position <= %(at)s ORDER BY position DESC LIMIT 1)) v
    WHERE d.day BETWEEN %(start)s AND %(time)s AND {_IN_CATEGORY.format(column="d.category")}"""

_SUMS: Final = """
        SELECT account_id, sum(realized) AS realized, sum(unrealized) AS unrealized,
            sum(volume) AS volume, sum(buys) AS buys, sum(trades)::int8 AS trades,
            sum(error) AS error, sum(weight) AS weight
        FROM ({parts}) parts(account_id, realized, unrealized, volume, buys, trades, error, weight) GROUP BY account_id"""

_RANKED: Final = (
    f"WITH sums AS ({_SUMS}),"
    """
    lines AS (
        SELECT *, realized + unrealized AS pnl, floor((realized + unrealized) * 1000000 / nullif(buys, 0)) AS roi,
            div(error, nullif(weight, 0) * 1000000)::int8 AS brier
        FROM sums WHERE trades <> 0 OR realized <> 0 OR unrealized <> 0),
    ranked AS (SELECT *, rank() OVER (ORDER BY {order}) AS rank FROM lines WHERE {sort} IS NOT NULL)
    SELECT r.rank, r.account_id, coalesce(a.name, ''), r.pnl, r.realized, r.unrealized, r.volume, r.buys, r.roi, r.brier,
        r.trades
    FROM ranked r LEFT JOIN accounts a USING (account_id) WHERE {after} ORDER BY r.rank, r.account_id LIMIT %(limit)s"""
)


@query("positions", "trades", "accounts", "markets", "timeline")
def leaderboard(
    connection: Connection,
    as_of: AsOf,
    *,
    sort: Sort = "pnl",
    window: Window = "all",
    category: str | None = None,
    limit: int = 100,
    after: tuple[int, str] | None = None,
) -> list[Standing]:
    """Return the best accounts by `sort` in the window that the time of `as_of` lies in.

    Equal values share a rank, and the next rank skips. An account without the value that is sorted by (no purchase for
    roi, no finalized market for brier) has no line. For the rest of the transaction the planner avoids sorting.
    """
    parts, values = _parts_of(connection, as_of, window_start(window, as_of.time), category)
    values["limit"] = limit
    if after is not None:
        values["rank"], values["account"] = after
    statement = _RANKED.format(
        parts=parts,
        order=SORTS[sort],
        sort=sort,
        after="true" if after is None else "(r.rank, r.account_id) > (%(rank)s, %(account)s)",
    )
    # Where the planner expects few positions it would sort all of them by account, which takes as long as all the rest.
    connection.execute("SET LOCAL enable_sort = off")
    with whole_numbers(connection, args_row(Standing)) as cursor:
        return cursor.execute(statement, values).fetchall()


def _parts_of(
    connection: Connection, as_of: AsOf, start: Time | None, category: str | None
) -> tuple[str, dict[str, Any]]:
    """Return the query for what is summed by account, over a window that begins at `start`, and its values."""
    values: dict[str, Any] = {"category": category, "start": start, "at": as_of.position, "time": as_of.time}
    if as_of.past:
        parts = [_SUMS_PAST.format(sign="1", at="%(at)s"), _unrealized_past(connection, values)]
        if start is None:
            parts.append(_SCORES_PAST)
        else:
            values["before"] = timeline.position_before(connection, start)
            parts += [_SUMS_PAST.format(sign="-1", at="%(before)s"), _OPENINGS, _SCORES_OF_WINDOW_PAST]
    else:
        parts = [_ALL_TIME] if start is None else [_IN_WINDOW, _OPENINGS]
        parts.append(_UNREALIZED_NOW)
    return " UNION ALL ".join(parts), values


@query("positions", "trades", "accounts", "markets", "timeline")
def account_sums(connection: Connection, as_of: AsOf, start: Time | None, category: str | None) -> list[AccountSums]:
    """Return what leaderboards are made of, for each account: its sums since `start`, or over all time."""
    parts, values = _parts_of(connection, as_of, start, category)
    with whole_numbers(connection, args_row(AccountSums)) as cursor:
        return cursor.execute(_SUMS.format(parts=parts), values).fetchall()


def _unrealized_past(connection: Connection, values: dict[str, Any]) -> str:
    """Return the quickest query for the unrealized profits of the past, and add the value that it needs."""
    row = connection.execute(_WORK, values).fetchone()
    first, looked_up = row if row is not None else (None, None)
    if first is None or looked_up is None or values["at"] - first > IN_ORDER_FACTOR * looked_up:
        return _UNREALIZED_PAST.format(versions=_ONE_BY_ONE)
    values["first"] = first
    return _UNREALIZED_PAST.format(versions=_IN_ORDER)


@query("positions", "markets")
def profit(connection: Connection, as_of: AsOf, account_id: str) -> Profit:
    """Return the profit of an account over all time, as its line of the leaderboard has it; zeros where it has no line."""
    realized = _SUMS_PAST.format(sign="1", at="%(at)s") if as_of.past else _PROFIT_TOTALS
    parts = f"{realized} UNION ALL {_UNREALIZED_PAST.format(versions=_ONE_BY_ONE) if as_of.past else _UNREALIZED_NOW}"
    statement = f"""
        SELECT coalesce(sum(realized + unrealized), 0), coalesce(sum(realized), 0), coalesce(sum(unrealized), 0)
        FROM ({parts}) parts(account_id, realized, unrealized, volume, buys, trades, error, weight)
        WHERE account_id = %(account)s"""
    with whole_numbers(connection, args_row(Profit)) as cursor:
        values = {"category": None, "at": as_of.position, "account": account_id}
        found = cursor.execute(statement, values).fetchone()
    assert found is not None, "an aggregate always has a row"
    return found
