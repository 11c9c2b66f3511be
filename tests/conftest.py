"""Fixtures for everybody: real servers, started once for a run, and a fresh database or topic names for each test.

`TIDINGS_TEST_DSN` and `TIDINGS_TEST_KAFKA` point at servers that run already. Where no Kafka can be had, the tests that
need it are skipped with the reason; with `CI=true` every skip is a failure.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import hypothesis
import pytest
from psycopg.conninfo import make_conninfo

from local.compile import refuse_outdated
from local.kafka import Broker
from local.postgres import Postgres, create_database, drop_database
from local.processes import StartError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# kill -9 of a server loses nothing without fsync; only a power cut would, and there is none in these tests.
_NO_FSYNC = {"fsync": "off"}

CI = os.environ.get("CI") == "true"

refuse_outdated()

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)  # the same examples for the same commit
hypothesis.settings.load_profile("ci" if CI else "dev")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """No log of kafka-python: it reports every lost connection at length, and keeps its socket alive with the report."""
    caplog.set_level(logging.CRITICAL, "kafka")


@pytest.fixture
def lost_connections() -> Iterator[None]:
    """For tests whose connections fail: kafka-python leaves such sockets to the garbage collector, so collect them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A folder for the servers of this run. Not pytest's own: PostgreSQL's user could not get through to that."""
    folder = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_dsn(run_folder: Path) -> Iterator[str]:
    """A PostgreSQL server for the run, as the DSN of its database `postgres`."""
    given = os.environ.get("TIDINGS_TEST_DSN")
    if given:
        yield given
        return
    server = Postgres.start(run_folder / "postgres", settings=_NO_FSYNC, end_with_process=True)
    yield server.dsn()
    server.stop()


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[str]:
    """The DSN of a new, empty database, dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    yield make_conninfo(postgres_dsn, dbname=name)
    drop_database(postgres_dsn, name)


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for servers of this test's own; as `run_folder`, where PostgreSQL's user can get through."""
    folder = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own_postgres(server_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL server that this test has to itself and may kill."""
    server = Postgres.start(server_folder, settings=_NO_FSYNC, end_with_process=True)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka(run_folder: Path) -> Iterator[str]:
    """A Kafka broker for the run, as its bootstrap servers. It is everybody's: do not stop it."""
    given = os.environ.get("TIDINGS_TEST_KAFKA")
    if given:
        yield given
        return
    broker = _started(Broker(run_folder / "kafka"))
    yield broker.bootstrap
    broker.kill()  # nobody needs its data any more


@pytest.fixture
def topic_prefix() -> str:
    """A beginning for topic names that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}."


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Broker]:
    """A Kafka broker that this test has to itself and may kill, pause and restart."""
    broker = _started(Broker(tmp_path / "kafka"))
    yield broker
    broker.kill()


def _started(broker: Broker) -> Broker:
    try:
        return broker.start()
    except StartError as reason:
        pytest.skip(f"no Kafka: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `CI=true` a skipped test is a failed one."""
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """With `CI=true` a skipped module is a failed one."""
    return _without_skip((yield))


def _without_skip(report: Report) -> Report:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"with CI=true nothing may be skipped: {report.longrepr}"
    return report
