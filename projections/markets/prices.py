"""Price ticks: each event that changed the price of an outcome, with its position. All of them are kept.

They are rows of `market_activity`, beside everything else that a trade changes. A tick of an outcome is a row in which the
outcome's bit of `changed` is set.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from psycopg import Connection

from projections import timeline
from projections.reading import AsOf, query
from projections.times import MINUTE

TRACK_MAX: Final = 20_000
"""The most changes of prices that `tracks` returns as they are."""


class Tick(NamedTuple):
    """The price of one outcome from this position on."""

    time: int
    price: int
    position: int


def signed(mask: int) -> int:
    """Return 64 bits as the signed integer that PostgreSQL stores."""
    return mask - (1 << 64) if mask >> 63 else mask


@query("markets")
def latest(connection: Connection, as_of: AsOf, market_ids: Sequence[str]) -> dict[str, list[int]]:
    """Return the prices of each of these markets, in the order of its outcomes; a draft has its initial prices."""
    rows = connection.execute(
        "SELECT m, p.prices FROM unnest(%s::text[]) AS m CROSS JOIN LATERAL (SELECT prices FROM market_activity "
        "WHERE market_id = m AND position <= %s ORDER BY position DESC LIMIT 1) p",
        [list(market_ids), as_of.position],
    ).fetchall()
    return dict(rows)


class Histories(NamedTuple):
    """The ticks of some outcomes, in their order; `last` is the last position of the page if more ticks follow, else None."""

    ticks: list[list[Tick]]
    last: int | None


@query("markets", "timeline")
def histories(
    connection: Connection,
    as_of: AsOf,
    market_id: str,
    outcomes: Sequence[int],
    *,
    start: int | None = None,
    end: int | None = None,
    fidelity: int = 0,
    limit: int | None = None,
    after: int = 0,
) -> Histories:
    """Return the ticks of these outcomes (by their indexes) from `start` and before `end`, oldest first.

    With a `fidelity` in minutes, only the last tick of each outcome in each interval of this length (aligned to UTC). A page
    has the ticks of the first `limit` events (or intervals) with ticks that come after the position `after`.
    """
    before = timeline.position_before(connection, start) if start is not None else 0
    last = min(as_of.position, timeline.position_before(connection, end)) if end is not None else as_of.position
    values = {
        "market": market_id,
        "after": max(before, after),
        "last": last,
        "mask": signed(sum(1 << outcome for outcome in outcomes)),
        "bits": [signed(1 << outcome) for outcome in outcomes],
        "indexes": [outcome + 1 for outcome in outcomes],
        "step": fidelity * MINUTE,
        "limit": None if limit is None else limit + 1,
    }
    ticks: list[list[Tick]] = [[] for _ in outcomes]
    steps = 0
    reached = None
    for step, place, *tick in connection.execute(_THINNED if fidelity else _EVERY, values):
        if step != reached:
            steps += 1
            if limit is not None and steps > limit:
                return Histories(ticks, reached)
            reached = step
        ticks[place - 1].append(Tick(*tick))
    return Histories(ticks, None)


@query("markets")
def tracks(
    connection: Connection,
    as_of: AsOf,
    market_ids: Sequence[str],
    *,
    after: int = 0,
    most: int = TRACK_MAX,
    columns: int = 640,
) -> dict[str, list[tuple[int, list[int]]]]:
    """Return the times at which the prices of these markets changed after a position, with all their prices, oldest first.

    Where these are more than `most`, only the last ones of so many equal parts of the time are returned.
    """
    values = {"markets": list(market_ids), "after": after, "last": as_of.position, "most": most + 1, "columns": columns}
    rows = connection.execute(_TRACKS, values).fetchall()
    if len(rows) > most:
        rows = connection.execute(_THINNED_TRACKS, values).fetchall()
    found: dict[str, list[tuple[int, list[int]]]] = {}
    for market_id, time, at_time in rows:
        found.setdefault(market_id, []).append((time, at_time))
    return found


_CHANGED: Final = """FROM market_activity WHERE market_id = ANY(%(markets)s)
    AND position > %(after)s AND position <= %(last)s AND changed <> 0"""

_TRACKS: Final = f"SELECT market_id, time, prices {_CHANGED} ORDER BY market_id, position LIMIT %(most)s"

_THINNED_TRACKS: Final = f"""
    SELECT market_id, time, prices FROM (
        SELECT DISTINCT ON (market_id, part) market_id, time, prices, position FROM (
            SELECT market_id, time, prices, position, ntile(%(columns)s) OVER (PARTITION BY market_id ORDER BY time) AS part
            {_CHANGED}) parts
        ORDER BY market_id, part, position DESC) thinned
    ORDER BY market_id, position"""

_EVERY: Final = """
    SELECT e.position, o.place, e.time, e.prices[o.index], e.position FROM (
        SELECT time, prices, position, changed FROM market_activity WHERE market_id = %(market)s
        AND position > %(after)s AND position <= %(last)s AND changed & %(mask)s <> 0 ORDER BY position LIMIT %(limit)s) e
    JOIN unnest(%(indexes)s::int[], %(bits)s::int8[]) WITH ORDINALITY o(index, bit, place) ON e.changed & o.bit <> 0
    ORDER BY e.position, o.place"""

# Each step goes from one interval with ticks to the next one: `first` is the tick that begins it, `until` the last position
# of its time. So the cost is that of the points, not of the ticks between them.
_THINNED: Final = """
    WITH RECURSIVE hop(after, last) AS (
        SELECT %(after)s::int8, %(after)s::int8
        UNION ALL
        SELECT hop.last, final.position FROM hop
        CROSS JOIN LATERAL (SELECT time - time %% %(step)s + %(step)s AS end, partition FROM market_activity
            WHERE market_id = %(market)s AND position > hop.last AND position <= %(last)s AND changed & %(mask)s <> 0
            ORDER BY position LIMIT 1) first
        CROSS JOIN LATERAL (SELECT least(%(last)s, (SELECT previous FROM timeline
            WHERE partition = first.partition AND time >= first.end ORDER BY time LIMIT 1)) AS position) until
        CROSS JOIN LATERAL (SELECT position FROM market_activity
            WHERE market_id = %(market)s AND position > hop.last AND position <= until.position AND changed & %(mask)s <> 0
            ORDER BY position DESC LIMIT 1) final)
    SELECT h.last, o.place, t.time, t.price, t.position
    FROM (SELECT after, last FROM hop OFFSET 1 LIMIT %(limit)s) h
    CROSS JOIN unnest(%(indexes)s::int[], %(bits)s::int8[]) WITH ORDINALITY o(index, bit, place)
    CROSS JOIN LATERAL (SELECT time, prices[o.index] AS price, position FROM market_activity
        WHERE market_id = %(market)s AND position > h.after AND position <= h.last AND changed & o.bit <> 0
        ORDER BY position DESC LIMIT 1) t
    ORDER BY h.last, o.place"""
