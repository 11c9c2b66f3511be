"""The views as they were at a position of the log: the same columns over the tables as they were then.

Read models keep versions of what changes. Each query here makes, from these versions, the rows that a table had when the
log ended at `%(at)s`. A query of a view begins with `WITH markets AS (...)`, so its `FROM markets` finds those rows. Tables
that only grow are cut instead: they give the rows of the events after `%(after)s`, up to `%(at)s`.

The results follow from the log alone, however far the read models are.
"""

from typing import Final

from projections.dashboards.columns import View
from projections.markets import markets
from projections.positions.cost_basis import IS_SETTLEMENT
from projections.positions.valuation import held_at
from projections.reading import AsOf
from projections.times import DAY, HOUR, MINUTE

_BETWEEN: Final = "position > %(after)s AND position <= %(at)s"

# The index of these tables begins with the market. So each market is looked up, and only rows of the range are read.
_OF_MARKETS: Final = (
    "SELECT t.* FROM markets k CROSS JOIN LATERAL "
    "(SELECT * FROM {table} WHERE market_id = k.market_id AND {between} ORDER BY position) t "
    "WHERE k.opened_position <= %(at)s"
)

_MARKETS: Final = markets.source(AsOf(0, 0, past=True))[0].replace("%s", "%(at)s")

# The current row serves for a position that has not changed since; for others a version is looked up.
_POSITIONS: Final = """
    SELECT account_id, market_id, outcome, shares, cost_basis, realized, fees, volume, trades, time, position
    FROM positions WHERE position <= %(at)s
    UNION ALL
    SELECT k.account_id, k.market_id, k.outcome, v.shares, v.cost_basis, v.realized, v.fees, v.volume, v.trades, v.time,
        v.position
    FROM positions k CROSS JOIN LATERAL (
        SELECT * FROM position_versions WHERE account_id = k.account_id AND market_id = k.market_id
        AND outcome = k.outcome AND position <= %(at)s ORDER BY position DESC LIMIT 1) v
    WHERE k.position > %(at)s AND k.opened_position <= %(at)s"""

# A market that had ended and was corrected later has no `ended_position`, which does no harm: nobody held shares between.
# The rows are made once: a view may join them again for each account.
_HELD_MARKETS: Final = f"""
    SELECT m.market_id, m.category, m.outcomes, p.prices,
        CASE WHEN NOT {held_at("%(at)s")} THEN m.ended_position END AS ended_position
    FROM positions_markets m CROSS JOIN LATERAL (SELECT prices FROM market_activity WHERE market_id = m.market_id
        AND position <= %(at)s ORDER BY position DESC LIMIT 1) p
    WHERE m.drafted_position <= %(at)s"""

_TOTALS: Final = """
    SELECT t.account_id, t.category, v.account_realized AS realized, v.account_volume AS volume, v.account_buys AS buys,
        v.account_trades AS trades
    FROM profit_totals t CROSS JOIN LATERAL (
        SELECT * FROM position_versions WHERE account_id = t.account_id AND category = t.category
        AND position <= %(at)s ORDER BY position DESC LIMIT 1) v"""

_DAYS: Final = f"""
    SELECT day, account_id, category, realized - lag(realized, 1, 0::numeric) OVER earlier AS realized,
        volume - lag(volume, 1, 0::numeric) OVER earlier AS volume,
        buys - lag(buys, 1, 0::numeric) OVER earlier AS buys, trades - lag(trades, 1, 0::int8) OVER earlier AS trades
    FROM (
        SELECT DISTINCT ON (account_id, category, day) time - mod(time, {DAY}) AS day, account_id, category,
            account_realized AS realized, account_volume AS volume, account_buys AS buys, account_trades AS trades
        FROM position_versions WHERE position <= %(at)s ORDER BY account_id, category, day, position DESC) last
    WINDOW earlier AS (PARTITION BY account_id, category ORDER BY day)"""

_SCORES: Final = """
    SELECT t.account_id, t.category, v.error, v.weight FROM trade_score_totals t CROSS JOIN LATERAL (
        SELECT total_error AS error, total_weight AS weight FROM trade_score_versions
        WHERE account_id = t.account_id AND category = t.category AND position <= %(at)s ORDER BY position DESC LIMIT 1) v"""

_ACCOUNTS: Final = """
    SELECT account_id, name, coalesce(e.available_after, 0) AS available, coalesce(e.held_after, 0) AS held, opened_at,
        coalesce(e.time, opened_at) AS time, coalesce(e.position, opened_position) AS position
    FROM accounts a LEFT JOIN LATERAL (
        SELECT available_after, held_after, position, time FROM ledger WHERE account_id = a.account_id
        AND position <= %(at)s AND available_after IS NOT NULL ORDER BY position DESC LIMIT 1) e ON true
    WHERE a.opened_position <= %(at)s"""

# The periods that contain `%(time)s`, the time of the last event, may hold later events in the table. They are made of the
# hours and minutes in them that have ended, and of the ticks and trades of the last minute.
_CANDLES: Final = f"""
    WITH bounds AS (SELECT %(time)s::int8 - mod(%(time)s::int8, {MINUTE}) AS minute,
        %(time)s::int8 - mod(%(time)s::int8, {HOUR}) AS hour, %(time)s::int8 - mod(%(time)s::int8, {DAY}) AS day),
    known AS (SELECT market_id, outcomes FROM markets WHERE opened_position <= %(at)s),
    ticks AS (
        SELECT k.market_id, o.place, a.position, a.prices[o.place] AS price
        FROM known k CROSS JOIN LATERAL (SELECT * FROM market_activity WHERE market_id = k.market_id
            AND position > %(before_minute)s AND position <= %(at)s AND changed <> 0) a
        CROSS JOIN LATERAL generate_series(1, cardinality(a.prices)) o(place)
        WHERE a.changed & (1::int8 << (o.place - 1)) <> 0),
    fills AS (
        SELECT k.market_id, array_position(k.outcomes, t.outcome) AS place, t.cost, t.quantity
        FROM known k CROSS JOIN LATERAL (SELECT * FROM trades WHERE market_id = k.market_id
            AND position > %(before_minute)s AND position <= %(at)s) t),
    happened AS (SELECT market_id FROM ticks UNION SELECT market_id FROM fills),
    last_minute AS (
        SELECT k.market_id, o.place, bounds.minute AS start, t.open, t.high, t.low, t.close,
            (SELECT coalesce(c.close[o.place], c.previous[o.place]) FROM candles c WHERE c.market_id = k.market_id
                AND c.period = {MINUTE} AND c.start < bounds.minute ORDER BY c.start DESC LIMIT 1) AS previous,
            f.volume, f.quantity, f.trades
        FROM happened JOIN known k USING (market_id) CROSS JOIN bounds
        CROSS JOIN LATERAL generate_series(1, cardinality(k.outcomes)) o(place)
        CROSS JOIN LATERAL (SELECT (array_agg(price ORDER BY position))[1] AS open, max(price) AS high, min(price) AS low,
            (array_agg(price ORDER BY position DESC))[1] AS close
            FROM ticks WHERE ticks.market_id = k.market_id AND ticks.place = o.place) t
        CROSS JOIN LATERAL (SELECT coalesce(sum(cost), 0) AS volume, coalesce(sum(quantity), 0) AS quantity,
            count(*) AS trades FROM fills WHERE fills.market_id = k.market_id AND fills.place = o.place) f),
    ended AS (
        SELECT c.market_id, o.place, c.period, c.start, c.open[o.place] AS open, c.high[o.place] AS high,
            c.low[o.place] AS low, c.close[o.place] AS close, c.previous[o.place] AS previous,
            c.volume[o.place] AS volume, c.quantity[o.place] AS quantity, c.trades[o.place] AS trades
        FROM known k CROSS JOIN bounds JOIN candles c ON c.market_id = k.market_id
            AND (c.period = {HOUR} AND c.start >= bounds.day AND c.start < bounds.hour
                OR c.period = {MINUTE} AND c.start >= bounds.hour AND c.start < bounds.minute)
        CROSS JOIN LATERAL generate_series(1, cardinality(c.trades)) o(place)),
    parts AS (
        SELECT p.length AS whole, p.begins, l.* FROM last_minute l CROSS JOIN bounds
        CROSS JOIN LATERAL (VALUES ({MINUTE}, bounds.minute), ({HOUR}, bounds.hour), ({DAY}, bounds.day)) p(length, begins)
        UNION ALL
        SELECT p.length, p.begins, e.market_id, e.place, e.start, e.open, e.high, e.low, e.close, e.previous, e.volume,
            e.quantity, e.trades
        FROM ended e CROSS JOIN bounds
        CROSS JOIN LATERAL (VALUES ({HOUR}, bounds.hour), ({DAY}, bounds.day)) p(length, begins)
        WHERE e.start >= p.begins AND p.length > e.period),
    running AS (
        SELECT market_id, whole AS period, begins AS start, place,
            (array_agg(open ORDER BY start) FILTER (WHERE open IS NOT NULL))[1] AS open, max(high) AS high,
            min(low) AS low, (array_agg(close ORDER BY start DESC) FILTER (WHERE close IS NOT NULL))[1] AS close,
            (array_agg(previous ORDER BY start))[1] AS previous, sum(volume) AS volume, sum(quantity) AS quantity,
            sum(trades)::int8 AS trades
        FROM parts GROUP BY market_id, whole, begins, place)
    SELECT market_id, period, start, open, high, low, close, previous, volume, quantity, trades
    FROM candles WHERE start + period <= %(time)s
    UNION ALL
    SELECT market_id, period, start, array_agg(open ORDER BY place), array_agg(high ORDER BY place),
        array_agg(low ORDER BY place), array_agg(close ORDER BY place), array_agg(previous ORDER BY place),
        array_agg(volume ORDER BY place), array_agg(quantity ORDER BY place), array_agg(trades ORDER BY place)
    FROM running GROUP BY market_id, period, start"""

_TABLES: Final[dict[str, str]] = {
    "stories": "SELECT * FROM stories WHERE position <= %(at)s",
    "markets": f"SELECT m.* FROM {_MARKETS} WHERE m.opened_position <= %(at)s",
    "positions": _POSITIONS,
    "positions_markets": _HELD_MARKETS,
    "profit_totals": _TOTALS,
    "profit_days": _DAYS,
    "trade_score_totals": _SCORES,
    "accounts": _ACCOUNTS,
    "candles": _CANDLES,
    "market_activity": _OF_MARKETS.format(table="market_activity", between=_BETWEEN),
    "trades": _OF_MARKETS.format(table="trades", between=_BETWEEN),
    "position_versions": f"SELECT * FROM position_versions WHERE {IS_SETTLEMENT} AND {_BETWEEN}",
    "ledger": f"SELECT * FROM ledger WHERE partition = %(partition)s AND {_BETWEEN}",
}
"""The rows of each table as they were, by its name."""

_OF_VIEWS: Final[dict[str, tuple[str, ...]]] = {
    "stories": ("stories",),
    "markets": ("markets",),
    "odds": ("markets",),
    "ticks": ("market_activity",),
    "candles": ("candles",),
    "trades": ("trades",),
    "positions": ("positions", "positions_markets"),
    "settlements": ("position_versions",),
    "profits": ("profit_totals", "positions", "positions_markets"),
    "daily_profits": ("profit_days",),
    "forecasts": ("trade_score_totals",),
    "accounts": ("accounts",),
    "equity": ("ledger",),
    "ledger": ("ledger",),
}
"""The tables whose rows a view must see as they were. Any other table that it reads never changes what it has."""

_MADE_ONCE: Final = {"positions_markets"}

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "candles": ("candles", "markets", "trades", "timeline"),
    "positions": ("positions", "markets"),
    "profits": ("positions", "markets"),
    "trades": ("trades", "markets"),
}
"""The read models that the past of a view is made from, where they are not those that the view reads."""


def needs_of_past(view: View) -> tuple[str, ...]:
    """Return the names of the read models that `past_query` reads."""
    return NEEDS.get(view.name, view.reads)


def past_table(name: str) -> str:
    """Return the SELECT of the rows that a table had, with those of its columns that views read; parameters as `past_query`."""
    return _TABLES[name]


def past_query(view: View) -> str:
    """Return the SELECT of a view as it was: of a view of events, the rows of those after one position up to another.

    Its parameters are `at` and `after` (positions), `partition`, `time` (that of the event at `at`) and `before_minute`: the
    last position before the minute in which that time lies.
    """
    tables = ",\n".join(
        f"{name} AS {'MATERIALIZED ' if name in _MADE_ONCE else ''}({_TABLES[name]})" for name in _OF_VIEWS[view.name]
    )
    return f"WITH {tables}\n{view.query}"
