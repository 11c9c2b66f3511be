"""The price after a trade is the AMM's when the whole command is done, one for all fills of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from domain.account import TradeSettled
from domain.events import Recorded
from domain.market import (
    AddLiquidity,
    CloseMarket,
    DetermineMarket,
    Evidence,
    FinalizeMarket,
    HaltMarket,
    Payout,
    ResumeMarket,
)
from domain.money import MICRO
from domain.orders import OrderPlaced, RestingOrderFilled, SplitSets
from domain.sweeping import SWEEP_ORDERS_MAX
from projections.positions import leaderboard
from projections.reading import read
from projections.registry import PROJECTIONS
from projections.trades.trades import Trade, market_trades
from tests.domain.scenario import ABC, TRADERS, Scenario, a_market, buy, given, sell

if TYPE_CHECKING:
    from tests.projections.folding import Copy, ReadModels


def log_of(scenario: Scenario) -> list[Recorded]:
    """Return the log of a scenario."""
    return [
        Recorded(number, entry.stream, entry.version, time, command_id, entry.event)
        for number, (command_id, time, entry) in enumerate(scenario.log, 1)
    ]


def trades_of(copy: Copy) -> list[Trade]:
    """Return the trades of the market, oldest first."""
    with read(copy.connection, *PROJECTIONS) as as_of:
        return market_trades(copy.connection, as_of, "m", limit=1000)[::-1]


@pytest.mark.parametrize("size", [1, 2, 5000])
@pytest.mark.parametrize("bids", [1, SWEEP_ORDERS_MAX + 20])
def test_all_fills_of_a_command_have_the_price_after_its_sweep(read_models: ReadModels, size: int, bids: int) -> None:
    """Bob's purchase, and the bids on B and C that the AMM fills because of it, also in a sweep of several steps."""
    scenario = given(*ABC, *TRADERS)
    for number in range(bids):
        scenario.given(buy("alice", "B", name=f"b{number}", quantity=20 * MICRO // bids, limit_price=300_000))
        scenario.given(buy("carol", "C", name=f"c{number}", quantity=20 * MICRO // bids, limit_price=290_000))
    scenario.given(buy("bob", "A", quantity=60 * MICRO))
    assert sum(isinstance(event, RestingOrderFilled) for event in scenario.events) >= 2 * bids
    final = scenario.exchange.markets["m"].displayed_prices()
    trades = trades_of(read_models.copy().fold(log_of(scenario), size))

    assert {trade.price_after for trade in trades if trade.outcome == "A"} == {final[0]}
    assert {trade.price_after for trade in trades if trade.outcome == "B"} == {final[1]}
    assert {trade.price_after for trade in trades if trade.outcome == "C"} == {final[2]}


def test_both_parties_of_a_fill_have_the_price_after_the_sweep(read_models: ReadModels) -> None:
    """Alice buys A from the AMM and from Bob; that makes C so cheap that the AMM fills Carol's bid."""
    scenario = given(*ABC, *TRADERS, SplitSets("bob", "m", 5 * MICRO))
    scenario.given(buy("carol", "C", quantity=20 * MICRO, limit_price=290_000))
    scenario.given(sell("bob", "A", quantity=5 * MICRO, limit_price=400_000), buy("alice", "A", quantity=60 * MICRO))
    final = scenario.exchange.markets["m"].displayed_prices()
    trades = trades_of(read_models.copy().fold(log_of(scenario), 7))

    assert [(trade.account_id, trade.source, trade.price_after, trade.resting_price_after) for trade in trades] == [
        ("alice", "amm", final[0], None),
        ("alice", "book", final[0], final[0]),
        ("alice", "amm", final[0], None),
        ("carol", "amm", final[2], None),
    ]


def test_brier_scores_use_the_price_after_the_sweep(read_models: ReadModels) -> None:
    """Each account trades once, so its score is the square of that price where the outcome paid nothing."""
    scenario = given(*ABC, *TRADERS, buy("alice", "B", quantity=20 * MICRO, limit_price=300_000))
    scenario.given(buy("carol", "C", quantity=20 * MICRO, limit_price=290_000), buy("bob", "A", quantity=60 * MICRO))
    final = scenario.exchange.markets["m"].displayed_prices()
    scenario.given(CloseMarket("m"), DetermineMarket("m", (Payout("A", MICRO),), Evidence("So it is.")))
    scenario.given(FinalizeMarket("m"))
    copy = read_models.copy().fold(log_of(scenario), 3)
    with read(copy.connection, leaderboard.leaderboard) as as_of:
        found = leaderboard.leaderboard(copy.connection, as_of, sort="brier")

    errors = {"bob": MICRO - final[0], "alice": final[1], "carol": final[2]}
    assert {row.account_id: row.brier for row in found} == {name: error**2 // MICRO for name, error in errors.items()}


@pytest.mark.parametrize("size", [1, 5000])
@pytest.mark.parametrize("halted", [False, True])
def test_fills_that_added_liquidity_sets_off_have_the_price_after_their_sweep(
    read_models: ReadModels, size: int, halted: bool
) -> None:
    """A purchase of A leaves 0.0008 share of two bids to fill, which more liquidity makes 23 shares: at once, or on resuming."""
    scenario = given(*a_market(("A", "B", "C"), subsidy=MICRO), *TRADERS)
    for outcome in ("B", "C"):
        scenario.given(buy("alice", outcome, quantity=50 * MICRO, limit_price=480_000))
    scenario.given(buy("bob", "A", quantity=10_000)).then(TradeSettled, OrderPlaced)
    more = AddLiquidity("m", 30_000 * MICRO)
    scenario.given(HaltMarket("m"), more, ResumeMarket("m")) if halted else scenario.given(more)
    swept = [event.outcome for event in scenario.events if isinstance(event, RestingOrderFilled)]
    assert sorted(swept) == ["B", "C"]
    final = scenario.exchange.markets["m"].displayed_prices()
    trades = trades_of(read_models.copy().fold(log_of(scenario), size))[-2:]

    assert {trade.outcome: trade.price_after for trade in trades} == {"B": final[1], "C": final[2]}
