"""Candles: against numbers computed by hand, and against the ticks and trades of a simulated log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projections import candles
from projections.markets import listing, prices
from projections.reading import read
from projections.registry import PROJECTIONS
from projections.times import DAY, MINUTE
from projections.trades import trades
from tests.projections.by_hand import MONDAY, Story, folded
from tests.projections.reading_candles import outcome_candles
from tests.projections.simulation import HOUR, START, simulate

if TYPE_CHECKING:
    from tests.projections.folding import ReadModels


def test_candles_of_ticks_and_gaps(read_models: ReadModels) -> None:
    """Ticks 0.5, 0.6 | 0.4, 0.7 | none | 0.65 by minute make these candles; the gap carries 0.7, the end is exclusive."""
    story = Story("a")
    story.time = MONDAY + MINUTE - 1
    story.trade("a", "buy", 10, 6, 600_000)
    story.time = MONDAY + MINUTE
    story.trade("a", "sell", 5, 2, 400_000)
    story.trade("a", "buy", 5, 3, 700_000)
    story.time = MONDAY + 3 * MINUTE
    story.trade("a", "sell", 1, 1, 650_000)
    copy = folded(read_models, story)
    with read(copy.connection, *PROJECTIONS) as as_of:
        found = outcome_candles(copy.connection, as_of, "m", 0, "1m", MONDAY, MONDAY + 10 * MINUTE)
        (day,) = outcome_candles(copy.connection, as_of, "m", 1, "1d", MONDAY, MONDAY + DAY)

    assert [
        candles.Candle(MONDAY, MONDAY + MINUTE, 500_000, 600_000, 500_000, 600_000, None, 6, 10, 1),
        candles.Candle(MONDAY + MINUTE, MONDAY + 2 * MINUTE, 400_000, 700_000, 400_000, 700_000, 600_000, 5, 10, 2),
        candles.Candle(MONDAY + 2 * MINUTE, MONDAY + 3 * MINUTE, None, None, None, None, 700_000, 0, 0, 0),
        candles.Candle(MONDAY + 3 * MINUTE, MONDAY + 4 * MINUTE, 650_000, 650_000, 650_000, 650_000, 700_000, 1, 1, 1),
    ] == found
    assert (day.open, day.high, day.low, day.close, day.trades) == (500_000, 600_000, 300_000, 350_000, 0)


def test_a_candle_of_the_past_holds_nothing_later(read_models: ReadModels) -> None:
    """After the first of two trades of a minute, the candle in which they lie has only that one, in every period."""
    story = Story("a")
    story.trade("a", "buy", 10, 6, 517_322)
    position = len(story.log)
    story.trade("a", "buy", 10, 6, 618_976)
    copy = folded(read_models, story)
    for period, length in candles.PERIODS.items():
        with read(copy.connection, *PROJECTIONS, at=position) as as_of:
            (yes,) = outcome_candles(copy.connection, as_of, "m", 0, period, MONDAY, MONDAY + DAY)
            (no,) = outcome_candles(copy.connection, as_of, "m", 1, period, MONDAY, MONDAY + DAY)

        end = MONDAY + length
        assert yes == candles.Candle(MONDAY, end, 500_000, 517_322, 500_000, 517_322, None, 6, 10, 1)
        assert no == candles.Candle(MONDAY, end, 500_000, 500_000, 482_678, 482_678, None, 0, 0, 0)


def test_candles_are_what_ticks_and_trades_say(read_models: ReadModels) -> None:
    """Every candle, gaps included, agrees with the ticks and trades that lie in it."""
    log = simulate(3, 900)
    copy = read_models.copy().fold(log, 500)
    with read(copy.connection, *PROJECTIONS) as as_of:
        for market in listing.newest(copy.connection, as_of):
            for outcome, name in enumerate(market.outcomes):
                ticks = prices.histories(copy.connection, as_of, market.market_id, [outcome]).ticks[0]
                fills = [
                    trade
                    for trade in trades.market_trades(copy.connection, as_of, market.market_id, limit=10_000)
                    if trade.outcome == name
                ]
                for period, length in candles.PERIODS.items():
                    end = START + min(60 * 24 * HOUR, 1000 * length) + length // 2
                    for candle in outcome_candles(
                        copy.connection, as_of, market.market_id, outcome, period, START, end
                    ):
                        inside = [tick.price for tick in ticks if candle.start <= tick.time < candle.end]
                        before = [tick.price for tick in ticks if tick.time < candle.start]
                        traded = [fill for fill in fills if candle.start <= fill.time < candle.end]
                        expected = candles.Candle(
                            candle.start, candle.start + length,
                            inside[0] if inside else None, max(inside, default=None), min(inside, default=None),
                            inside[-1] if inside else None, before[-1] if before else None,
                            sum(fill.cost for fill in traded), sum(fill.quantity for fill in traded), len(traded),
                        )  # fmt: skip
                        assert expected == candle
