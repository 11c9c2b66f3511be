"""Fixtures for all tests: real servers, started once for a run, and a new database or new topic names for each test.

`TIDINGS_TEST_DSN` and `TIDINGS_TEST_KAFKA` name servers that run already. If Kafka cannot be started, the tests that need
it are skipped with the reason. With `CI=true` every skipped test is a failed one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import hypothesis
import pytest
from psycopg.conninfo import make_conninfo

from local.compile import refuse_outdated
from local.postgres import Postgres, create_database, drop_database
from tests.kafka_fixtures import (  # noqa: F401  fixtures
    _quiet,
    kafka,
    lost_connections,
    own_kafka,
    own_threads,
    run_folder,
    topic_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# Without fsync only a power cut loses data, and kill -9 loses nothing. These tests have no power cuts.
_NO_FSYNC = {"fsync": "off", "max_connections": "500"}

CI = os.environ.get("CI") == "true"

refuse_outdated()

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)  # a commit always gets the same examples
hypothesis.settings.load_profile("ci" if CI else "dev")


@pytest.fixture(scope="session")
def postgres_dsn(run_folder: Path) -> Iterator[str]:  # noqa: F811  a fixture
    """The DSN of the database `postgres` on a PostgreSQL server for this run."""
    given = os.environ.get("TIDINGS_TEST_DSN")
    if given:
        yield given
        return
    server = Postgres.start(run_folder / "postgres", own=run_folder, settings=_NO_FSYNC, end_with_process=True)
    yield server.dsn()
    server.stop()


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[str]:
    """The DSN of a new, empty database, which is dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    yield make_conninfo(postgres_dsn, dbname=name)
    drop_database(postgres_dsn, name)


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for the servers of one test; like `run_folder`, PostgreSQL's user can enter it."""
    folder = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own_postgres(server_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL server for one test, which may kill it."""
    server = Postgres.start(server_folder, settings=_NO_FSYNC, end_with_process=True)
    yield server
    server.stop()


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
