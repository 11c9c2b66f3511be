"""Calibration: how well market prices forecast what was paid, at close, a day and a week before it.

Every outcome of a finalized market is one forecast for each horizon at which the market was trading: its price then, against
the fraction that it paid. The read model `markets` adds these forecasts to sums by category, and keeps the versions of the
sums. A correction takes back what the market had added.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from psycopg import Connection

from domain.money import MICRO, Fraction, Price, Time
from projections.forms import Count
from projections.machine.table import Big, Table
from projections.machine.workspace import Workspace
from projections.reading import AsOf, query
from projections.times import DAY

HORIZONS: Final = {"close": 0, "1d": DAY, "7d": 7 * DAY}
"""The times before the close of a market, in microseconds."""

DECILES: Final = 10

LOG_UNITS: Final = 10**18
"""The unit of logarithms: integers of 1e-18, whose sums are exact in any order."""


@dataclass(slots=True)
class ForecastSums:
    """The sums over all forecasts of a horizon in one category.

    `finalized` counts markets, `markets` and `outcomes` those that were trading at the horizon. `squares` sums
    (price - paid)^2 in 1e-12, `logs` sums -paid * ln(price) in 1e-24. The lists are by decile of the price: the number of
    forecasts, the sum of their prices, and the sum of what they paid.
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
    """Forecast sums, valid from log position `position`."""

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


class ResolvedMarket(NamedTuple):
    """A closed market that pays `now`, and paid `before` if this is a correction (else None); by outcome."""

    category: str
    closed_at: Time
    before: Sequence[int] | None
    now: Sequence[int]


def add(
    workspace: Workspace,
    market: ResolvedMarket,
    prices_at: Callable[[Time], Sequence[int] | None],
    position: int,
) -> None:
    """Add the forecasts of a market by what it pays now, and take back those by what it paid before.

    `prices_at` returns the market's prices at a time, None where it was not trading yet.
    """
    rows = workspace.rows(SUMS)
    rows.prefetch(lambda: [(market.category, horizon) for horizon in HORIZONS])
    for horizon, earlier in HORIZONS.items():
        key = (market.category, horizon)
        sums = rows.add(_nothing(*key)) if rows.get(key) is None else rows.edit(key)
        prices = prices_at(market.closed_at - earlier)
        for payouts, sign in ((market.before, -1), (market.now, 1)):
            if payouts is not None:
                sums.finalized += sign
                if prices is not None:
                    _add(sums, prices, payouts, sign)
        workspace.rows(VERSIONS).append(ForecastVersion(**asdict(sums), position=position))  # its lists are copies


def _nothing(category: str, horizon: str) -> ForecastSums:
    """Return the sums over no forecasts."""
    return ForecastSums(
        category=category,
        horizon=horizon,
        finalized=0,
        markets=0,
        outcomes=0,
        squares=0,
        logs=0,
        counts=[0] * DECILES,
        prices=[0] * DECILES,
        paid=[0] * DECILES,
    )


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
    """Return the natural logarithm of a price; a price of 0 counts as the least that there is."""
    return int((Decimal(max(price, 1)) / MICRO).ln() * LOG_UNITS)


# --- queries


@dataclass(frozen=True, slots=True)
class Decile:
    """The forecasts with a price from `low` to below `high`: their number, their mean price, the mean of what they paid."""

    low: Price
    high: Price
    count: Count
    mean_price: Price | None
    mean_outcome: Fraction | None


class Horizon(NamedTuple):
    """The forecasts of one horizon. Scores are means, in millionths, rounded down; None without a forecast.

    `brier` is (price - paid)^2 per outcome, `log_score` is -paid * ln(price) summed over a market's outcomes.
    """

    name: str
    markets: Count
    outcomes: Count
    brier: Fraction | None
    log_score: Fraction | None
    deciles: list[Decile]


class Calibration(NamedTuple):
    """The finalized markets that count, and their forecasts at each horizon."""

    markets: Count
    horizons: list[Horizon]


_SUMS: Final = """
    SELECT v.* FROM forecast_sums s CROSS JOIN LATERAL (SELECT horizon, finalized, markets, outcomes, squares, logs, counts,
        prices, paid FROM forecast_versions WHERE category = s.category AND horizon = s.horizon AND position <= %(at)s
        ORDER BY position DESC LIMIT 1) v
    WHERE %(category)s::text IS NULL OR s.category = %(category)s"""


@query("markets")
def calibration(connection: Connection, as_of: AsOf, *, category: str | None = None) -> Calibration:
    """Return how well prices forecast what was paid.

    A market that was not yet trading at a horizon does not count there.
    """
    return calibration_of(forecast_sums(connection, as_of, category))


@query("markets")
def forecast_sums(connection: Connection, as_of: AsOf, category: str | None) -> list[tuple[Any, ...]]:
    """Return what the calibration is made of: the sums of each horizon and category."""
    return connection.execute(_SUMS, {"at": as_of.position, "category": category}).fetchall()


def calibration_of(rows: Sequence[tuple[Any, ...]]) -> Calibration:
    """Return the calibration that sums of forecasts make."""
    finalized = sum(row[1] for row in rows if row[0] == "close")
    return Calibration(finalized, [_horizon(name, [row[2:] for row in rows if row[0] == name]) for name in HORIZONS])


def _horizon(name: str, rows: list[tuple[Any, ...]]) -> Horizon:
    """Return the forecasts of a horizon, summed over the rows of its categories."""
    markets, outcomes, squares, logs = (sum(int(row[i]) for row in rows) for i in range(4))
    counts, prices, paid = ([sum(row[i][decile] for row in rows) for decile in range(DECILES)] for i in (4, 5, 6))
    return Horizon(
        name,
        markets,
        outcomes,
        squares // (outcomes * MICRO) if outcomes else None,
        logs // (markets * LOG_UNITS) if markets else None,
        [
            Decile(
                i * MICRO // DECILES,
                (i + 1) * MICRO // DECILES,
                count,
                prices[i] // count if count else None,
                paid[i] // count if count else None,
            )
            for i, count in enumerate(counts)
        ],
    )
