"""Fixtures of the tests of `eventsourcing_kafka`: settings of a fresh log on the run's broker.

With release 10.0 of the library (`make test-next`) only those tests run that depend on the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eventsourcing_kafka import Settings, ensure_topic
from eventsourcing_kafka.library import EVENTS_HAVE_METADATA

if TYPE_CHECKING:
    from pathlib import Path

OF_ONE_RELEASE = (
    "test_chaos.py",
    "test_damaged_index.py",
    "test_index.py",
    "test_known_end.py",
    "test_protocol_model.py",
    "test_readme.py",  # its example is one of 9.5
    "test_writer.py",
)
collect_ignore = list(OF_ONE_RELEASE) if EVENTS_HAVE_METADATA else ["test_library_10.py"]


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
