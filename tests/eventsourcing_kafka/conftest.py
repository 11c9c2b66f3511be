"""Fixtures of the tests of `eventsourcing_kafka`: settings of a fresh log on the run's broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eventsourcing_kafka import Settings, ensure_topic

if TYPE_CHECKING:
    from pathlib import Path


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
