"""What became of a world, by the read models' own definitions; and which orders were filled in one world and not in another."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from domain.money import MICRO, Credits, Fraction, Price
from projections.accounts import ledger_sums
from projections.calibration import calibration
from projections.forms import Count, CreditsSum
from projections.markets.listing import newest
from projections.markets.tables import MarketRow
from projections.positions.leaderboard import Standing, leaderboard
from projections.reading import read

MARKETS_MAX: Final = 10_000
"""The most markets that are compared, the newest ones."""

ACCOUNTS_MAX: Final = 10_000
"""The most accounts that are compared, those with the highest profit."""


class MarketMeasures(NamedTuple):
    """What became of a market.

    `house` is what it brought the house, without fees: what came back of the subsidy, less the subsidy. Until a market has paid
    everybody that is unknown (None). `worst` is what it brings at worst; it is never below minus `subsidy`. `prices` are the
    AMM's, once trading has ended the last ones. `brier` is the mean of (price - paid)^2 over the outcomes; None unless it is
    finalized.
    """

    market_id: str
    slug: str
    status: str
    subsidy: Credits
    fee_rate: Fraction
    house: Credits | None
    worst: Credits
    volume: CreditsSum
    trades: Count
    outcomes: list[str]
    prices: list[Price]
    payouts: list[Fraction] | None
    brier: Fraction | None


class LedgerSums(NamedTuple):
    """The sums of the ledger by kind of book. Together they are zero: money only moves."""

    cash: CreditsSum
    held: CreditsSum
    pool: CreditsSum
    fees: CreditsSum
    house: CreditsSum
    bonds: CreditsSum
    external: CreditsSum


class WorldMeasures(NamedTuple):
    """What became of a world at its end.

    `brier` and `log_score` are those of all market prices
    at close. `standings` are the leaderboard of all time by profit.
    """

    events: Count
    books: LedgerSums
    volume: CreditsSum
    trades: Count
    brier: Fraction | None
    log_score: Fraction | None
    markets: list[MarketMeasures]
    standings: list[Standing]


class FillChange(NamedTuple):
    """How many orders were filled in one world and not at all in the other, for one reason there.

    `reason` is the code of the refusal, or the status of an order that was accepted.
    """

    reason: str
    orders: Count


def measures(dsn: str, schema: str, events: int) -> WorldMeasures:
    """Return the measures of the world whose read models stand in a schema."""
    with _reading(dsn, schema) as connection, read(connection, leaderboard, newest, calibration, ledger_sums) as as_of:
        pools = {
            name.removeprefix("pool:"): int(balance)
            for name, balance in connection.execute(
                "SELECT name, balance FROM ledger_balances WHERE starts_with(name, 'pool:')"
            )
        }
        rows = newest(connection, as_of, limit=MARKETS_MAX)
        at_close = calibration(connection, as_of).horizons[0]
        return WorldMeasures(
            events,
            LedgerSums(**ledger_sums(connection, as_of)),
            sum(row.volume for row in rows),
            sum(row.trades for row in rows),
            at_close.brier,
            at_close.log_score,
            [_market(row, pools.get(row.market_id, 0)) for row in rows],
            leaderboard(connection, as_of, limit=ACCOUNTS_MAX),
        )


def fills_lost(dsn: str, before: str, after: str) -> list[FillChange]:
    """Return the orders that had a fill in the world of one schema and have none in that of another, by the reason there."""
    statement = sql.SQL("""
        SELECT coalesce(r.code, o.status, 'NOT_SENT') AS reason, count(*)
        FROM {before}.orders b
        LEFT JOIN {after}.orders o USING (order_id)
        LEFT JOIN {after}.refused_orders r USING (order_id)
        WHERE b.filled > 0 AND coalesce(o.filled, 0) = 0
        GROUP BY 1 ORDER BY 2 DESC, 1""").format(before=sql.Identifier(before), after=sql.Identifier(after))
    with _reading(dsn, before) as connection:
        return [FillChange(*row) for row in connection.execute(statement).fetchall()]


@contextmanager
def _reading(dsn: str, schema: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True, options=f"-c search_path={schema} -c jit=off") as connection:
        yield connection


def _market(row: MarketRow, pool: Credits) -> MarketMeasures:
    settled = row.residual - row.subsidy if row.settled else None
    paid = row.payouts if row.status == "finalized" else None
    return MarketMeasures(
        row.market_id,
        row.slug,
        row.status,
        row.subsidy,
        row.fee_rate,
        settled,
        pool - max(row.open_interest, default=0) - row.subsidy if settled is None else settled,
        row.volume,
        row.trades,
        row.outcomes,
        row.prices,
        row.payouts,
        None if paid is None else _brier(row.prices, paid),
    )


def _brier(prices: Sequence[Price], paid: Sequence[Fraction]) -> Fraction:
    return sum((price - part) ** 2 for price, part in zip(prices, paid, strict=True)) // (len(paid) * MICRO)
