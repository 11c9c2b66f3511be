"""Calibration: how good the market's prices were as forecasts, at close, a day and a week before it.

Every outcome of every finalized market is one forecast: its price then, against the fraction that it paid. Their sums are kept
with the markets; the sums of then are looked up.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection

from domain.money import MICRO
from projections.forecasts import DECILES, HORIZONS, LOG_UNITS
from projections.reading import AsOf


@dataclass(frozen=True, slots=True)
class Decile:
    """The forecasts with a price from `low` to below `high`: how many, their mean price, the mean of what they paid."""

    low: int
    high: int
    count: int
    mean_price: int | None
    mean_outcome: int | None


class Horizon(NamedTuple):
    """The forecasts of one moment before the close. Scores are means, in millionths, rounded down; None without a forecast.

    `brier` is (price - paid)^2 per outcome, `log_score` is -paid * ln(price) summed over a market's outcomes.
    """

    name: str
    markets: int
    outcomes: int
    brier: int | None
    log_score: int | None
    deciles: list[Decile]


class Calibration(NamedTuple):
    """The finalized markets that count, and their forecasts at each horizon."""

    markets: int
    horizons: list[Horizon]


_SUMS: Final = """
    SELECT v.* FROM forecast_sums s CROSS JOIN LATERAL (SELECT horizon, finalized, markets, outcomes, squares, logs, counts,
        prices, paid FROM forecast_versions WHERE category = s.category AND horizon = s.horizon AND position <= %(at)s
        ORDER BY position DESC LIMIT 1) v
    WHERE %(category)s::text IS NULL OR s.category = %(category)s"""


def calibration(connection: Connection, as_of: AsOf, *, category: str | None = None) -> Calibration:
    """Return how well prices forecast what was paid. `read` must hold calibration.

    A market that was not yet trading at a horizon does not count there.
    """
    rows = connection.execute(_SUMS, {"at": as_of.position, "category": category}).fetchall()
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
