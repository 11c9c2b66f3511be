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


@query("markets", "timeline")
def history(
    connection: Connection,
    as_of: AsOf,
    market_id: str,
    outcome: int,
    *,
    start: int | None = None,
    end: int | None = None,
    fidelity: int = 0,
    limit: int = 10_000,
) -> list[Tick]:
    """Return the ticks of an outcome (by its index) from `start` and before `end`, oldest first.

    With a `fidelity` in minutes, only the last tick of each interval of this length (aligned to UTC). Where there are more
    than `limit` ticks, these are the newest.
    """
    first = timeline.position_before(connection, start) + 1 if start is not None else 0
    last = min(as_of.position, timeline.position_before(connection, end)) if end is not None else as_of.position
    values = {
        "market": market_id,
        "first": first,
        "last": last,
        "bit": signed(1 << outcome),
        "index": outcome + 1,
        "step": fidelity * MINUTE,
        "limit": limit,
    }
    rows = connection.execute(_THINNED if fidelity else _EVERY, values).fetchall()
    return [Tick(*row) for row in reversed(rows)]


_EVERY: Final = """
    SELECT time, prices[%(index)s], position FROM market_activity
    WHERE market_id = %(market)s AND position BETWEEN %(first)s AND %(last)s AND changed & %(bit)s <> 0
    ORDER BY position DESC LIMIT %(limit)s"""

# Each step goes from the last tick of an interval to the last tick before that interval: one step for each point.
_THINNED: Final = """
    WITH RECURSIVE hop AS (
        (SELECT time, prices, position, partition FROM market_activity
         WHERE market_id = %(market)s AND position BETWEEN %(first)s AND %(last)s AND changed & %(bit)s <> 0
         ORDER BY position DESC LIMIT 1)
        UNION ALL
        SELECT before.* FROM hop CROSS JOIN LATERAL (
            SELECT time, prices, position, partition FROM market_activity
            WHERE market_id = %(market)s AND changed & %(bit)s <> 0 AND position BETWEEN %(first)s AND (
                SELECT previous FROM timeline
                WHERE partition = hop.partition AND time >= hop.time - hop.time %% %(step)s ORDER BY time LIMIT 1)
            ORDER BY position DESC LIMIT 1) before)
    SELECT time, prices[%(index)s], position FROM hop LIMIT %(limit)s"""
