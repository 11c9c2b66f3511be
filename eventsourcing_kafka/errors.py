"""The errors, as subclasses of the library's own. Their names say what happened, without "Error".

eventsourcing.persistence.PersistenceError
├── OperationalError            the broker did not answer in time: try again
│   ├── Fenced                  another writer has the partition; the events were not and never will be appended
│   │   └── ClaimLost           the same, discovered while taking over
│   ├── InDoubt                 the log may hold the record or not: take over again to find out
│   └── LogTruncated            records that this reader needs were deleted
├── InternalError
│   ├── RecordsMissing          the log has lost records: nothing may be read or appended after them
│   └── LogRolledBack           the topic was made anew or restored from a backup: it lacks what was read from it
└── ProgrammingError
    └── UnsafeTopic             the topic is missing, or one of its settings could lose data; the message names it
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from eventsourcing.persistence import InternalError

from eventsourcing_kafka.library import OperationalError, ProgrammingError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ClaimLost", "Fenced", "InDoubt", "LogRolledBack", "LogTruncated", "RecordsMissing", "UnsafeTopic"]


class Fenced(OperationalError):  # noqa: N818
    """Another writer has taken over the partition. The batch is invalid for ever, and this writer cannot append any more."""


class ClaimLost(Fenced):
    """Another claim came first. Stand by, or try again after a random time."""


class InDoubt(OperationalError):  # noqa: N818
    """The log may hold the record or not. The writer is closed: take over again, then the log shows which."""


class LogTruncated(OperationalError):  # noqa: N818
    """The log has no record at the offset that this reader must read next: it was deleted, or the topic was recreated."""


class LogRolledBack(InternalError):  # noqa: N818
    """The topic was made anew, or restored from a backup: it lacks events that were read from it. Nothing is read on."""


class RecordsMissing(InternalError):  # noqa: N818
    """A record proves that the log has lost records before it. Trying again does not help: restore the topic."""


class UnsafeTopic(ProgrammingError):  # noqa: N818
    """The topic does not exist, or one of its settings could lose data."""


@contextmanager
def translate_errors(doing: str) -> Iterator[None]:
    """Translate errors of librdkafka into ``OperationalError``. The message begins with ``doing``."""
    try:
        yield
    except (KafkaException, TimeoutError) as error:
        raise OperationalError(f"{doing}: {error}") from error
