"""`api.processes` closes what it opens. Python 3.13 hangs at its end if something is still open then."""

from __future__ import annotations

import gc
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import httpx
import psycopg
import pytest
from eventsourcing.postgres import PostgresDatastore
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Literal
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from api.processes import Dependencies, Embedded, HttpProcess
from api.projecting import start_projector
from consumers.kafka.topics import ensure_topics
from eventsourcing_kafka.recorders import KafkaApplicationRecorder
from local.processes import polls
from projections.machine.progress import Progress
from projections.machine.store import CHANNEL
from settings import Settings
from tests.api.conftest import start
from tests.consumers.checks import eventually
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from pathlib import Path

    from api.http.app import App
    from local.postgres import Postgres
    from tests.eventsourcing_kafka.own_threads import OwnThreads


@pytest.fixture(params=["serve", "projector", "api", "projector of Kafka"])
def stack(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> ExitStack:
    """One of the ways to run, started. The stack stops it."""
    settings = Settings(dsn=database, home=tmp_path, port=0)
    if request.param in {"api", "projector of Kafka"}:
        brokers, prefix = request.getfixturevalue("kafka"), request.getfixturevalue("topic_prefix")
        settings = kafka_settings(tmp_path, brokers, prefix).model_copy(update={"dsn": database, "port": 0})
        ensure_topics(settings)
    stack = ExitStack()
    if "projector" in request.param:
        start_projector(settings, stack)
    elif request.param == "serve":
        stack.enter_context(Embedded(settings, one_process=True))
    else:
        stack.enter_context(HttpProcess(settings))
    return stack


@pytest.fixture
def opened_before() -> list[Any]:
    """The pools and recorders that are open before ours."""
    return opened()


def opened() -> list[Any]:
    """Return every open pool of PostgreSQL connections and every open recorder of a log in Kafka in this process."""
    kinds = ConnectionPool | KafkaApplicationRecorder
    return [found for found in gc.get_objects() if isinstance(found, kinds) and not found.closed]


def other_sessions(dsn: str) -> int:
    """Return the number of sessions of the database, without the one that asks."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.timeout(120)
def test_whoever_opens_closes(
    own_threads: OwnThreads,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    opened_before: list[Any],
    stack: ExitStack,
) -> None:
    """After the stop, every pool and recorder is closed, no thread of ours runs and the database has no session."""
    monkeypatch.delattr(PostgresDatastore, "__del__")  # it would close what we forgot
    ours = [each for each in opened() if each not in opened_before]
    assert own_threads.running()

    stack.close()

    assert ours
    assert [each for each in ours if not each.closed] == []
    assert own_threads.left() == []
    assert any(other_sessions(database) == 0 for _ in polls(10))  # the server notices an end after a moment


def test_a_start_that_fails_closes_what_it_had_opened(
    own_threads: OwnThreads, database: str, opened_before: list[Any], tmp_path: Path
) -> None:
    """The port is taken, so the last step of the start fails, when everything else runs."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
        Embedded(Settings(dsn=database, home=tmp_path, port=taken.getsockname()[1])),
    ):
        pass

    assert own_threads.left() == []
    assert [each for each in opened() if each not in opened_before] == []


@pytest.mark.parametrize("password", ["p@ss/w#rd", "a%b", "it's \\ one"])
def test_any_password_opens_the_database(own_postgres: Postgres, tmp_path: Path, password: str) -> None:
    """All connections log in with it: those of the engine, the library, the migrations, the read models and HTTP."""
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE ann LOGIN")
        connection.execute(SQL("ALTER ROLE ann PASSWORD {}").format(Literal(password)))
        connection.execute("CREATE DATABASE exchange OWNER ann")
        (own_postgres.folder / "data" / "pg_hba.conf").write_text(
            "local all ann scram-sha-256\nlocal all postgres trust\n"
        )
        connection.execute("SELECT pg_reload_conf()")
    dsn = make_conninfo(own_postgres.dsn("exchange"), user="ann")
    settings = Settings(dsn=dsn, database_password=SecretStr(password), home=tmp_path, port=0)

    with Embedded(settings) as running:
        for _ in polls(30):
            ready = httpx.get(f"{running.url}/readyz")
            if ready.status_code == 200:
                break

    assert ready.status_code == 200, ready.text
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)


def test_the_second_port_notices_a_stuck_event_loop(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server has an event loop of its own, so it still answers: not ready, until the other loop turns again."""
    stuck = threading.Event()
    make = Dependencies.app

    async def block() -> None:
        stuck.wait(60)

    def app_that_can_be_stuck(self: Dependencies, *given: Any) -> App:
        app = make(self, *given)
        app.add_api_route("/block", block)
        return app

    monkeypatch.setattr(Dependencies, "app", app_that_can_be_stuck)
    monkeypatch.setattr("api.http.server.STUCK_SECONDS", 1.5)
    with start(database, tmp_path, ops_port=0) as running:
        ops = running.ops.url if running.ops else ""
        assert eventually(lambda: httpx.get(f"{ops}/readyz").status_code == 200)
        blocked = threading.Thread(target=lambda: urlopen(f"{running.url}/block").close())  # noqa: S310  its own
        blocked.start()
        try:
            assert eventually(lambda: httpx.get(f"{ops}/readyz").status_code == 503)
            assert httpx.get(f"{ops}/readyz").json() == {"status": "not ready", "missing": ["http"]}
            assert "tidings" in httpx.get(f"{ops}/metrics").text
        finally:
            stuck.set()
            blocked.join()
        assert eventually(lambda: httpx.get(f"{ops}/readyz").status_code == 200)


@pytest.mark.parametrize("part", ["progress", "key-watch"])
def test_a_listener_that_ends_by_an_error_of_ours_ends_the_process(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Only a database that is away is outlived. A statement of ours that is wrong would be tried again for ever."""
    with start(database, tmp_path) as running:
        assert running.problem() is None
        if part == "progress":
            monkeypatch.setattr(Progress, "_read_all", lambda _, connection: connection.execute("SELECT nothing"))
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(f"NOTIFY {CHANNEL}")
        else:
            monkeypatch.setattr(running._key_watch, "_keys", None)
        assert any(running.problem() is not None for _ in polls(10))
