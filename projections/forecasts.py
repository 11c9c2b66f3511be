"""How well the prices of finalized markets forecast what was paid: sums by category, kept with the markets they come from.

Every outcome of a finalized market is one forecast for each horizon at which the market was trading: its price then, against
the fraction that it paid. A correction takes back what the market had added.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from domain.money import MICRO, Time
from projections.machine.table import Big, Table
from projections.machine.workspace import Workspace

if TYPE_CHECKING:
    from projections.markets.markets import Market

HORIZONS: Final = {"close": 0, "1d": 86_400_000_000, "7d": 7 * 86_400_000_000}
"""How long before the close of the market, in microseconds."""

DECILES: Final = 10

LOG_UNITS: Final = 10**18
"""Logarithms are integers of 1e-18: sums of them are exact in any order."""


@dataclass(slots=True)
class ForecastSums:
    """All forecasts of a horizon in one category.

    `finalized` counts markets, `markets` and `outcomes` those that were trading then. `squares` sums (price - paid)^2 in
    1e-12, `logs` sums -paid * ln(price) in 1e-24. The lists are by decile of the price: how many, and the sums of their
    prices and of what they paid.
    """

    category: str
    horizon: str
    finalized: int
    markets: int
    outcomes: int
    squares: Big
    logs: Big
    counts: list[int]
    prices: list[int]
    paid: list[int]


class ForecastVersion(NamedTuple):
    """The same from `position` on."""

    category: str
    horizon: str
    finalized: int
    markets: int
    outcomes: int
    squares: Big
    logs: Big
    counts: list[int]
    prices: list[int]
    paid: list[int]
    position: int


SUMS = Table("forecast_sums", ForecastSums, key=["category", "horizon"])
VERSIONS = Table("forecast_versions", ForecastVersion, key=["category", "horizon", "position"])

TABLES: Final = (SUMS, VERSIONS)


def resolve(
    workspace: Workspace,
    market: "Market",
    prices_at: Callable[[Time], Sequence[int] | None],
    before: Sequence[int] | None,
    position: int,
) -> None:
    """Add the forecasts of a market by what it pays now, without what they had added when it paid as `before`.

    `prices_at` returns the market's prices at a time, None where it was not trading yet.
    """
    assert market.closed_at is not None, "a market is closed before it is finalized"
    rows = workspace.load(SUMS, lambda: [(market.category, horizon) for horizon in HORIZONS])
    for horizon, earlier in HORIZONS.items():
        key = (market.category, horizon)
        sums = rows.get(key)
        if sums is None:
            nothing = [0] * DECILES
            sums = ForecastSums(*key, 0, 0, 0, 0, 0, nothing, list(nothing), list(nothing))
            rows.put(key, sums)
        prices = prices_at(market.closed_at - earlier)
        for payouts, sign in ((before, -1), (market.payouts, 1)):
            if payouts is not None:
                sums.finalized += sign
                if prices is not None:
                    _add(sums, prices, payouts, sign)
        rows.change(key)
        workspace.rows(VERSIONS).append((*astuple(sums), position))  # its lists are copies


def _add(sums: ForecastSums, prices: Sequence[int], payouts: Sequence[int], sign: int) -> None:
    sums.markets += sign
    for price, paid in zip(prices, payouts, strict=True):
        sums.outcomes += sign
        sums.squares += sign * (price - paid) ** 2
        sums.logs -= sign * paid * _log(price)
        decile = price * DECILES // MICRO
        sums.counts[decile] += sign
        sums.prices[decile] += sign * price
        sums.paid[decile] += sign * paid


@lru_cache(maxsize=100_000)
def _log(price: int) -> int:
    """Return the natural logarithm of a price; one of 0 counts as the least there is."""
    return int((Decimal(max(price, 1)) / MICRO).ln() * LOG_UNITS)
