"""Calibration: how good the market's prices were as forecasts, at close, a day and a week before it.

Every outcome of every finalized market is one forecast: its price then, against the fraction that it paid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from psycopg import Connection

from domain.money import MICRO
from projections.reading import AsOf

HORIZONS: Final = {"close": 0, "1d": 86_400_000_000, "7d": 7 * 86_400_000_000}
"""How long before the close of the market, in microseconds."""

_DECILES: Final = 10


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


_FORECASTS: Final = """
    SELECT m.market_id, l.payouts, p.prices FROM markets m
    CROSS JOIN LATERAL (SELECT status, payouts, closed_at FROM market_lifecycle WHERE market_id = m.market_id
        AND position <= %(at)s ORDER BY position DESC LIMIT 1) l
    LEFT JOIN LATERAL (SELECT prices FROM market_activity WHERE market_id = m.market_id AND position <= coalesce((
        SELECT previous FROM timeline WHERE partition = m.partition AND time > l.closed_at - %(before)s
        ORDER BY time LIMIT 1), %(at)s) AND position >= (SELECT position FROM market_activity
        WHERE market_id = m.market_id AND changed <> 0 ORDER BY position LIMIT 1)
        ORDER BY position DESC LIMIT 1) p ON true
    WHERE l.status = 'finalized' AND (%(category)s::text IS NULL OR m.category = %(category)s)
    ORDER BY m.market_id"""


def calibration(connection: Connection, as_of: AsOf, *, category: str | None = None) -> Calibration:
    """Return how well prices forecast what was paid. `read` must hold markets, prices and timeline.

    A market that was not yet trading at a horizon does not count there.
    """
    horizons: list[Horizon] = []
    markets = 0
    for name, before in HORIZONS.items():
        rows = connection.execute(_FORECASTS, {"at": as_of.position, "before": before, "category": category}).fetchall()
        markets = len(rows)
        horizons.append(_horizon(name, [(payouts, prices) for _, payouts, prices in rows if prices]))
    return Calibration(markets, horizons)


def _horizon(name: str, rows: Sequence[tuple[list[int], list[int]]]) -> Horizon:
    forecasts = [pair for payouts, prices in rows for pair in zip(prices, payouts, strict=True)]
    squares = sum((price - paid) ** 2 for price, paid in forecasts)
    logs = sum((-paid * _log(price) for price, paid in forecasts if paid), Decimal(0))
    deciles: list[Decile] = []
    for i in range(_DECILES):
        low, high = i * MICRO // _DECILES, (i + 1) * MICRO // _DECILES
        inside = [(price, paid) for price, paid in forecasts if low <= price < high]
        deciles.append(
            Decile(
                low,
                high,
                len(inside),
                sum(price for price, _ in inside) // len(inside) if inside else None,
                sum(paid for _, paid in inside) // len(inside) if inside else None,
            )
        )
    return Horizon(
        name,
        len(rows),
        len(forecasts),
        squares // (len(forecasts) * MICRO) if forecasts else None,
        int(logs / len(rows)) if rows else None,
        deciles,
    )


@lru_cache(maxsize=100_000)
def _log(price: int) -> Decimal:
    """Return the natural logarithm of a price; one of 0 counts as the least there is."""
    return (Decimal(max(price, 1)) / MICRO).ln()
