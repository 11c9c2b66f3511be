"""Series of one market as JSON: ticks of its prices, and candles. Reads of one market and of many share them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from fastapi import Query
from psycopg import Connection

from api.http.routes.markets import outcome_indexes
from api.http.serializers import serialize
from domain.money import Time, format_decimal
from messages.wire import format_time
from projections import candle_windows, candles
from projections.markets import prices
from projections.markets.tables import MarketRow
from projections.reading import AsOf
from projections.times import DAY, HOUR

Interval = Literal["1h", "6h", "1d", "1w", "max"]

INTERVALS: Final[dict[Interval, Time | None]] = {
    "1h": HOUR,
    "6h": 6 * HOUR,
    "1d": DAY,
    "1w": 7 * DAY,
    "max": None,
}
"""The length of each interval in microseconds."""

POINTS_MAX: Final = 10_000
"""The most points of one answer with a price history."""

CANDLES_MAX: Final = 5_000
"""The most candles of one answer."""

CANDLES_NEEDS: Final = (candle_windows.first_starts, candle_windows.candles)
"""What reads of candles need, besides the markets."""

Fidelity = Annotated[int, Query(ge=0, le=100_000, description="minutes between points; 0: every tick")]
PointsLimit = Annotated[int, Query(ge=1, le=POINTS_MAX, description="the most points, at least those of one event")]
CandlesLimit = Annotated[int, Query(ge=1, le=CANDLES_MAX, description="the most candles, at least those of one period")]


class SeriesPage(NamedTuple):
    """A market's part of a page as JSON, and the key after which, or with which, more follows; None: none."""

    rows: list[dict[str, Any]]
    more: int | None


@dataclass(frozen=True, slots=True)
class Ticks:
    """The ticks that are wanted: of an interval or from `start` on, before `end`, one in each `fidelity` minutes."""

    interval: Interval
    fidelity: int
    start: Time | None
    end: Time | None

    def of(
        self, connection: Connection[Any], as_of: AsOf, market: MarketRow, outcome: str | None, limit: int, after: int
    ) -> SeriesPage:
        """Return a page of the histories of a market's outcomes; `outcome` names one of them, None all.

        The next page begins after a position.
        """
        indexes = outcome_indexes(market, outcome)
        page = prices.histories(
            connection,
            as_of,
            market.market_id,
            indexes,
            start=self._first(as_of),
            end=self.end,
            fidelity=self.fidelity,
            limit=max(1, limit // len(indexes)),
            after=after,
        )
        return _histories(market, indexes, page)

    def of_all(
        self, connection: Connection[Any], as_of: AsOf, markets: Sequence[MarketRow], limit: int, after: int
    ) -> list[SeriesPage]:
        """Return what `of` returns for one market after another, as far as a page goes; `after` is of the first one."""
        wanted = [(each.market_id, len(each.outcomes)) for each in markets]
        pages = prices.histories_of(
            connection,
            as_of,
            wanted,
            start=self._first(as_of),
            end=self.end,
            fidelity=self.fidelity,
            points=limit,
            after=after,
        )
        return [
            _histories(market, range(len(market.outcomes)), page) for market, page in zip(markets, pages, strict=False)
        ]

    def _first(self, as_of: AsOf) -> Time | None:
        length = INTERVALS[self.interval]
        if self.start is not None or length is None:
            return self.start
        return (self.end if self.end is not None else as_of.time) - length


class _Planned(NamedTuple):
    """A window, the most candles in it, and with which start more follow; None: none."""

    window: candle_windows.Window
    expected: int
    more: int | None


@dataclass(frozen=True, slots=True)
class Candles:
    """The candles that are wanted: of a period, from `start` on and before `end`."""

    period: candles.Period
    start: Time | None
    end: Time | None

    def of(
        self,
        connection: Connection[Any],
        as_of: AsOf,
        market: MarketRow,
        outcome: str | None,
        limit: int,
        after: int | None,
    ) -> SeriesPage:
        """Return a page of the candles of a market's outcomes; `outcome` names one of them, None all.

        The next page begins with a start.
        """
        indexes = outcome_indexes(market, outcome)
        (page,) = self._pages(connection, as_of, [(market, range(indexes[0], indexes[-1] + 1))], limit, after)
        return page

    def of_all(
        self, connection: Connection[Any], as_of: AsOf, markets: Sequence[MarketRow], limit: int, after: int
    ) -> list[SeriesPage]:
        """Return what `of` returns for one market after another, as far as a page goes; `after` is of the first one."""
        every = [(each, range(len(each.outcomes))) for each in markets]
        return self._pages(connection, as_of, every, limit, after or None)

    def _pages(
        self,
        connection: Connection[Any],
        as_of: AsOf,
        wanted: Sequence[tuple[MarketRow, range]],
        limit: int,
        after: int | None,
    ) -> list[SeriesPage]:
        ids = [market.market_id for market, _ in wanted]
        begins = candle_windows.first_starts(connection, as_of, ids, self.period)
        found: list[SeriesPage] = []
        left = limit
        while len(found) < len(wanted) and left > 0:
            windows = self._windows(as_of, wanted[len(found) :], begins, left, None if found else after)
            columns = candle_windows.candles(connection, as_of, self.period, [each.window for each in windows])
            for each, of_outcomes in zip(windows, columns, strict=True):
                market, outcomes = wanted[len(found)]
                names = market.outcomes[outcomes.start : outcomes.stop]
                rows = [
                    {"outcome": name, **serialize(candle)}
                    for candle_row in zip(*of_outcomes, strict=True)
                    for name, candle in zip(names, candle_row, strict=True)
                ]
                found.append(SeriesPage(rows, each.more))
                left -= len(rows)
                if each.more is not None:
                    return found
                if len(rows) != each.expected:  # there is more room for those after it than was thought
                    break
        return found

    def _windows(
        self,
        as_of: AsOf,
        wanted: Sequence[tuple[MarketRow, range]],
        begins: Mapping[str, Time],
        left: int,
        after: Time | None,
    ) -> list[_Planned]:
        """Return the windows of one market after another, until they have as many candles as are left."""
        length = candles.PERIODS[self.period]
        last = as_of.time + 1 if self.end is None else min(self.end, as_of.time + 1)
        planned: list[_Planned] = []
        for market, outcomes in wanted:
            if left <= 0:
                break
            begin, end, expected = begins.get(market.market_id), 0, 0
            first = 0
            if begin is not None:
                first = max(begin, after if after is not None else self.start or begin)
                first -= first % length
                end = first + max(1, left // len(outcomes)) * length
                expected = len(outcomes) * max(0, -(-(min(last, end) - first) // length))
            window = candle_windows.Window(market.market_id, outcomes, first, min(last, end))
            planned.append(_Planned(window, expected, end if begin is not None and end < last else None))
            if planned[-1].more is not None:
                break
            left, after = left - expected, None
        return planned


def _histories(market: MarketRow, indexes: Sequence[int], page: prices.Histories) -> SeriesPage:
    histories = [
        {"outcome": market.outcomes[index], "history": [point_json(tick) for tick in ticks]}
        for index, ticks in zip(indexes, page.ticks, strict=True)
    ]
    return SeriesPage(histories, page.last)


def point_json(tick: prices.Tick) -> dict[str, Any]:
    """Return a point of a price history in JSON's types: `t` its time, `p` the price, `position` its place in the log."""
    return {"t": format_time(tick.time), "p": format_decimal(tick.price), "position": tick.position}
