"""Calibration beside a naive count over the whole log, corrections included, and beside numbers computed by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from domain.market import MarketActivated, MarketClosed, MarketCorrected, MarketDrafted, MarketFinalized
from domain.money import MICRO
from domain.orders import RestingOrderFilled
from domain.story import StoryPublished
from projections.calibration import DECILES, HORIZONS, calibration
from projections.machine.batch import EXECUTED
from projections.reading import read
from projections.registry import PROJECTIONS
from projections.times import DAY
from tests.projections.by_hand import MONDAY, Story, folded
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from domain.events import Recorded
    from tests.projections.folding import ReadModels

Forecast = tuple[tuple[int, ...], list[int]]


def forecasts(log: list[Recorded], category: str | None, earlier: int) -> tuple[int, list[Forecast]]:
    """Return the number of finalized markets, and prices and payouts of those that were trading this long before their close."""
    categories: dict[str, str] = {}
    drafts: dict[str, Any] = {}
    prices: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
    closed: dict[str, int] = {}
    paid: dict[str, Any] = {}
    for recorded in log:
        event: Any = recorded.event
        kind = type(event)
        after = event.execution.prices if kind in EXECUTED else getattr(event, "prices", ())
        if kind is StoryPublished:
            categories[event.story_id] = event.category
        elif kind is MarketDrafted:
            drafts[event.market_id] = event
        elif kind is MarketClosed:
            closed[event.market_id] = recorded.time
        elif kind in {MarketFinalized, MarketCorrected}:
            paid[event.market_id] = {payout.outcome: payout.fraction for payout in event.payouts}
        elif after and kind in EXECUTED | {MarketActivated, RestingOrderFilled}:
            prices.setdefault(event.market_id, []).append((recorded.time, after))
    chosen = [name for name in paid if category is None or categories[drafts[name].story_id] == category]
    found: list[Forecast] = []
    for name in chosen:
        then = [at for time, at in prices[name] if time <= closed[name] - earlier]
        if then:
            found.append((then[-1], [paid[name].get(outcome, 0) for outcome in drafts[name].outcomes]))
    return len(chosen), found


@pytest.mark.parametrize("seed", range(3))
def test_sums_are_those_of_every_market(read_models: ReadModels, seed: int) -> None:
    """At every horizon, in one category and in all, the sums are those of all forecasts one by one, after corrections too."""
    log = simulate(seed, 1500)
    copy = read_models.copy(["markets"]).fold(log, 700)
    assert any(isinstance(recorded.event, MarketCorrected) for recorded in log)
    for category in (None, "category0"):
        with read(copy.connection, "markets") as as_of:
            found = calibration(copy.connection, as_of, category=category)
        for horizon, (name, earlier) in zip(found.horizons, HORIZONS.items(), strict=True):
            markets, expected = forecasts(log, category, earlier)
            pairs = [pair for at, payouts in expected for pair in zip(at, payouts, strict=True)]
            squares = sum((price - payout) ** 2 for price, payout in pairs)
            logs = sum((-payout * (Decimal(price) / MICRO).ln() for price, payout in pairs), Decimal(0))

            assert (name, markets, len(expected), len(pairs)) == (
                horizon.name, found.markets, horizon.markets, horizon.outcomes,
            )  # fmt: skip
            scores = (squares // (len(pairs) * MICRO), int(logs / len(expected))) if expected else (None, None)
            assert scores == (horizon.brier, horizon.log_score)
            for i, decile in enumerate(horizon.deciles):
                inside = [pair for pair in pairs if pair[0] * DECILES // MICRO == i]
                means = [sum(values) // len(inside) for values in zip(*inside, strict=True)] or [None, None]
                assert (len(inside), *means) == (decile.count, decile.mean_price, decile.mean_outcome)


def test_calibration_of_one_market(read_models: ReadModels) -> None:
    """Yes at 0.8 paid 1: both outcomes err by 0.2, so Brier is 0.04; the log score is -ln 0.8 = 0.223143."""
    story = Story("a")
    story.trade("a", "buy", 10 * MICRO, 6 * MICRO, 700_000)
    story.time = MONDAY + 2 * DAY
    story.trade("a", "buy", 10 * MICRO, 6 * MICRO, 800_000)
    story.finalize(MICRO, a=20 * MICRO)
    copy = folded(read_models, story)
    with read(copy.connection, *PROJECTIONS) as as_of:
        found = calibration(copy.connection, as_of)

    close, day, week = found.horizons
    assert (found.markets, close.markets, close.outcomes, close.brier, close.log_score) == (1, 1, 2, 40_000, 223_143)
    assert (day.brier, week.brier) == (90_000, None)
    assert [
        (i, decile.count, decile.mean_price, decile.mean_outcome)
        for i, decile in enumerate(close.deciles)
        if decile.count
    ] == [(2, 1, 200_000, 0), (8, 1, 800_000, MICRO)]
