"""Rows of read models in JSON's types."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from api.http.serializers import AMOUNTS, COUNTS, HIDDEN, TIMES, encoder
from projections import accounts, book, calibration, candles, equity, lifecycle, orders, stories
from projections.markets.tables import MarketRow, ResolutionWording
from projections.positions import leaderboard, positions
from projections.trades import trades

ROWS = [
    stories.StoryRow, MarketRow, ResolutionWording, candles.Candle, trades.Trade, trades.AccountFill, orders.Order,
    book.OutcomeBook, book.Level, positions.Position, positions.Holder, positions.AccountSettlement, accounts.ValuedAccount,
    accounts.LedgerEntry, equity.EquityPoint, leaderboard.Standing, lifecycle.LifecycleEntry,
    calibration.Calibration, calibration.Horizon, calibration.Decile,
]  # fmt: skip


def test_the_lists_do_not_overlap() -> None:
    """The name of an integer column stands in one list: times, counts or amounts."""
    assert len(TIMES | COUNTS | AMOUNTS) == len(TIMES) + len(COUNTS) + len(AMOUNTS)


def test_amounts_times_and_counts() -> None:
    """Amounts, times, counts, and lists of them have their form."""
    assert encoder("cost")(12_500_000) == "12.500000"
    assert encoder("time")(0) == "1970-01-01T00:00:00.000000Z"
    assert encoder("position")(7) == 7
    assert encoder("prices")([500_000, 500_000]) == ["0.500000", "0.500000"]
    assert encoder("roi")(None) is None
    assert encoder("liquidity")(1_442_695_040_888) == "1.442695"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_every_integer_of_a_row_has_a_form(row: type) -> None:
    """A new integer column must stand in one of the lists: no amount leaves as micro-units by mistake."""
    derived = {
        name: get_type_hints(member.fget)["return"]
        for name, member in vars(row).items()
        if isinstance(member, property)
    }
    integers = {name for name, hint in {**get_type_hints(row), **derived}.items() if "int" in str(hint)}

    assert integers - TIMES - COUNTS - AMOUNTS - HIDDEN - {"liquidity"} == set()
