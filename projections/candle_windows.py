"""Reading candles: windows of several markets and outcomes at once, without gaps, now or as of any position."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.rows import tuple_row

from projections import timeline
from projections.candles import PERIODS, STORED, Candle, Period
from projections.markets.prices import signed
from projections.reading import AsOf, query, whole_numbers
from projections.times import HOUR, MINUTE


@query("candles")
def first_starts(connection: Connection, _: AsOf, market_ids: Sequence[str], period: Period) -> dict[str, int]:
    """Return the start of the first candle of each of these markets that has one: none before a market's first price."""
    rows = connection.execute(
        "SELECT m, (SELECT min(start) FROM candles WHERE market_id = m AND period = %s) FROM unnest(%s::text[]) AS m",
        [STORED.get(period, MINUTE), list(market_ids)],
    ).fetchall()
    return {market_id: first - first % PERIODS[period] for market_id, first in rows if first is not None}


class Window(NamedTuple):
    """Candles that are wanted: those of consecutive outcomes of a market (by their indexes) that lie in [start, end)."""

    market_id: str
    outcomes: range
    start: int
    end: int


@query("candles", "markets", "trades", "timeline")
def candles(connection: Connection, as_of: AsOf, period: Period, windows: Sequence[Window]) -> list[list[list[Candle]]]:
    """Return the candles of each window, for each of its outcomes, oldest first, without gaps; in one query for all.

    `start` is aligned down. The first candle is not before the market's first row, the last one not after the time of
    `as_of`. The last one has nothing from after the position of `as_of`.
    """
    length = PERIODS[period]
    windows = [
        each._replace(start=each.start - each.start % length, end=min(each.end, as_of.time + 1)) for each in windows
    ]
    running = as_of.time - as_of.time % length
    rows = _stored(connection, period, windows, running if as_of.past else None)
    if as_of.past:
        for key, row in _running(connection, as_of, windows, length).items():
            rows[key].append(row)
    return [
        [_without_gaps(rows[place, outcome], window, length) for outcome in window.outcomes]
        for place, window in enumerate(windows)
    ]


CandleParts = defaultdict[tuple[int, int], list[dict[str, Any]]]
"""Rows of one outcome each, by the place of their window and their outcome."""


def _stored(connection: Connection, period: Period, windows: Sequence[Window], running: int | None) -> CandleParts:
    """Return the rows of the periods that have ended before `running`; all of them without it."""
    length = PERIODS[period]
    ends = []
    for each in windows:
        whole = each.end + -each.end % length  # a period that begins before the end has all of its minutes
        ends.append(min(whole, running) if running is not None else whole)
    starts = [each.start for each in windows]
    rows = _rows(connection, _ROWS, windows, STORED.get(period, MINUTE), starts, ends)
    if period not in STORED:
        for key, minutes in rows.items():
            parts = groupby(minutes, key=lambda row: row["start"] - row["start"] % length)
            rows[key] = [_joined(begin, [*part]) for begin, part in parts]
    return rows


def _without_gaps(rows: Sequence[Mapping[str, Any]], window: Window, length: int) -> list[Candle]:
    """Return the candles of one outcome: those of its rows, and between them candles in which nothing happened."""
    start, end = window.start, window.end
    if not rows or start >= end:
        return []
    by_start = {row["start"]: row for row in rows}
    carried: int | None = None
    if rows[0]["start"] < start:
        carried = _price_after(rows[0])
    else:
        start = rows[0]["start"]
    answer: list[Candle] = []
    for moment in range(start, end, length):
        row = by_start.get(moment)
        if row is None:
            answer.append(Candle(start=moment, end=moment + length, previous=carried))
            continue
        answer.append(Candle(end=moment + length, **row))
        carried = _price_after(row)
    return answer


def _price_after(row: Mapping[str, Any]) -> int | None:
    """Return the price of the outcome at the end of a stored period."""
    close: int | None = row["close"]
    previous: int | None = row["previous"]
    return previous if close is None else close


_NAMES: Final = ("open", "high", "low", "close", "previous", "volume", "quantity", "trades")

_WINDOWS: Final = """unnest(%(markets)s::text[], %(lows)s::int[], %(highs)s::int[], %(starts)s::int8[], %(ends)s::int8[])
    WITH ORDINALITY AS m(market_id, low, high, "from", until, place)"""

_SELECT: Final = f"SELECT m.place, c.start, {', '.join(f'c.{name}[m.low:m.high]' for name in _NAMES)} FROM {_WINDOWS}"

# The last row before `from` has the price that is carried into the first candle.
_ROWS: Final = f"""{_SELECT} CROSS JOIN LATERAL (SELECT * FROM candles r
    WHERE market_id = m.market_id AND period = %(period)s AND start < m.until
    AND start >= coalesce((SELECT max(start) FROM candles WHERE market_id = m.market_id AND period = %(period)s
        AND start <= m.from AND start < m.until), m.from)) c
    ORDER BY m.place, c.start"""

_PARTS: Final = f"""{_SELECT} JOIN candles c
    ON c.market_id = m.market_id AND c.period = %(period)s AND c.start >= m.from AND c.start < m.until
    ORDER BY m.place, c.start"""


def _rows(  # noqa: PLR0917  read in one order everywhere
    connection: Connection,
    statement: str,
    windows: Sequence[Window],
    period: int,
    starts: Sequence[int],
    ends: Sequence[int],
) -> CandleParts:
    """Return what the statement finds of windows with these starts and ends."""
    values = {
        "markets": [each.market_id for each in windows],
        "lows": [each.outcomes.start + 1 for each in windows],
        "highs": [each.outcomes.stop for each in windows],
        "starts": list(starts),
        "ends": list(ends),
        "period": period,
    }
    found: CandleParts = defaultdict(list)
    for place, start, *columns in whole_numbers(connection, tuple_row).execute(statement, values):
        for outcome, numbers in zip(windows[place - 1].outcomes, zip(*columns, strict=True), strict=True):
            found[place - 1, outcome].append({"start": start, **dict(zip(_NAMES, numbers, strict=True))})
    return found


def _running(
    connection: Connection, as_of: AsOf, windows: Sequence[Window], length: int
) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the row of the period in which `as_of` lies, as it was then, by place and outcome, where anything had happened.

    Only for windows that hold this period. The table may hold later trades. So the row is made of the hours and minutes
    that had ended, and of the last minute's ticks and trades.
    """
    start = since = as_of.time - as_of.time % length
    wanted = [(place, each) for place, each in enumerate(windows) if each.end > max(start, each.start)]
    if not wanted:
        return {}
    inner = [each for _, each in wanted]
    parts: CandleParts = defaultdict(list)
    for part in (HOUR, MINUTE):
        if part < length:
            until = as_of.time - as_of.time % part
            found = _rows(connection, _PARTS, inner, part, [since] * len(inner), [until] * len(inner))
            for key, rows in found.items():
                parts[key] += rows
            since = until
    _add_last_minute(connection, as_of, inner, parts)
    return {(wanted[place][0], outcome): _joined(start, rows) for (place, outcome), rows in parts.items()}


def _add_last_minute(connection: Connection, as_of: AsOf, windows: Sequence[Window], parts: CandleParts) -> None:
    """Add the row of the minute in which `as_of` lies, made of its ticks and trades up to there."""
    minute = as_of.time - as_of.time % MINUTE
    keys = [(place, outcome) for place, each in enumerate(windows) for outcome in each.outcomes]
    values = {
        "markets": [windows[place].market_id for place, _ in keys],
        "numbers": [outcome + 1 for _, outcome in keys],
        "bits": [signed(1 << outcome) for _, outcome in keys],
        "period": MINUTE,
        "start": minute,
        "first": timeline.position_before(connection, minute) + 1,
        "last": as_of.position,
    }
    for place, *numbers in whole_numbers(connection, tuple_row).execute(_MINUTE, values):
        parts[keys[place - 1]].append({"start": minute, **dict(zip(_NAMES, numbers, strict=True))})


def _joined(start: int, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row that begins at `start` and has these parts, at least one, in their order."""
    ticked = [part for part in parts if part["open"] is not None]
    return {
        "start": start,
        "open": ticked[0]["open"] if ticked else None,
        "high": max((part["high"] for part in ticked), default=None),
        "low": min((part["low"] for part in ticked), default=None),
        "close": ticked[-1]["close"] if ticked else None,
        "previous": parts[0]["previous"],
        **{name: sum(part[name] for part in parts) for name in ("volume", "quantity", "trades")},
    }


# A minute of one outcome, up to a position. Like a row of the table, it is there if anything happened to any outcome.
_MINUTE: Final = """
    SELECT m.place, x.* FROM unnest(%(markets)s::text[], %(numbers)s::int[], %(bits)s::int8[])
        WITH ORDINALITY AS m(market_id, number, bit, place)
    CROSS JOIN LATERAL (
        WITH ticks AS (
            SELECT position, prices[m.number] AS price, changed & m.bit <> 0 AS own FROM market_activity
            WHERE market_id = m.market_id AND position BETWEEN %(first)s AND %(last)s AND changed <> 0),
        fills AS (
            SELECT count(*) AS fills, count(*) FILTER (WHERE own) AS trades,
                coalesce(sum(cost) FILTER (WHERE own), 0) AS volume,
                coalesce(sum(quantity) FILTER (WHERE own), 0) AS quantity
            FROM (SELECT cost, quantity, outcome = outcomes[m.number] AS own
                FROM trades t JOIN candles_latest_prices l ON l.market_id = t.market_id
                WHERE t.market_id = m.market_id AND position BETWEEN %(first)s AND %(last)s) fill)
        SELECT (array_agg(price ORDER BY position) FILTER (WHERE own))[1] AS open,
            max(price) FILTER (WHERE own) AS high, min(price) FILTER (WHERE own) AS low,
            (array_agg(price ORDER BY position DESC) FILTER (WHERE own))[1] AS close,
            (SELECT coalesce(close[m.number], previous[m.number]) FROM candles WHERE market_id = m.market_id
                AND period = %(period)s AND start < %(start)s ORDER BY start DESC LIMIT 1) AS previous,
            (SELECT volume FROM fills) AS volume, (SELECT quantity FROM fills) AS quantity,
            (SELECT trades FROM fills) AS trades
        FROM ticks HAVING count(*) > 0 OR (SELECT fills FROM fills) > 0) x"""
