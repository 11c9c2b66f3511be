"""The parts that the settings name: the log and its recorder (PostgreSQL or Kafka), and the limits of a batch.

Command sources and gateways are not here. No setting names them; they follow from the processes that run: the embedded
program has a queue in its process, an engine of its own has Kafka.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory
from eventsourcing.utils import Environment

from consumers.engine.batch import BatchLimits
from consumers.engine.postgres_log import PostgresLog, postgres_recorder
from consumers.kafka.log import KafkaLog
from consumers.kafka.log_settings import kafka_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumers.engine.log import Log
    from consumers.traces import Traces
    from settings import Settings


def open_log(settings: Settings) -> Log:
    """Return the log that the settings name, for an engine to take over."""
    if settings.log == "kafka":
        return KafkaLog(settings)
    return PostgresLog(_dsn(settings), settings.partition, append_seconds=settings.append_ms / 1000)


@contextmanager
def open_recorder(settings: Settings) -> Iterator[ApplicationRecorder]:
    """Yield the library's recorder of the same log, for reading: projections, `/v1/events`, applications.

    The end of the block closes the recorder. Nobody may read through it after that.
    """
    if settings.log == "kafka":
        with closing(InfrastructureFactory.construct(Environment("", kafka_environment(settings)))) as factory:
            yield factory.application_recorder()
    else:
        with postgres_recorder(_dsn(settings), settings.partition, settings.pool_connections_max) as recorder:
            yield recorder


@contextmanager
def open_traces(settings: Settings, process: str) -> Iterator[Traces | None]:
    """Yield the spans of this process, None unless the settings turn traces on. The end of the block sends what is left."""
    if not settings.traces:
        yield None
        return
    from consumers.traces import Traces  # noqa: PLC0415  an extra, and slow to import

    with closing(Traces(process)) as traces:
        yield traces


def batch_limits(settings: Settings) -> BatchLimits:
    """Return the most that one batch of the engine may hold."""
    return BatchLimits(settings.batch_commands_max, settings.batch_events_max, settings.batch_bytes_max)


def _dsn(settings: Settings) -> str:
    if not settings.dsn:
        raise ValueError("the log is in PostgreSQL, and no DSN says where that is")
    return settings.dsn
