"""The arithmetic of cost basis and realized profit, against numbers computed by hand."""

from __future__ import annotations

from projections.positions import cost_basis
from projections.positions.cost_basis import payout_parts, split_evenly
from projections.positions.positions import PositionRow
from tests.projections.by_hand import MONDAY


def test_the_cost_basis_of_a_sale_is_rounded_half_even_and_the_last_sale_takes_the_rest() -> None:
    """Two shares cost 5. The first one sold takes 2 of it (2.5, rounded to even), the last one 3: nothing is lost."""
    row = PositionRow(0, "a", "m", "Yes", 1, 1, MONDAY, shares=2, cost_basis=5, open=True)
    cost_basis.trade(row, "sell", 1, 10, 0)
    assert (row.shares, row.cost_basis, row.realized) == (1, 3, 8)
    cost_basis.trade(row, "sell", 1, 10, 0)
    assert (row.shares, row.cost_basis, row.realized) == (0, 0, 15)


def test_parts_of_sets_and_payouts_sum_to_the_whole() -> None:
    """10 micro-credits over 3 outcomes are 4, 3 and 3. Payouts of 1.5 and 1.5 are 1 and 2, which sum to 3."""
    assert split_evenly(10, 3) == [4, 3, 3]
    assert payout_parts([3, 3], [500_000, 500_000]) == [1, 2]
