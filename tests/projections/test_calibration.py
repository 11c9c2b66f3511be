"""Calibration beside a naive count over the whole log, and what must not be kept: forecasts of what was paid before."""

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
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from domain.events import Recorded
    from tests.projections.folding import ReadModels

Forecast = tuple[tuple[int, ...], list[int]]


def forecasts(log: list[Recorded], category: str | None, earlier: int) -> tuple[int, list[Forecast]]:
    """Return how many markets are finalized, and prices and payouts of those that were trading so long before their close."""
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
    """At every horizon, in one category and in all, after corrections too, the sums are those of all forecasts one by one."""
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
