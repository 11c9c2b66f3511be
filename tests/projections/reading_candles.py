"""Candles of one outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projections import candle_windows

if TYPE_CHECKING:
    from psycopg import Connection

    from projections.candles import Candle, Period
    from projections.reading import AsOf


def outcome_candles(  # noqa: PLR0917  read in one order everywhere
    connection: Connection[Any], as_of: AsOf, market_id: str, outcome: int, period: Period, start: int, end: int
) -> list[Candle]:
    """Return the candles of an outcome, by its index, that lie in [start, end)."""
    window = candle_windows.Window(market_id, range(outcome, outcome + 1), start, end)
    ((found,),) = candle_windows.candles(connection, as_of, period, [window])
    return found
