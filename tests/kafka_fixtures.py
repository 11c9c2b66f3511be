"""Fixtures for tests that need Kafka: a real broker, started once for a run, and new topic names for each test.

`TIDINGS_TEST_KAFKA` names a broker that runs already. If none can be started, the tests that need it are skipped with the
reason. `conftest.py` imports these fixtures; in the source archive of `eventsourcing_kafka` this file takes its place.
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
from typing import TYPE_CHECKING

import pytest

from local.kafka import Broker
from local.processes import StartError
from tests.eventsourcing_kafka.own_threads import own_threads  # noqa: F401  a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Silence kafka-python: it logs lost connections at length, and the log record keeps the socket alive."""
    caplog.set_level(logging.CRITICAL, "kafka")


@pytest.fixture
def lost_connections() -> Iterator[None]:
    """Collect the sockets of failed connections, which kafka-python leaves to the garbage collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A folder for the servers of this run. Not one of pytest's, which PostgreSQL's user could not enter."""
    folder = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka(run_folder: Path) -> Iterator[str]:
    """The address of a Kafka broker for this run. All tests share it: do not stop it."""
    given = os.environ.get("TIDINGS_TEST_KAFKA")
    if given:
        yield given
        return
    broker = _started(Broker(run_folder / "kafka"))
    yield broker.bootstrap
    broker.kill()  # nothing needs its data any more


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topic names that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}."


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Broker]:
    """A Kafka broker for one test, which may kill, pause and restart it."""
    broker = _started(Broker(tmp_path / "kafka"))
    yield broker
    broker.kill()


def _started(broker: Broker) -> Broker:
    try:
        return broker.start()
    except StartError as reason:
        pytest.skip(f"no Kafka: {reason}")
