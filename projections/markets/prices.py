"""Price ticks: each event that changed the price of an outcome, with its position. All of them are kept.

They are rows of `market_activity`, beside everything else that a trade changes. A tick of an outcome is a row in which the
outcome's bit of `changed` is set.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from psycopg import Connection

from domain.market import OUTCOMES_MAX
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
    rows = _ticks(connection, as_of, [_Wanted(market_id, outcomes, after, limit)], (start, end, fidelity), None)
    return _page(rows, 1, outcomes, limit)


@query("markets", "timeline")
def histories_of(
    connection: Connection,
    as_of: AsOf,
    markets: Sequence[tuple[str, int]],
    *,
    start: int | None,
    end: int | None,
    fidelity: int,
    points: int,
    after: int,
) -> list[Histories]:
    """Return the ticks of all outcomes of markets, each with its number of outcomes, as far as a page goes: in one query.

    A page ends with the market with which it has so many points, or of which more events follow than it has room for. Of the
    first market it has what comes after the position `after`.
    """
    most = [max(1, points // outcomes) for _, outcomes in markets]
    afters = [after, *[0] * len(markets)]
    wanted = [
        _Wanted(market_id, range(outcomes), begin, limit)
        for (market_id, outcomes), begin, limit in zip(markets, afters, most, strict=False)
    ]
    # The last market may have points of one event more than fit, and those of one event say that more follow.
    rows = _ticks(connection, as_of, wanted, (start, end, fidelity), points + 2 * OUTCOMES_MAX)
    found: list[Histories] = []
    left = points
    for place, (_, outcomes) in enumerate(markets, 1):
        if left <= 0:
            break
        page = _page(rows, place, range(outcomes), max(1, left // outcomes))
        found.append(page)
        if page.last is not None:
            break
        left -= sum(map(len, page.ticks))
    return found


class _Wanted(NamedTuple):
    """The ticks of some outcomes of a market: those of so many events (or intervals) after a position."""

    market_id: str
    outcomes: Sequence[int]
    after: int
    limit: int | None


class _TickRow(NamedTuple):
    """A tick of an outcome of the market in this place; `step` is the last position of its event or interval."""

    place: int
    step: int
    outcome: int
    tick: Tick


class _Rows:
    """Rows to be taken one after another."""

    def __init__(self, rows: Iterable[tuple[int, ...]]) -> None:
        self._rows = iter(rows)
        self.next: _TickRow | None = None
        self.take()

    def take(self) -> None:
        """Go on to the next row."""
        row = next(self._rows, None)
        self.next = None if row is None else _TickRow(row[0], row[1], row[2] - 1, Tick(*row[3:]))


def _ticks(
    connection: Connection,
    as_of: AsOf,
    wanted: Sequence[_Wanted],
    span: tuple[int | None, int | None, int],
    most: int | None,
) -> _Rows:
    """Return the ticks of markets in their order, within a span: from a time, before a time, with this fidelity.

    Of each market they are those of one event more than its limit, and of all at most `most`.
    """
    start, end, fidelity = span
    before = timeline.position_before(connection, start) if start is not None else 0
    last = min(as_of.position, timeline.position_before(connection, end)) if end is not None else as_of.position
    values = {
        "markets": [each.market_id for each in wanted],
        "tops": [1 + max(each.outcomes) for each in wanted],
        "masks": [signed(sum(1 << outcome for outcome in each.outcomes)) for each in wanted],
        "afters": [max(before, each.after) for each in wanted],
        "limits": [None if each.limit is None else each.limit + 1 for each in wanted],
        "last": last,
        "step": fidelity * MINUTE,
        "most": most,
    }
    return _Rows(connection.execute(_THINNED if fidelity else _EVERY, values))


def _page(rows: _Rows, place: int, outcomes: Sequence[int], limit: int | None) -> Histories:
    """Take the rows of the market in this place, as far as its page goes."""
    ticks: dict[int, list[Tick]] = {outcome: [] for outcome in outcomes}
    steps, reached = 0, None
    while (row := rows.next) is not None and row.place == place:
        if row.step != reached:
            steps += 1
            if limit is not None and steps > limit:
                return Histories([*ticks.values()], reached)
            reached = row.step
        ticks[row.outcome].append(row.tick)
        rows.take()
    return Histories([*ticks.values()], None)


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

_MARKETS: Final = """unnest(%(markets)s::text[], %(tops)s::int[], %(masks)s::int8[], %(afters)s::int8[], %(limits)s::int8[])
        WITH ORDINALITY AS m(market_id, top, mask, after, most, place)"""

_OUTCOMES: Final = "(SELECT o FROM generate_series(1, m.top) AS o WHERE (m.mask >> (o - 1)) & 1 = 1) o"
"""The outcomes of the market `m` that are wanted, by their numbers, from 1 on."""

# The markets come in the order of their places, so that no more of them are read than a page has room for.
_EVERY: Final = f"""
    SELECT m.place, e.position, o.o, e.time, e.prices[o.o], e.position FROM {_MARKETS}
    CROSS JOIN LATERAL (SELECT time, prices, position, changed FROM market_activity WHERE market_id = m.market_id
        AND position > m.after AND position <= %(last)s AND changed & m.mask <> 0 ORDER BY position LIMIT m.most) e
    CROSS JOIN LATERAL {_OUTCOMES} WHERE (e.changed >> (o.o - 1)) & 1 = 1
    ORDER BY m.place, e.position, o.o LIMIT %(most)s"""

# Each step goes from one interval with ticks to the next one: `first` is the tick that begins it, `until` the last position
# of its time. So the cost is that of the points, not of the ticks between them.
_THINNED: Final = f"""
    SELECT m.place, h.last, o.o, t.time, t.price, t.position FROM {_MARKETS}
    CROSS JOIN LATERAL (
        WITH RECURSIVE hop(after, last) AS (
            SELECT m.after, m.after
            UNION ALL
            SELECT hop.last, final.position FROM hop
            CROSS JOIN LATERAL (SELECT time - time %% %(step)s + %(step)s AS end, partition FROM market_activity
                WHERE market_id = m.market_id AND position > hop.last AND position <= %(last)s AND changed & m.mask <> 0
                ORDER BY position LIMIT 1) first
            CROSS JOIN LATERAL (SELECT least(%(last)s, (SELECT previous FROM timeline
                WHERE partition = first.partition AND time >= first.end ORDER BY time LIMIT 1)) AS position) until
            CROSS JOIN LATERAL (SELECT position FROM market_activity WHERE market_id = m.market_id
                AND position > hop.last AND position <= until.position AND changed & m.mask <> 0
                ORDER BY position DESC LIMIT 1) final)
        SELECT after, last FROM hop OFFSET 1 LIMIT m.most) h
    CROSS JOIN LATERAL {_OUTCOMES}
    CROSS JOIN LATERAL (SELECT time, prices[o.o] AS price, position FROM market_activity WHERE market_id = m.market_id
        AND position > h.after AND position <= h.last AND (changed >> (o.o - 1)) & 1 = 1
        ORDER BY position DESC LIMIT 1) t
    ORDER BY m.place, h.last, o.o LIMIT %(most)s"""
