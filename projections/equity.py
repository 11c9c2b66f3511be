"""The equity of an account over time: its cash and the mark value of its positions."""

from typing import Final, NamedTuple

from psycopg import Connection

from domain.money import Credits, Time
from projections.positions.valuation import HELD_RANGE, value_at
from projections.reading import AsOf, query


class EquityPoint(NamedTuple):
    """The cash and the mark value of the positions of an account at a time; `equity` is their sum."""

    time: Time
    available: Credits
    held: Credits
    positions: Credits
    equity: Credits

    @property
    def key(self) -> tuple[int]:
        """Its place in the history."""
        return (self.time,)


_VALUE_AT_POINTS: Final = value_at(
    "g.at",
    "SELECT * FROM held WHERE opened_position <= g.at AND (ended_position IS NULL OR ended_position > g.at)",
)

_EQUITY: Final = f"""
    WITH points AS (
        SELECT g.time, coalesce(least((SELECT previous FROM timeline WHERE partition = 0 AND time > g.time
            ORDER BY time LIMIT 1), %(at)s), %(at)s) AS at FROM generate_series(%(start)s::int8, %(end)s, %(step)s) g(time)),
    held AS MATERIALIZED (  -- the positions that the account may have held at one of the points
        SELECT k.partition, k.market_id, k.outcome, k.opened_position, m.outcomes, m.ended_position
        FROM positions k JOIN positions_markets m USING (market_id)
        WHERE k.account_id = %(account)s AND {HELD_RANGE}
            && int8range((SELECT min(at) FROM points), (SELECT max(at) FROM points), '[]'))
    SELECT g.time, coalesce(e.available_after, 0), coalesce(e.held_after, 0), {_VALUE_AT_POINTS}
    FROM points g LEFT JOIN LATERAL (
        SELECT available_after, held_after FROM ledger WHERE account_id = %(account)s
        AND position <= g.at AND available_after IS NOT NULL ORDER BY position DESC LIMIT 1) e ON true
    ORDER BY g.time"""


WORK_MAX: Final = 100_000
"""The most positions that are valued for one answer, at all of its points together."""

_POSITIONS: Final = "SELECT count(*) FROM (SELECT 1 FROM positions WHERE account_id = %s LIMIT %s) AS held"


@query("positions")
def points_max(connection: Connection, as_of: AsOf, account_id: str) -> int:  # noqa: ARG001  every query has them
    """Return the most points of one answer for this account, at least 1. Its closed positions count too."""
    row = connection.execute(_POSITIONS, [account_id, WORK_MAX]).fetchone()
    assert row is not None, "a count has one row"
    held: int = row[0]
    return max(1, WORK_MAX // max(1, held))


@query("accounts", "positions", "markets", "timeline")
def equity_history(
    connection: Connection, as_of: AsOf, account_id: str, *, start: int, end: int, step: int
) -> list[EquityPoint]:
    """Return the equity of the account at `start` and at each `step` after it, up to `end` or the time of `as_of`."""
    end = min(end, as_of.time)
    if start > end:
        return []
    values = {"at": as_of.position, "start": start, "end": end, "step": step, "account": account_id}
    rows = connection.execute(_EQUITY, values).fetchall()
    return [EquityPoint(time, cash, held, value, cash + held + value) for time, cash, held, value in rows]
