"""Both logs of the same commands export the same."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment

from api.export.run import ExportOptions, export
from consumers.kafka.log_settings import kafka_environment
from tests.api.export.exchange import exported, fold, opened, tables
from tests.consumers.processes import kafka_settings
from tests.projections.logs import stored

if TYPE_CHECKING:
    from pathlib import Path

    from domain.events import Recorded


def test_kafka_and_postgresql_export_the_same(  # noqa: PLR0917  fixtures
    dsn: str, database: str, kafka: str, topic_prefix: str, log: list[Recorded], tmp_path: Path
) -> None:
    """Byte for byte, events and tables."""
    environment = kafka_environment(kafka_settings(tmp_path, kafka, topic_prefix))
    with closing(InfrastructureFactory.construct(Environment("", environment))) as factory:
        recorder = factory.application_recorder()
        for start in range(0, len(log), 400):
            recorder.insert_events(stored(log[start : start + 400]))
        fold(database, log)
        with opened(database, recorder) as source:
            report = export(tmp_path / "kafka", source, ExportOptions(verify=True))
            identity = source.identity
    exported(dsn, tmp_path / "postgres")

    assert report.problems == []
    assert report.manifest.log == identity != ""
    assert tables(tmp_path / "kafka") == tables(tmp_path / "postgres")
