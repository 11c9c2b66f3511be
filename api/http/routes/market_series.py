"""Series of one market as JSON: ticks of its prices, and candles. Reads of one market and of many share them."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import Query
from psycopg import Connection

from api.http.routes.markets import outcome_indexes
from api.http.serializers import serialize
from domain.money import Time, format_decimal
from messages.wire import format_time
from projections import candles
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

Fidelity = Annotated[int, Query(ge=0, le=100_000, description="minutes between points; 0: every tick")]
PointsLimit = Annotated[int, Query(ge=1, le=POINTS_MAX, description="the most points, at least those of one event")]
CandlesLimit = Annotated[int, Query(ge=1, le=CANDLES_MAX, description="the most candles, at least those of one period")]


@dataclass(frozen=True, slots=True)
class Ticks:
    """The ticks that are wanted: of an interval or from `start` on, before `end`, one in each `fidelity` minutes."""

    interval: Interval
    fidelity: int
    start: Time | None
    end: Time | None

    def of(
        self, connection: Connection[Any], as_of: AsOf, market: MarketRow, outcome: str | None, limit: int, after: int
    ) -> tuple[list[dict[str, Any]], int | None, int]:
        """Return a page of the histories of a market's outcomes, and after which position the next one begins; None: none.

        The third is the number of points. `outcome` names one of them, None all.
        """
        indexes = outcome_indexes(market, outcome)
        length = INTERVALS[self.interval]
        first = self.start
        if first is None and length is not None:
            first = (self.end if self.end is not None else as_of.time) - length
        page = prices.histories(
            connection,
            as_of,
            market.market_id,
            indexes,
            start=first,
            end=self.end,
            fidelity=self.fidelity,
            limit=max(1, limit // len(indexes)),
            after=after,
        )
        histories = [
            {"outcome": market.outcomes[index], "history": [point_json(tick) for tick in ticks]}
            for index, ticks in zip(indexes, page.ticks, strict=True)
        ]
        return histories, page.last, sum(map(len, page.ticks))


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
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return a page of the candles of a market's outcomes, and with which start the next one begins; None: none."""
        indexes = outcome_indexes(market, outcome)
        begin = candles.first_start(connection, as_of, market.market_id, self.period)
        if begin is None:
            return [], None
        length = candles.PERIODS[self.period]
        first = max(begin, after if after is not None else self.start or begin)
        last = as_of.time + 1 if self.end is None else min(self.end, as_of.time + 1)
        page_end = first - first % length + max(1, limit // len(indexes)) * length
        columns = [
            candles.candles(connection, as_of, market.market_id, index, self.period, first, min(last, page_end))
            for index in indexes
        ]
        names = [market.outcomes[index] for index in indexes]
        rows = [
            {"outcome": name, **serialize(candle)}
            for candle_row in zip(*columns, strict=True)
            for name, candle in zip(names, candle_row, strict=True)
        ]
        return rows, page_end if page_end < last else None


def point_json(tick: prices.Tick) -> dict[str, Any]:
    """Return a point of a price history in JSON's types: `t` its time, `p` the price, `position` its place in the log."""
    return {"t": format_time(tick.time), "p": format_decimal(tick.price), "position": tick.position}
