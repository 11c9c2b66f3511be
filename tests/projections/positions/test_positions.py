"""Positions and settlements, against numbers computed by hand and the postings of simulated logs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from domain.account import BondForfeited, BondPosted, BondReturned
from domain.ledger import postings
from domain.money import MICRO
from projections.positions import positions
from projections.reading import read
from projections.registry import PROJECTIONS
from tests.projections.by_hand import Story, folded
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from tests.projections.folding import Copy, ReadModels


def position(copy: Copy, account: str) -> positions.Position:
    """Return an account's position in Yes."""
    with read(copy.connection, *PROJECTIONS) as as_of:
        (found,) = positions.account_positions(copy.connection, as_of, account, closed=True)
    return found


def test_cost_basis_and_profit_of_a_position(read_models: ReadModels) -> None:
    """Buying 10 shares for 5 and 5 for 4 makes 15 for 9, 0.6 each. Selling 5 for 4 with a fee of 0.1 realizes 4 - 3 - 0.1."""
    story = Story("a")
    story.trade("a", "buy", 10 * MICRO, 5 * MICRO, 550_000)
    story.trade("a", "buy", 5 * MICRO, 4 * MICRO, 800_000)
    story.trade("a", "sell", 5 * MICRO, 4 * MICRO, 700_000, fee=100_000)
    found = position(folded(read_models, story), "a")

    assert (found.shares, found.cost_basis, found.average_price) == (10 * MICRO, 6 * MICRO, 600_000)
    assert (found.realized, found.fees) == (900_000, 100_000)
    assert (found.value, found.unrealized) == (7 * MICRO, 1 * MICRO)
    assert (found.volume, found.buys) == (13 * MICRO, 9 * MICRO)


def test_settlement_and_correction(read_models: ReadModels) -> None:
    """10 shares cost 6. Paid 1 each, they realize 4; corrected to 0.25 each, -3.5, as if that had been paid at first."""
    story = Story("a")
    story.trade("a", "buy", 10 * MICRO, 6 * MICRO, 600_000)
    story.finalize(MICRO, a=10 * MICRO)
    found = position(folded(read_models, story), "a")
    assert (found.shares, found.cost_basis, found.realized) == (0, 0, 4 * MICRO)

    story.correct(MICRO, 250_000, a=10 * MICRO)
    copy = folded(read_models, story)
    assert position(copy, "a").realized == -3_500_000
    with read(copy.connection, *PROJECTIONS) as as_of:
        kinds = [(s.kind, s.amount) for s in positions.settlements(copy.connection, as_of, "a")]
    assert kinds == [("payout", 2_500_000), ("reversal", -10 * MICRO), ("payout", 10 * MICRO)]


@pytest.mark.parametrize("seed", range(6))
def test_realized_profit_is_net_cash_flow(read_models: ReadModels, seed: int) -> None:
    """The realized profit of an account in a settled market is the net cash that moved, also after corrections and voids.

    Bonds are not part of it, except those that a void returned. Profits, fees and what the house gained sum to zero.
    """
    log = simulate(seed, 1500)
    copy = read_models.copy(["positions", "markets"]).fold(log, 5000)
    voided = {row[0] for row in copy.connection.execute("SELECT market_id FROM markets WHERE status = 'voided'")}
    flow: defaultdict[tuple[str, str], int] = defaultdict(int)
    for recorded in log:
        market_id = getattr(recorded.event, "market_id", None)
        if isinstance(recorded.event, BondPosted | BondReturned | BondForfeited) and market_id not in voided:
            continue
        for name, amount in postings(recorded.event):
            book, _, account_id = name.partition(":")
            if book in {"cash", "held"} and market_id:
                flow[account_id, market_id] += amount
            elif book == "house":
                flow["house", market_id or ""] += amount
            elif book == "fees":
                flow["fees", market_id or ""] += amount
    settled = {row[0] for row in copy.connection.execute("SELECT market_id FROM markets WHERE settled")}
    realized = {
        (account_id, market_id): int(total)
        for account_id, market_id, total in copy.connection.execute(
            "SELECT account_id, market_id, sum(realized) FROM positions GROUP BY account_id, market_id"
        )
        if market_id in settled
    }

    assert settled
    assert {key: value for key, value in flow.items() if key in realized} == realized
    for market_id in settled:
        everybody = sum(value for key, value in realized.items() if key[1] == market_id)
        house, fees = flow["house", market_id], flow["fees", market_id]
        assert everybody + house + fees == 0


def test_where_a_position_began_names_it(read_models: ReadModels) -> None:
    """No two positions began with one event and have the same outcome: the key of their versions needs no ids."""
    copy = read_models.copy(["positions"]).fold(simulate(7, 1500), 5000)
    begun = "SELECT count(*), count(DISTINCT (partition, opened_position, outcome)) FROM positions"
    positions_there, named = copy.connection.execute(begun).fetchone() or (0, 0)
    assert positions_there == named > 10

    others = (
        "SELECT count(*) FROM position_versions v JOIN positions k USING (partition, opened_position, outcome) "
        "WHERE (v.account_id, v.market_id) <> (k.account_id, k.market_id)"
    )
    assert copy.connection.execute(others).fetchone() == (0,)
