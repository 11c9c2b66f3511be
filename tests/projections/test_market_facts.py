"""The facts of markets, which three read models keep in tables of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from domain.market import Payout
from domain.money import MICRO
from projections.market_facts import fractions_of
from tests.projections.by_hand import Story
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from tests.projections.folding import Copy, ReadModels

FACTS = "SELECT market_id, category, outcomes, prices, payouts FROM {} ORDER BY market_id"


def facts(copy: Copy, table: str) -> list[tuple[Any, ...]]:
    """Return the facts of all markets."""
    return copy.connection.execute(FACTS.format(table)).fetchall()


@pytest.mark.parametrize("seed", range(2))
def test_read_models_agree_about_every_market(read_models: ReadModels, seed: int) -> None:
    """Category, outcomes, prices and payouts are the same in `trades` and `positions`; but for voids, in `markets` too."""
    copy = read_models.copy(["markets", "trades", "positions"]).fold(simulate(seed, 1000), 300)
    found = facts(copy, "trades_markets")

    assert found == facts(copy, "positions_markets")
    assert [row[:4] for row in found] == [row[:4] for row in facts(copy, "markets")]
    assert any(payouts for *_, payouts in found)


def test_a_market_without_its_story_has_no_category(read_models: ReadModels) -> None:
    """Where the event of the story is missing, because it is parked, the market's category is an empty text."""
    copy = read_models.copy(["markets", "trades", "positions"]).fold(Story().log[1:], 10)

    for table in ("markets", "trades_markets", "positions_markets"):
        assert facts(copy, table) == [("m", "", ["Yes", "No"], [500_000, 500_000], None)]


def test_outcomes_that_are_not_named_pay_nothing() -> None:
    """Fractions stand in the order of the outcomes, whatever the order of the payouts."""
    payouts = [Payout("C", MICRO // 4), Payout("A", 3 * MICRO // 4)]

    assert fractions_of(payouts, ["A", "B", "C"]) == [750_000, 0, 250_000]
