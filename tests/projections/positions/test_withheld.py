"""What the read models say is kept back from withdrawals is what the engine keeps back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from domain import settlement
from domain.market import MarketDisputed
from projections.markets import markets
from projections.positions.withheld import withheld
from projections.reading import read
from tests.projections.simulation import Simulation

if TYPE_CHECKING:
    from tests.projections.folding import ReadModels

HOLD = 30 * 24 * 3600


@pytest.mark.parametrize("seed", range(4))
def test_accounts_and_markets_show_what_the_engine_would_decide(read_models: ReadModels, seed: int) -> None:
    """Of every account, at many positions: what is withheld. Of every market: the next bond, and until when payouts are held."""
    simulation = Simulation(seed)
    simulation.exchange.hold_seconds = HOLD
    copy = read_models.copy(["accounts", "positions", "markets"])
    folded, kinds = 0, set()
    for _ in range(12):
        log = simulation.run(120)
        copy.fold(log[folded:], 5000)
        folded = len(log)
        exchange = simulation.exchange
        with read(copy.connection, "accounts", "positions", "markets") as as_of:
            for account in exchange.accounts.values():
                expected = settlement.withheld(account, exchange.markets, as_of.time)
                assert withheld(copy.connection, as_of, account.account_id) == expected, (account.account_id, folded)
                kinds.add(expected > 0)
            for row in markets.by_id(copy.connection, as_of, list(exchange.markets)):
                market = exchange.markets[row.market_id]
                assert (row.next_dispute_bond, row.held_until or 0) == (market.least_bond, market.held_until)
    assert kinds == {True, False}, "both were seen"
    assert any(isinstance(recorded.event, MarketDisputed) for recorded in simulation.log)
    assert any(market.held_until for market in simulation.exchange.markets.values())
