"""A role reads the views and nothing else, and the views exist before, during and after every rebuild."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from projections.dashboards import roles
from projections.dashboards.roles import RoleError, make_role
from projections.dashboards.views import MARKETS, VIEWS
from projections.dashboards.watchdog import Watchdog
from projections.machine.batch import Batch
from projections.machine.rebuild import rebuild
from projections.machine.store import connect, ensure
from projections.registry import PROJECTIONS
from tests.consumers.checks import eventually
from tests.projections.dashboards.conftest import ROLE_PASSWORD
from tests.projections.dashboards.queries import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from domain.events import Recorded

# Statements that PostgreSQL refuses to a role that may read the views only.
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
    "CREATE TEMP TABLE mine (a int)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
    "SELECT pg_advisory_unlock_all()",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT loread(0, 1)",
    "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT pg_notify('tidings_progress', 'x')",
    "SET temp_file_limit = -1",
    "SET session_authorization = postgres",
    "SET log_statement = 'none'",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT 1000",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
    "CREATE EXTENSION dblink",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "BEGIN; LOCK TABLE dashboards.stories IN EXCLUSIVE MODE",
    "SELECT * FROM dashboards.stories FOR UPDATE",
    "CREATE PUBLICATION mine",
]


def test_a_role_reads_the_views_and_nothing_else(live: Connection[Any], role: str) -> None:
    """It may read every view, also those created after it. It may read no table and write nothing."""
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
        with psycopg.connect(writable, autocommit=True) as reader:
            refuse(reader, statement)


def refuse(reader: Connection[Any], statement: str) -> None:
    """Fail unless PostgreSQL refuses the statement for lack of a privilege."""
    try:
        reader.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return
    pytest.fail(f"the role may do this: {statement}")


def test_our_own_user_keeps_what_the_role_lost(live: Connection[Any], role: str) -> None:
    """The functions stay ours: migrations and projectors lock by numbers. Making the role again closes nothing anew."""
    assert live.execute("SELECT pg_advisory_lock(1), pg_advisory_unlock(1)").fetchone()
    live.execute("CREATE TEMP TABLE ours (a int)")
    user = psycopg.conninfo.conninfo_to_dict(role)["user"]
    assert [line for line in make_role(live, str(user), ROLE_PASSWORD) if "other databases" not in line] == []


def test_a_session_that_lifts_its_limits_is_ended(live: Connection[Any], database: str, role: str) -> None:
    """PostgreSQL lets every role lift its time-outs; the watchdog ends it, one that reads and one that idles, no other."""
    watchdog = Watchdog(database, look_seconds=0.1, read_seconds=1, idle_seconds=1)
    watchdog.start()
    try:
        with psycopg.connect(role) as idle, psycopg.connect(role, autocommit=True) as busy:
            busy.execute("SET statement_timeout = 0")
            idle.execute("SET idle_in_transaction_session_timeout = 0")
            with pytest.raises(psycopg.OperationalError):
                busy.execute("SELECT pg_sleep(30)")
            assert eventually(lambda: is_dead(idle))
        assert live.execute("SELECT 1").fetchone() == (1,)
        live.execute("BEGIN; SELECT pg_sleep(1.5); COMMIT")
    finally:
        watchdog.stop()


def is_dead(connection: Connection[Any]) -> bool:
    """Return whether the server has ended a session."""
    try:
        connection.execute("SELECT 1 FROM (SELECT pg_sleep(0)) s")
        time.sleep(1.2)
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_a_role_of_somebody_else_is_left_alone(live: Connection[Any], role: str) -> None:
    """A role of ours gets a new password; a role of others and an invalid name are refused."""
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
    """A database without views gets them from the next projector; a view with another definition is replaced."""
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


def counts_during(role: str, work: Callable[[], None]) -> list[dict[str, int]]:
    """Query every view again and again while some work is done; return the row counts."""
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


def rebuild_one(database: str, name: str, events: list[Recorded]) -> None:
    """Rebuild one read model."""
    rebuild(
        database,
        PROJECTIONS[name],
        lambda after, until: [Batch(0, events[after:until])],
        lambda: len(events),
        views=roles,
    )


def rebuild_all(database: str, events: list[Recorded]) -> None:
    """Rebuild every read model."""
    for name in list(PROJECTIONS):
        rebuild_one(database, name, events)


def test_views_are_there_before_during_and_after_a_rebuild(
    live: Connection[Any], database: str, role: str, events: list[Recorded]
) -> None:
    """While every read model is exchanged, every view answers with all its rows, and a user's view on one of them stays."""
    live.execute("CREATE SCHEMA analysts; CREATE VIEW analysts.open AS SELECT slug FROM dashboards.markets")
    with psycopg.connect(role, autocommit=True) as reader:
        before = counts(reader)
        answers = counts_during(role, lambda: rebuild_all(database, events))
        after = counts(reader)

    assert min(before.values()) > 0
    assert len(answers) > 3
    assert all(answer == before for answer in answers)
    assert after == before
    assert len(rows_of(live, "SELECT * FROM analysts.open")) == before["markets"]
    # The views read the new tables, not the old ones.
    live.execute("UPDATE stories SET title = 'read from the new table'")
    assert {row[0] for row in rows_of(live, "SELECT title FROM dashboards.stories")} == {"read from the new table"}


def test_views_follow_a_new_version(
    live: Connection[Any], database: str, role: str, events: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version of a read model changes its tables and the columns of its views together; privileges stay."""
    with psycopg.connect(role, autocommit=True) as reader:
        before = counts(reader)
    for name in PROJECTIONS:
        monkeypatch.setitem(PROJECTIONS, name, replace(PROJECTIONS[name], version=PROJECTIONS[name].version + 1))
    rebuild_all(database, events)
    with psycopg.connect(role, autocommit=True) as reader:
        assert counts(reader) == before

    # The volume with another type and place: PostgreSQL cannot replace such a view.
    columns = {"volume": replace(MARKETS.columns["volume"], sql="volume::int8", type="bigint")} | {
        name: column for name, column in MARKETS.columns.items() if name != "volume"
    }
    monkeypatch.setitem(VIEWS, "markets", replace(MARKETS, columns=columns))
    monkeypatch.setitem(PROJECTIONS, "markets", replace(PROJECTIONS["markets"], version=100))
    rebuild_one(database, "markets", events)
    with psycopg.connect(role, autocommit=True) as reader:
        assert {type(row[0]) for row in rows_of(reader, "SELECT volume FROM markets")} == {int}
        assert counts(reader) == before


def test_a_view_over_old_and_new_tables_waits(
    live: Connection[Any], database: str, role: str, events: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view that does not fit its exchanged read model is gone, alone, until the rebuild of another one restores it."""
    with psycopg.connect(role, autocommit=True) as reader:
        before = counts(reader)
        equity = VIEWS["equity"]
        with monkeypatch.context() as meanwhile:
            meanwhile.setitem(VIEWS, "equity", replace(equity, source=equity.source.replace("k.outcome", "k.later")))
            rebuild_one(database, "positions", events)
        with pytest.raises(psycopg.errors.UndefinedTable):
            counts(reader)
        assert reader.execute("SELECT count(*) FROM positions").fetchone() == (before["positions"],)
        rebuild_one(database, "accounts", events)
        assert counts(reader) == before
