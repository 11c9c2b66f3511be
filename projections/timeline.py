"""The time of every position: one row for each moment at which something happened."""

from typing import Final, NamedTuple

from psycopg import Connection

from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.row_values import by_name
from projections.machine.table import Table
from projections.machine.workspace import Workspace


class TimelineRow(NamedTuple):
    """A time; `position` is the first one at it, `previous` the last one before it (0: none)."""

    partition: int
    time: int
    position: int
    previous: int


TIMELINE = Table("timeline", TimelineRow, key=["partition", "time"])

_moment = by_name(TimelineRow)


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add a row whenever the time has moved."""
    append = workspace.rows(TIMELINE).append
    partition, position, time = batch.partition, workspace.position, workspace.time
    for recorded in batch.events:
        if recorded.time != time:
            time = recorded.time
            append(_moment(partition=partition, time=time, position=recorded.position, previous=position))
        position = recorded.position


PROJECTION = Projection("timeline", 3, (TIMELINE,), fold, scope="all", weight=1.1)


def position_at(connection: Connection, time: int, partition: int = 0) -> int:
    """Return the last position at or before a time, among those folded so far; 0 where there is none."""
    return position_before(connection, time + 1, partition)


def position_before(connection: Connection, time: int, partition: int = 0) -> int:
    """Return the last position before a time, among those folded so far; 0 where there is none."""
    row = connection.execute(
        "SELECT previous FROM timeline WHERE partition = %s AND time >= %s ORDER BY time LIMIT 1", [partition, time]
    ).fetchone()
    if row is None:
        row = connection.execute(
            "SELECT position FROM projection_positions WHERE projection = 'timeline' AND partition = %s", [partition]
        ).fetchone()
    return int(row[0]) if row else 0


def time_of(connection: Connection, position: int, partition: int = 0) -> int:
    """Return the time of a position, or of the last one before it where the log has a gap; 0 before the first.

    Positions rise with time, so a binary search over time finds it: about fifty steps in the index by time, in one query.
    """
    row = connection.execute(_HALVING, {"partition": partition, "position": position}).fetchone()
    return int(row[0]) if row else 0


_HALVING: Final = """
    WITH RECURSIVE ends AS (
        SELECT (SELECT time FROM timeline WHERE partition = %(partition)s ORDER BY time LIMIT 1) AS low,
            (SELECT time FROM timeline WHERE partition = %(partition)s ORDER BY time DESC LIMIT 1) + 1 AS high),
    halves AS (
        SELECT low, high FROM ends WHERE low IS NOT NULL
        UNION ALL
        SELECT CASE WHEN below THEN middle ELSE low END, CASE WHEN below THEN high ELSE middle END FROM (
            SELECT low, high, (low + high) / 2 AS middle, coalesce((SELECT position <= %(position)s FROM timeline
                WHERE partition = %(partition)s AND time >= (low + high) / 2 ORDER BY time LIMIT 1), false) AS below
            FROM halves WHERE high - low > 1) step)
    SELECT t.time FROM halves JOIN timeline t ON t.partition = %(partition)s AND t.time = halves.low
    WHERE halves.high - halves.low = 1 AND t.position <= %(position)s"""
