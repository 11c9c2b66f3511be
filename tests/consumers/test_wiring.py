"""The log and the recorder that the settings name."""

from contextlib import closing
from pathlib import Path

import pytest

from consumers.engine.batch import BatchLimits
from consumers.engine.postgres_log import PostgresLog
from consumers.kafka.log import KafkaLog
from consumers.wiring import batch_limits, open_log, open_recorder
from settings import Settings


def test_the_settings_name_the_log(tmp_path: Path) -> None:
    """PostgreSQL or Kafka; nothing is connected yet."""
    assert isinstance(open_log(Settings(home=tmp_path, dsn="dbname=x")), PostgresLog)
    with closing(open_log(Settings(home=tmp_path, log="kafka"))) as log:
        assert isinstance(log, KafkaLog)


def test_a_log_in_postgresql_needs_a_dsn(tmp_path: Path) -> None:
    """The error says so."""
    settings = Settings(home=tmp_path)

    with pytest.raises(ValueError, match="no DSN"):
        open_log(settings)
    with pytest.raises(ValueError, match="no DSN"), open_recorder(settings):
        pass


def test_the_settings_name_the_limits_of_a_batch(tmp_path: Path) -> None:
    """Commands, events, bytes."""
    settings = Settings(home=tmp_path, batch_commands_max=7, batch_events_max=8, batch_bytes_max=65_536)

    assert batch_limits(settings) == BatchLimits(7, 8, 65_536)
