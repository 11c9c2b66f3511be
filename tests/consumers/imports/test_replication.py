"""Real trades: three prediction markets of 2012 whose market maker was an LMSR too. So the prices must be the recorded ones."""

from __future__ import annotations

import csv
from pathlib import Path

from eventsourcing.popo import POPOApplicationRecorder

from consumers.imports.mapping import read_mapping
from domain.account import PayoutPaid
from domain.orders import OrderPlaced
from tests.consumers.checks import check_log, recorded
from tests.consumers.imports.tables import plan_of, run_plan

FOLDER = Path(__file__).parent / "replication"


def test_prices_are_those_that_were_recorded() -> None:
    """With their liquidity, every trade fills whole, and Yes stands after it where the table says, to five decimals."""
    plan = plan_of(FOLDER / "trades.csv", read_mapping(FOLDER / "mapping.toml"), FOLDER / "studies.csv")
    log = POPOApplicationRecorder()
    report = run_plan(plan, log)

    with (FOLDER / "trades.csv").open(newline="") as file:
        prices = {f"row-{row}": float(cells["price"]) for row, cells in enumerate(csv.DictReader(file), 2)}
    placed = [each.event for each in recorded(log) if isinstance(each.event, OrderPlaced)]
    apart = [abs(order.execution.prices[0] / 1_000_000 - prices[order.client_order_id]) for order in placed]
    assert len(placed) == len(prices) == report.orders["filled"]
    assert max(apart) < 0.00001


def test_markets_pay_as_the_studies_came_out() -> None:
    """Each market is paid by its study's result, and nothing stays in any pool."""
    plan = plan_of(FOLDER / "trades.csv", read_mapping(FOLDER / "mapping.toml"), FOLDER / "studies.csv")
    log = POPOApplicationRecorder()
    run_plan(plan, log)
    exchange = check_log(log, [])

    assert {market.terms.question: market.payouts[0].outcome for market in exchange.markets.values()} == {
        "Richeson & Trawalter (2008)": "No",
        "Rule & Ambady (2008)": "No",
        "Morris & Still (2008)": "No",
    }
    assert all(exchange.ledger.pool(market_id) == 0 for market_id in exchange.markets)
    assert any(isinstance(each.event, PayoutPaid) and each.event.amount for each in recorded(log))
