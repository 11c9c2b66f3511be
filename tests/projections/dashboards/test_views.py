"""Views for dashboards: documented, and equal to what the queries behind the API return, in credits and timestamps."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domain.market import Status
from local.postgres import create_database, drop_database
from projections import accounts, equity
from projections.dashboards.views import MARKETS, PAGE, VIEWS, page
from projections.machine.store import CONNECT_OPTIONS
from projections.markets import listing, prices
from projections.positions import leaderboard, positions
from projections.reading import read
from projections.registry import PROJECTIONS
from tests.projections.dashboards.queries import rows_of
from tests.projections.folding import Copy
from tests.projections.reading_candles import outcome_candles
from tests.projections.simulation import START

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from domain.events import Recorded
    from projections.positions.leaderboard import Standing

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def folded(postgres_dsn: str, events: list[Recorded]) -> Iterator[Connection[Any]]:
    """A connection to live read models that no test changes, folded once for all of them."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    database = make_conninfo(postgres_dsn, dbname=name)
    Copy(database, "read_models", PROJECTIONS.values()).fold(events, 500).connection.close()
    with psycopg.connect(database, autocommit=True, **CONNECT_OPTIONS) as connection:
        yield connection
    drop_database(postgres_dsn, name)


@pytest.fixture(scope="module")
def standings(folded: Connection[Any]) -> list[Standing]:
    """The leaderboard."""
    with read(folded, *PROJECTIONS) as as_of:
        return leaderboard.leaderboard(folded, as_of)


def shown(amount: int | None) -> Decimal | None:
    """Return micro-units as a view shows them."""
    return None if amount is None else Decimal(amount).scaleb(-6)


def moment(time: int) -> datetime:
    """Return a time of the log as a view shows it."""
    return EPOCH + timedelta(microseconds=time)


def test_the_page_tells_every_view_and_column(live: Connection[Any]) -> None:
    """docs/sql.md is what the code says, and that is what the database has: names, order, types, comments."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run: python -m projections.dashboards.views"

    found: dict[str, list[tuple[str, str, str]]] = {}
    for view, column, kind, about in rows_of(
        live,
        "SELECT table_name, column_name, data_type, col_description(format('dashboards.%I', table_name)::regclass, "
        "ordinal_position::int) FROM information_schema.columns WHERE table_schema = 'dashboards' "
        "ORDER BY table_name, ordinal_position",
    ):
        found.setdefault(view, []).append((column, kind, about))
    sections = dict(part.split("\n", 1) for part in text.split("\n## ") if part.split("\n", 1)[0] in VIEWS)
    documented = {
        name: [tuple(cell.strip(" `") for cell in line.strip("|").split(" | ")) for line in section.split("\n")
               if line.startswith("| `")]
        for name, section in sections.items()
    }  # fmt: skip
    assert documented == found


def test_the_documented_statuses_are_those_of_the_rows(folded: Connection[Any]) -> None:
    """The page promises the statuses of the domain and no other, and every row has one of them."""
    promised = MARKETS.columns["status"].about.replace(" or ", ", ").split(", ")

    assert promised == list(Status)
    assert {status for (status,) in rows_of(folded, "SELECT DISTINCT status FROM dashboards.markets")} <= set(promised)


def test_markets_and_odds_are_exact(folded: Connection[Any]) -> None:
    """Markets, odds and favourites are those of the market list."""
    with read(folded, *PROJECTIONS) as as_of:
        listed = listing.newest(folded, as_of, limit=100)

    assert rows_of(folded, "SELECT market_id, slug, status, volume, open_interest, trades, opened_at, position FROM "
                   "dashboards.markets ORDER BY opened_at DESC, market_id DESC") == [
        (m.market_id, m.slug, m.status, shown(m.volume), shown(max(m.open_interest)), m.trades,
         moment(m.opened_at), m.position)
        for m in sorted(listed, key=lambda m: (m.opened_at, m.market_id), reverse=True)
    ]  # fmt: skip
    found = rows_of(folded, "SELECT market_id, outcome, odds, price FROM dashboards.odds")
    assert {(market_id, outcome): (odds, price) for market_id, outcome, odds, price in found} == {
        (m.market_id, o): (shown(odds), shown(price))
        for m in listed
        for o, odds, price in zip(m.outcomes, m.odds, m.prices, strict=True)
    }
    finalized = [m for m in listed if m.status == Status.FINALIZED]
    assert finalized
    assert all(m.odds == m.payouts != m.prices for m in finalized)
    favourites = dict(rows_of(folded, "SELECT market_id, favourite_price FROM dashboards.markets"))
    assert favourites == {m.market_id: shown(max(m.odds)) for m in listed}


def test_ticks_and_candles_are_exact(folded: Connection[Any]) -> None:
    """Every tick of every outcome, and the days of the busiest market, are those of the price history."""
    with read(folded, *PROJECTIONS) as as_of:
        listed = listing.newest(folded, as_of, limit=100)
        busiest = max(listed, key=lambda market: market.trades)
        ticks = {
            (market.market_id, outcome): prices.histories(folded, as_of, market.market_id, [index]).ticks[0]
            for market in listed
            for index, outcome in enumerate(market.outcomes)
        }
        days = outcome_candles(folded, as_of, busiest.market_id, 0, "1d", START, as_of.time)

    for (market_id, outcome), history in ticks.items():
        assert folded.execute(
            "SELECT time, price, position FROM dashboards.ticks WHERE market_id = %s AND outcome = %s ORDER BY position",
            [market_id, outcome],
        ).fetchall() == [(moment(tick.time), shown(tick.price), tick.position) for tick in history]
    found = folded.execute(
        "SELECT time, open, high, low, close, previous, volume, quantity, trades FROM dashboards.candles "
        "WHERE market_id = %s AND outcome = %s AND period = '1d' ORDER BY time",
        [busiest.market_id, busiest.outcomes[0]],
    ).fetchall()
    expected = [
        (moment(c.start), shown(c.open), shown(c.high), shown(c.low), shown(c.close), shown(c.previous),
         shown(c.volume), shown(c.quantity), c.trades)
        for c in days
    ]  # fmt: skip
    assert found == [row for row in expected if row[0] in {other[0] for other in found}]
    assert len(found) > 3


def test_positions_and_settlements_are_exact(folded: Connection[Any], standings: list[Standing]) -> None:
    """Positions, closed ones included, and settlements are those of each account on the leaderboard."""
    with read(folded, *PROJECTIONS) as as_of:
        held = {
            name: positions.account_positions(folded, as_of, name, closed=True)
            for name in (s.account_id for s in standings)
        }
        settled = [row for name in held for row in positions.settlements(folded, as_of, name, limit=1000)]

    assert {
        (row[0], row[1], row[2]): row[3:]
        for row in rows_of(folded, "SELECT account_id, market_id, outcome, shares, cost_basis, value, unrealized, realized, "
                           "price FROM dashboards.positions")
        if row[0] in held
    } == {
        (p.account_id, p.market_id, p.outcome): (
            shown(p.shares), shown(p.cost_basis), shown(p.value), shown(p.unrealized), shown(p.realized),
            shown(p.price),
        )
        for rows in held.values()
        for p in rows
    }  # fmt: skip
    assert sorted(
        rows_of(folded, "SELECT position, outcome, account_id, kind, amount, time FROM dashboards.settlements")
    ) == sorted((s.position, s.outcome, s.account_id, s.kind, shown(s.amount), moment(s.time)) for s in settled)


def test_profits_and_forecasts_are_exact(folded: Connection[Any], standings: list[Standing]) -> None:
    """Sums of profits, of days and of forecasts are those of the leaderboard."""
    assert {
        row[0]: row[1:] for row in rows_of(folded, "SELECT account_id, sum(realized), sum(unrealized), sum(pnl), sum(volume), "
                                           "sum(trades) FROM dashboards.profits GROUP BY account_id")
    } == {
        s.account_id: (shown(s.realized), shown(s.unrealized), shown(s.pnl), shown(s.volume), s.trades)
        for s in standings
    }  # fmt: skip
    assert rows_of(folded, "SELECT sum(realized), sum(volume) FROM dashboards.daily_profits") == [
        (shown(sum(s.realized for s in standings)), shown(sum(s.volume for s in standings)))
    ]
    assert dict(
        rows_of(folded, "SELECT account_id, max(brier) FROM dashboards.forecasts GROUP BY 1 HAVING count(*) = 1")
    ) == {s.account_id: shown(s.brier) for s in standings if s.brier is not None}


def test_cash_and_equity_are_exact(folded: Connection[Any], standings: list[Standing]) -> None:
    """Balances, the sums of the ledger and the newest equity are those of the accounts."""
    with read(folded, *PROJECTIONS) as as_of:
        ledger_sums = accounts.ledger_sums(folded, as_of)
        names = [s.account_id for s in standings]
        every = [name for (name,) in rows_of(folded, "SELECT account_id FROM accounts")]  # also those that never traded
        all_accounts = {name: accounts.get_account(folded, as_of, name) for name in every}
        points = equity.equity_history(folded, as_of, names[0], start=as_of.time, end=as_of.time, step=1)

    assert rows_of(folded, "SELECT -sum(external), sum(fees) FROM dashboards.ledger") == [
        (shown(-ledger_sums["external"]), shown(ledger_sums["fees"]))
    ]
    assert {
        row[0]: row[1:] for row in rows_of(folded, "SELECT account_id, available, held FROM dashboards.accounts")
    } == {name: (shown(account.available), shown(account.held)) for name, account in all_accounts.items() if account}
    last = folded.execute(
        "SELECT available, held, positions, equity FROM dashboards.equity WHERE account_id = %s ORDER BY position DESC LIMIT 1",
        [names[0]],
    ).fetchone()
    assert last is not None
    assert last[:2] == (shown(points[-1].available), shown(points[-1].held))
    assert last[3] == sum(last[:3])


def test_trades_and_progress_are_exact(folded: Connection[Any], events: list[Recorded]) -> None:
    """Trades lose nothing, every read model is at the end of the log, and no view is empty."""
    assert rows_of(folded, "SELECT count(*), sum(cost), sum(fee) FROM dashboards.trades") == rows_of(
        folded, "SELECT count(*), sum(cost) * 0.000001, sum(fee) * 0.000001 FROM trades"
    )
    assert {row[0]: row[1:] for row in rows_of(folded, "SELECT projection, position, behind_events, parked, time "
                                               "FROM dashboards.progress")} == {
        name: (len(events), 0, 0, moment(events[-1].time)) for name in PROJECTIONS
    }  # fmt: skip
    assert all(rows_of(folded, f"SELECT 1 FROM dashboards.{name} LIMIT 1") for name in VIEWS)


def test_large_amounts_lose_nothing(live: Connection[Any]) -> None:
    """The largest amounts that a table can hold are shown to their last digit."""
    live.execute("UPDATE markets SET volume = 9223372036854775807")

    assert rows_of(live, "SELECT DISTINCT volume FROM dashboards.markets") == [(Decimal("9223372036854.775807"),)]
