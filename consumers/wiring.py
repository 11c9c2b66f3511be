"""Which log and which recorder the settings name: PostgreSQL for the embedded program, Kafka for the distributed one."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory
from eventsourcing.utils import Environment

from consumers.engine.postgres_log import PostgresLog, postgres_recorder
from consumers.kafka.log import KafkaLog, kafka_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumers.engine.log import Log
    from settings import Settings


def open_log(settings: Settings, dsn: str | None = None) -> Log:
    """Return the log that the settings name, for the engine to take over. `dsn` overrides that of the settings."""
    if settings.log == "kafka":
        return KafkaLog(settings)
    return PostgresLog(_dsn(settings, dsn), settings.partition, append_seconds=settings.append_ms / 1000)


@contextmanager
def open_recorder(settings: Settings, dsn: str | None = None) -> Iterator[ApplicationRecorder]:
    """Yield the library's recorder of the same log, for reading: projections, `/v1/events`, applications.

    The recorder is closed at the end of the block. Nobody may read through it any more by then.
    """
    if settings.log == "kafka":
        with closing(InfrastructureFactory.construct(Environment("", kafka_environment(settings)))) as factory:
            yield factory.application_recorder()
    else:
        with postgres_recorder(_dsn(settings, dsn), settings.partition, settings.pool_connections_max) as recorder:
            yield recorder


def _dsn(settings: Settings, dsn: str | None) -> str:
    chosen = dsn or settings.dsn
    if chosen is None:
        raise ValueError("the log is in PostgreSQL, and no DSN says where that is")
    return chosen
