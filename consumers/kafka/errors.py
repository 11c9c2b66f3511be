"""Errors of the Kafka libraries, and which error of the log each becomes: one table for each thing that can fail.

An error that the table does not name passes as it is: our use of a library is wrong, or a topic is unsafe.
"""

from typing import Final

from eventsourcing.persistence import OperationalError, PersistenceError

import eventsourcing_kafka as es_kafka
from consumers.engine.log import ErrorTable, Fenced, InDoubt, LogLost, StaleCheckpoint, UnsafeLog

READ_ERRORS: Final[ErrorTable] = {
    es_kafka.Fenced: Fenced,
    es_kafka.LogTruncated: StaleCheckpoint,
    es_kafka.RecordsMissing: LogLost,
    es_kafka.LogRolledBack: LogLost,
    es_kafka.UnsafeTopic: UnsafeLog,
    OperationalError: InDoubt,
}
"""Reading the log from a checkpoint on, and claiming it."""

APPEND_ERRORS: Final[ErrorTable] = {
    es_kafka.Fenced: Fenced,
    PersistenceError: InDoubt,
}
"""Appending, and looking up old events: the next take-over tells what is wrong with the log."""

TOPIC_ERRORS: Final[ErrorTable] = {
    OperationalError: InDoubt,
}
"""Every other topic: commands, dead letters, heartbeats."""
