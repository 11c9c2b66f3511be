"""Rows of read models in JSON's types."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from api.http.serializers import encoder, encoders, serialize
from domain.money import Credits, Fraction, Price, Shares, Time
from projections import accounts, book, calibration, candles, equity, invitations, lifecycle, orders, stories
from projections.forms import Count, Liquidity
from projections.markets.tables import MarketRow, ResolutionWording
from projections.positions import leaderboard, positions
from projections.trades import trades

ROWS = [
    stories.StoryRow, MarketRow, ResolutionWording, candles.Candle, trades.Trade, trades.AccountFill, orders.Order,
    book.OutcomeBook, book.Level, positions.Position, positions.Holder, positions.AccountSettlement, accounts.ValuedAccount,
    accounts.LedgerEntry, equity.EquityPoint, leaderboard.Standing, lifecycle.LifecycleEntry,
    invitations.ListedInvitation, calibration.Calibration, calibration.Horizon, calibration.Decile,
]  # fmt: skip


class Purchases(NamedTuple):
    """A row in which `buys` is a number; in a standing of the leaderboard it is an amount."""

    buys: Count


class Forgotten(NamedTuple):
    """A row with an integer that does not say what it is."""

    cost: int


def test_amounts_times_and_counts() -> None:
    """Amounts, times, counts, and lists of them have their form."""
    for amount in (Credits, Shares, Price, Fraction):
        assert encoder(amount)(12_500_000) == "12.500000"
    assert encoder(Time)(0) == "1970-01-01T00:00:00.000000Z"
    assert encoder(Count)(7) == 7
    assert encoder(list[Price])([500_000, 500_000]) == ["0.500000", "0.500000"]
    assert encoder(Fraction | None)(None) is None
    assert encoder(Fraction | None)(1) == "0.000001"
    assert encoder(Liquidity)(1_442_695_040_888) == "1.442695"


def test_the_type_of_a_column_decides_not_its_name() -> None:
    """A count has its form whatever the column's name is in other rows."""
    assert serialize(Purchases(buys=1)) == {"buys": 1}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_every_integer_of_a_row_has_a_form(row: type) -> None:
    """Every column of a row says its form: no amount leaves as micro-units by mistake."""
    assert encoders(row)


def test_an_integer_without_a_form_is_refused() -> None:
    """A plain integer could be an amount."""
    with pytest.raises(TypeError, match="has no form"):
        encoders(Forgotten)
