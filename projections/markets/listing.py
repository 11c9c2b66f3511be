"""Lists of markets: by many filters, found by their texts, in several orders; and what has changed in a day or a week."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from psycopg import Connection
from psycopg.rows import args_row

from domain.money import Price, Time
from projections import timeline
from projections.markets import prices
from projections.markets.markets import source
from projections.markets.tables import MARKETS, MarketRow
from projections.reading import AsOf, Conditions, query, whole_numbers
from projections.searching import MARKET_DOCUMENT, STORY_DOCUMENT, WANTED
from projections.times import DAY

Sort = Literal["newest", "volume", "closing", "movement", "relevance"]

SPARKS: Final = 48
"""The number of points of a sparkline."""

SPARK_STEP: Final = 7 * DAY // SPARKS
"""The time between two of them."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The markets that are wanted: all that meet every filter; `references` are ids or slugs, `text` is what people type."""

    statuses: Sequence[str] = ()
    story_id: str | None = None
    category: str | None = None
    references: Sequence[str] = ()
    closes_before: Time | None = None
    text: str | None = None
    stories: Sequence[str] = ()

    def conditions(self, as_of: AsOf) -> Conditions:
        """Return the conditions for the rows of markets."""
        where = Conditions("m.opened_position <= %s", as_of.position)
        where.add_if("m.status = ANY(%s)", [*self.statuses] or None)
        where.add_if("m.story_id = %s", self.story_id)
        where.add_if("m.story_id = ANY(%s)", [*self.stories] or None)
        where.add_if("m.category = %s", self.category)
        where.add_if("m.close_time < %s", self.closes_before)
        if self.references:
            where.add("(m.market_id = ANY(%s) OR m.slug = ANY(%s))", [*self.references], [*self.references])
        return where


@query("markets")
def newest(
    connection: Connection,
    as_of: AsOf,
    wanted: Filter = Filter(),
    *,
    limit: int = 50,
    after: tuple[int, str] | None = None,
) -> list[MarketRow]:
    """Return markets, newest first. A text is not looked at: see `ranked`."""
    where = wanted.conditions(as_of)
    where.after("m.opened_position, m.market_id", after)
    table, at = source(as_of)
    with whole_numbers(connection, args_row(MarketRow)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM {table} {where.sql} ORDER BY m.opened_position DESC, m.market_id DESC LIMIT %s",
            [*at, *where.values, limit],
        ).fetchall()


@query("markets", "stories", "timeline")
def ranked(
    connection: Connection, as_of: AsOf, sort: Sort, wanted: Filter = Filter(), *, limit: int = 50, offset: int = 0
) -> list[MarketRow]:
    """Return markets in an order that takes a look at all that are wanted; equal ones newest first.

    `volume`: most first. `closing`: what closes next first, then what closed last. `movement`: the largest change of a price
    in 24 hours first. `relevance`: what the text finds best first. `offset` are the markets before the first one.
    """
    where = wanted.conditions(as_of)
    table, at = source(as_of)
    joins = ""
    joined: list[Any] = []
    values: list[Any] = []
    if wanted.text is not None:
        text, at_position = [wanted.text] * 2, [as_of.position]
        joins, joined = _FOUND, [*text, *at_position * 2, *text, *at_position]
    order = _ORDERS[sort]
    if sort == "movement":
        day_ago = timeline.position_at(connection, as_of.time - DAY)
        joins, joined = joins + _DAY_AGO, [*joined, day_ago]
        values = [day_ago]
    elif sort == "closing":
        values = [as_of.time] * 2
    with whole_numbers(connection, args_row(MarketRow)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM {table} {joins} {where.sql} "
            f"ORDER BY {order}, m.opened_position DESC, m.market_id DESC LIMIT %s OFFSET %s",
            [*at, *joined, *where.values, *values, limit, offset],
        ).fetchall()


_COLUMNS: Final = ", ".join(f"m.{column}" for column in MARKETS.columns)

# A market is found by its own texts as they were, or by those of its story.
_FOUND: Final = f"""
    JOIN (SELECT market_id, max(rank) AS rank FROM (
        SELECT t.market_id, ts_rank({MARKET_DOCUMENT}, {WANTED}) AS rank FROM market_texts t
        WHERE ({MARKET_DOCUMENT}) @@ {WANTED} AND t.position <= %s AND NOT EXISTS (
            SELECT 1 FROM market_texts later WHERE later.market_id = t.market_id
            AND later.position > t.position AND later.position <= %s)
        UNION ALL
        SELECT k.market_id, ts_rank({STORY_DOCUMENT}, {WANTED}) FROM stories s JOIN markets k USING (story_id)
        WHERE ({STORY_DOCUMENT}) @@ {WANTED} AND s.position <= %s) either GROUP BY market_id) found
    ON found.market_id = m.market_id"""

_DAY_AGO: Final = """
    LEFT JOIN LATERAL (SELECT prices FROM market_activity WHERE market_id = m.market_id AND position <= %s
        ORDER BY position DESC LIMIT 1) ago ON true"""

_ORDERS: Final[dict[Sort, str]] = {
    "newest": "m.opened_position DESC",
    "relevance": "found.rank DESC",
    "volume": "m.volume DESC",
    "closing": "m.close_time <= %s, abs(m.close_time - %s)",
    "movement": "CASE WHEN m.position <= %s THEN 0 ELSE (SELECT max(abs(now - before)) "
    "FROM unnest(m.prices, coalesce(ago.prices, m.initial_prices)) both_prices(now, before)) END DESC",
}


@query("markets", "timeline")
def changes(connection: Connection, as_of: AsOf, rows: Sequence[MarketRow]) -> dict[str, list[Price]]:
    """Return by how much the price of each outcome has changed in 24 hours, by market; in a younger market since its draft."""
    day_ago = timeline.position_at(connection, as_of.time - DAY)
    moved = [row.market_id for row in rows if row.position > day_ago]
    before = prices.latest(connection, AsOf(day_ago, as_of.time - DAY, past=True), moved) if moved else {}
    found = {}
    for row in rows:
        earlier = before.get(row.market_id, row.initial_prices) if row.position > day_ago else row.prices
        found[row.market_id] = [now - then for now, then in zip(row.prices, earlier, strict=True)]
    return found


@query("markets", "timeline")
def sparklines(connection: Connection, as_of: AsOf, market_ids: Sequence[str]) -> dict[str, list[list[Price] | None]]:
    """Return the prices of each of these markets at `SPARKS` times of the last 7 days, oldest first; the last is now.

    None before the market was drafted.
    """
    values: dict[str, Any] = {
        "markets": list(market_ids),
        "times": [as_of.time - SPARK_STEP * (SPARKS - 1 - number) for number in range(SPARKS)],
        "at": as_of.position,
    }
    found: dict[str, list[list[Price] | None]] = {market_id: [None] * SPARKS for market_id in market_ids}
    for market_id, number, at_time in connection.execute(_SPARKS, values):
        found[market_id][number - 1] = at_time
    return found


_SPARKS: Final = """
    WITH points AS MATERIALIZED (
        SELECT number, least(%(at)s, coalesce((SELECT previous FROM timeline WHERE partition = 0 AND time > t.time
            ORDER BY time LIMIT 1), %(at)s)) AS at
        FROM unnest(%(times)s::int8[]) WITH ORDINALITY t(time, number))
    SELECT m, p.number, a.prices FROM unnest(%(markets)s::text[]) AS m CROSS JOIN points p
    CROSS JOIN LATERAL (SELECT prices FROM market_activity WHERE market_id = m AND position <= p.at
        ORDER BY position DESC LIMIT 1) a"""
