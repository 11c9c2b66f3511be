"""Views for dashboards: documented, exact, readable by a role that may read nothing else, there through every rebuild."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from migrations import migrate
from projections import accounts, candles
from projections.dashboards import roles
from projections.dashboards.roles import RoleError, make_role
from projections.dashboards.views import MARKETS, PAGE, VIEWS, page
from projections.machine.batch import Batch
from projections.machine.rebuild import rebuild
from projections.machine.store import CONNECT_OPTIONS, connect, ensure
from projections.markets import markets, prices
from projections.positions import leaderboard, positions
from projections.reading import read
from projections.registry import PROJECTIONS
from tests.projections.folding import Copy
from tests.projections.simulation import START, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

    from domain.events import Recorded

ROLE_PASSWORD = "the password of a role of the tests"  # noqa: S105  it guards nothing
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What a role that has only the views is refused, in each of these places.
FORBIDDEN = [
    "SELECT * FROM public.api_keys",
    "SELECT * FROM read_models.markets",
    "SELECT * FROM read_models.projection_parked",
    "SELECT * FROM public.schema_version",
    "DELETE FROM dashboards.stories",
    "UPDATE dashboards.accounts SET name = 'x'",
    "INSERT INTO dashboards.stories (story_id) VALUES ('x')",
    "CREATE TABLE dashboards.mine (a int)",
    "CREATE TABLE public.mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "DROP VIEW dashboards.stories",
    "SET ROLE postgres",
    "COPY dashboards.stories TO PROGRAM 'cat'",
    "SELECT pg_read_file('PG_VERSION')",
]


@pytest.fixture(scope="module")
def events() -> list[Recorded]:
    """A log with everything in it."""
    return simulate(41, 300)


@pytest.fixture
def live(database: str, events: list[Recorded]) -> Iterator[Connection[Any]]:
    """The live read models of that log, for reading."""
    Copy(database, "read_models", PROJECTIONS.values()).fold(events, 500).connection.close()
    with psycopg.connect(database, autocommit=True, **CONNECT_OPTIONS) as connection:
        yield connection


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role as `tidings sql-role` makes it, in a database without any view yet; the DSN to log in with."""
    name = f"test_role_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection)
        make_role(connection, name, ROLE_PASSWORD)
        yield make_conninfo(database, user=name, password=ROLE_PASSWORD)
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


def rows_of(connection: Connection[Any], query: str) -> list[Any]:
    """Return the rows of a query of our own."""
    return connection.execute(query.encode()).fetchall()


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


def test_amounts_and_times_are_exact(live: Connection[Any], events: list[Recorded]) -> None:
    """Every view tells what the queries behind the API tell, in credits and timestamps."""
    with read(live, *PROJECTIONS) as as_of:
        listed = markets.list_markets(live, as_of, limit=100)
        busiest = max(listed, key=lambda market: market.trades)
        ledger_sums = accounts.ledger_sums(live)
        standings = leaderboard.leaderboard(live, as_of)
        held = {
            name: positions.account_positions(live, as_of, name, closed=True)
            for name in (s.account_id for s in standings)
        }
        all_accounts = {name: accounts.get_account(live, as_of, name) for name in held}
        ticks = {
            (market.market_id, outcome): prices.history(live, as_of, market.market_id, index)
            for market in listed
            for index, outcome in enumerate(market.outcomes)
        }
        days = candles.candles(live, as_of, busiest.market_id, 0, "1d", START, as_of.time)
        settled = [row for name in held for row in positions.settlements(live, as_of, name, limit=1000)]
        equity = accounts.equity_history(live, as_of, standings[0].account_id, start=as_of.time, end=as_of.time, step=1)

    assert rows_of(live, "SELECT market_id, slug, status, volume, open_interest, trades, opened_at, position FROM "
                   "dashboards.markets ORDER BY opened_at DESC, market_id DESC") == [
        (m.market_id, m.slug, m.status, shown(m.volume), shown(m.open_interest_total), m.trades,
         moment(m.opened_at), m.position)
        for m in sorted(listed, key=lambda m: (m.opened_at, m.market_id), reverse=True)
    ]  # fmt: skip
    assert {(m, o): p for m, o, p in rows_of(live, "SELECT market_id, outcome, price FROM dashboards.odds")} == {
        (m.market_id, o): shown(p) for m in listed for o, p in zip(m.outcomes, m.prices, strict=True)
    }
    favourites = dict(rows_of(live, "SELECT market_id, favourite_price FROM dashboards.markets"))
    assert favourites == {m.market_id: shown(max(m.prices)) for m in listed}
    for (market_id, outcome), history in ticks.items():
        assert live.execute(
            "SELECT time, price, position FROM dashboards.ticks WHERE market_id = %s AND outcome = %s ORDER BY position",
            [market_id, outcome],
        ).fetchall() == [(moment(tick.time), shown(tick.price), tick.position) for tick in history]
    found = live.execute(
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
    assert {
        (row[0], row[1], row[2]): row[3:]
        for row in rows_of(live, "SELECT account_id, market_id, outcome, shares, cost_basis, value, unrealized, realized, "
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
        rows_of(live, "SELECT position, outcome, account_id, kind, amount, time FROM dashboards.settlements")
    ) == sorted((s.position, s.outcome, s.account_id, s.kind, shown(s.amount), moment(s.time)) for s in settled)
    assert {
        row[0]: row[1:] for row in rows_of(live, "SELECT account_id, sum(realized), sum(unrealized), sum(pnl), sum(volume), "
                                           "sum(trades) FROM dashboards.profits GROUP BY account_id")
    } == {
        s.account_id: (shown(s.realized), shown(s.unrealized), shown(s.pnl), shown(s.volume), s.trades)
        for s in standings
    }  # fmt: skip
    assert rows_of(live, "SELECT sum(realized), sum(volume) FROM dashboards.daily_profits") == [
        (shown(sum(s.realized for s in standings)), shown(sum(s.volume for s in standings)))
    ]
    assert dict(
        rows_of(live, "SELECT account_id, max(brier) FROM dashboards.forecasts GROUP BY 1 HAVING count(*) = 1")
    ) == {s.account_id: shown(s.brier) for s in standings if s.brier is not None}
    assert rows_of(live, "SELECT -sum(external), sum(fees) FROM dashboards.ledger") == [
        (shown(-ledger_sums["external"]), shown(ledger_sums["fees"]))
    ]
    assert {
        row[0]: row[1:] for row in rows_of(live, "SELECT account_id, available, held FROM dashboards.accounts")
    } == {name: (shown(account.available), shown(account.held)) for name, account in all_accounts.items() if account}
    last = live.execute(
        "SELECT available, held, positions, equity FROM dashboards.equity WHERE account_id = %s ORDER BY position DESC LIMIT 1",
        [standings[0].account_id],
    ).fetchone()
    assert last is not None
    assert last[:2] == (shown(equity[-1].available), shown(equity[-1].held))
    assert last[3] == sum(last[:3])
    assert rows_of(live, "SELECT count(*), sum(cost), sum(fee) FROM dashboards.trades") == rows_of(
        live, "SELECT count(*), sum(cost) * 0.000001, sum(fee) * 0.000001 FROM trades"
    )
    assert {row[0]: row[1:] for row in rows_of(live, "SELECT projection, position, behind_events, parked, time "
                                               "FROM dashboards.progress")} == {
        name: (len(events), 0, 0, moment(events[-1].time)) for name in PROJECTIONS
    }  # fmt: skip
    assert all(rows_of(live, f"SELECT 1 FROM dashboards.{name} LIMIT 1") for name in VIEWS)


def test_large_amounts_lose_nothing(live: Connection[Any]) -> None:
    """The largest amounts that a table can hold are shown to their last digit."""
    live.execute("UPDATE markets SET volume = 9223372036854775807")

    assert rows_of(live, "SELECT DISTINCT volume FROM dashboards.markets") == [(Decimal("9223372036854.775807"),)]


def test_a_role_reads_the_views_and_nothing_else(live: Connection[Any], role: str) -> None:
    """Every view is open to it, also those made after it; no table, no schema of ours and no write is."""
    with psycopg.connect(role, autocommit=True) as reader:
        for name in VIEWS:
            assert reader.execute(f"SELECT * FROM {name} LIMIT 1".encode()).fetchone(), name
        assert reader.execute("SHOW statement_timeout").fetchone() == ("30s",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("CREATE TABLE dashboards.mine (a int)")
        assert reader.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls FROM pg_roles "
            "WHERE rolname = current_user"
        ).fetchone() == (False,)
    writable = make_conninfo(role, options="-c default_transaction_read_only=off")
    for statement in FORBIDDEN:
        with psycopg.connect(writable, autocommit=True) as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(statement.encode())


def test_a_role_of_somebody_else_is_left_alone(live: Connection[Any], role: str) -> None:
    """Its own role gets a new password; what others have made, and what is no plain name, is refused."""
    user = psycopg.conninfo.conninfo_to_dict(role)["user"]
    before = rows_of(live, f"SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'")
    make_role(live, str(user), "another password")

    after = rows_of(live, f"SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'")
    assert before != after
    assert str(after[0][0]).startswith("SCRAM-SHA-256$")
    for name in (live.info.user, 'x"; DROP ROLE y', "", "A"):
        with pytest.raises(RoleError):
            make_role(live, name, "another password")


def test_missing_and_changed_views_are_made_at_the_start(
    live: Connection[Any], database: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of before the views gets them from the next projector; a definition that changed is made anew."""
    with psycopg.connect(role, autocommit=True) as reader:
        before = counts(reader)
        live.execute(f"DROP VIEW {', '.join(f'dashboards.{name}' for name in VIEWS)}".encode())
        with connect(database) as connection:
            ensure(connection, PROJECTIONS.values(), views=roles)
        assert counts(reader) == before

        columns = MARKETS.columns | {"slug": replace(MARKETS.columns["slug"], sql="upper(slug)")}
        monkeypatch.setitem(VIEWS, "markets", replace(MARKETS, columns=columns))
        with connect(database) as connection:
            ensure(connection, [PROJECTIONS["markets"]], views=roles)
        assert all(slug == slug.upper() for (slug,) in rows_of(reader, "SELECT slug FROM markets"))


# --- rebuilds


def counts(reader: Connection[Any]) -> dict[str, int]:
    """Return how many rows each view has."""
    return {name: int(rows_of(reader, f"SELECT count(*) FROM dashboards.{name}")[0][0]) for name in VIEWS}


def asked_meanwhile(role: str, work: Callable[[], None]) -> list[dict[str, int]]:
    """Ask every view again and again while some work is done; return the answers."""
    ended = threading.Event()
    answers: list[dict[str, int]] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            with psycopg.connect(role, autocommit=True) as reader:
                while not ended.is_set():
                    answers.append(counts(reader))
        except psycopg.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert errors == []
    return answers


def rebuild_all(database: str, events: list[Recorded]) -> None:
    """Build every read model anew."""
    for projection in list(PROJECTIONS.values()):
        rebuild(
            database, projection, lambda after, until: [Batch(0, events[after:until])], lambda: len(events), views=roles
        )


def test_views_are_there_before_during_and_after_a_rebuild(
    live: Connection[Any], database: str, role: str, events: list[Recorded]
) -> None:
    """While every read model is exchanged every view answers, always with all its rows; a user's view on one stays."""
    live.execute("CREATE SCHEMA analysts; CREATE VIEW analysts.open AS SELECT slug FROM dashboards.markets")
    with psycopg.connect(role, autocommit=True) as reader:
        before = counts(reader)
        answers = asked_meanwhile(role, lambda: rebuild_all(database, events))
        after = counts(reader)

    assert min(before.values()) > 0
    assert len(answers) > 3
    assert all(answer == before for answer in answers)
    assert after == before
    assert len(rows_of(live, "SELECT * FROM analysts.open")) == before["markets"]
    # They read the new tables, not the old ones.
    live.execute("UPDATE stories SET title = 'read from the new table'")
    assert {row[0] for row in rows_of(live, "SELECT title FROM dashboards.stories")} == {"read from the new table"}


def test_views_follow_a_new_version(
    live: Connection[Any], database: str, role: str, events: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read model of a new version has other tables, its views other columns: both change together, rights are kept."""
    with psycopg.connect(role, autocommit=True) as reader:
        before = counts(reader)
    for name in PROJECTIONS:
        monkeypatch.setitem(PROJECTIONS, name, replace(PROJECTIONS[name], version=PROJECTIONS[name].version + 1))
    rebuild_all(database, events)
    with psycopg.connect(role, autocommit=True) as reader:
        assert counts(reader) == before

    # The volume, by another type and another place: such a view cannot be replaced.
    columns = {"volume": replace(MARKETS.columns["volume"], sql="volume", type="bigint")} | {
        name: column for name, column in MARKETS.columns.items() if name != "volume"
    }
    monkeypatch.setitem(VIEWS, "markets", replace(MARKETS, columns=columns))
    monkeypatch.setitem(PROJECTIONS, "markets", replace(PROJECTIONS["markets"], version=100))
    rebuild(
        database,
        PROJECTIONS["markets"],
        lambda after, until: [Batch(0, events[after:until])],
        lambda: len(events),
        views=roles,
    )
    with psycopg.connect(role, autocommit=True) as reader:
        assert {type(row[0]) for row in rows_of(reader, "SELECT volume FROM markets")} == {int}
        assert counts(reader) == before


def test_a_view_over_old_and_new_tables_waits(
    live: Connection[Any], database: str, role: str, events: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read yet after one of its read models was exchanged is gone, alone, until another one has been."""

    def exchange(name: str) -> None:
        rebuild(database, PROJECTIONS[name], lambda a, u: [Batch(0, events[a:u])], lambda: len(events), views=roles)

    with psycopg.connect(role, autocommit=True) as reader:
        before = counts(reader)
        equity = VIEWS["equity"]
        with monkeypatch.context() as meanwhile:
            meanwhile.setitem(VIEWS, "equity", replace(equity, source=equity.source.replace("k.outcome", "k.later")))
            exchange("positions")
        with pytest.raises(psycopg.errors.UndefinedTable):
            counts(reader)
        assert reader.execute("SELECT count(*) FROM positions").fetchone() == (before["positions"],)
        exchange("accounts")
        assert counts(reader) == before
