"""Fixtures of the tests of `eventsourcing_kafka`: settings of a fresh log on the run's broker."""

from __future__ import annotations

import gc
import logging
import warnings
from typing import TYPE_CHECKING

import pytest

from eventsourcing_kafka import Settings, ensure_topic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    """Settings of a log that no other test has; its topic exists, with two partitions."""
    settings = Settings(
        bootstrap_servers=kafka,
        topic=f"{topic_prefix}events",
        partitions=2,
        replication_factor=1,
        index_folder=str(tmp_path / "index"),
    )
    ensure_topic(settings)
    return settings
