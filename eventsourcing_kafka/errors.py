"""What can go wrong, in the library's own tree. The names say what happened, without "Error".

eventsourcing.persistence.PersistenceError
├── OperationalError            the broker cannot be reached, or not in time: try again
│   ├── Fenced                  another writer has the partition; what was to be appended never will be
│   │   └── ClaimLost           the same, found out while taking over
│   ├── InDoubt                 it may be in the log or not: take over again, then you know
│   └── LogTruncated            the log lacks what this reader needs: records were deleted
└── ProgrammingError
    └── UnsafeTopic             the topic is missing, or set so that it could lose data; says which setting
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from eventsourcing.persistence import OperationalError, ProgrammingError
from kafka.errors import KafkaError, LogTruncationError, OffsetOutOfRangeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ClaimLost", "Fenced", "InDoubt", "LogTruncated", "UnsafeTopic"]


class Fenced(OperationalError):  # noqa: N818
    """Another writer has taken the partition over. The batch is void for ever; this writer is of no more use."""


class ClaimLost(Fenced):
    """Another claim came first. Stand by, or try again after a random pause."""


class InDoubt(OperationalError):  # noqa: N818
    """The outcome of an append is unknown. The writer is closed: take over again, and the log tells."""


class LogTruncated(OperationalError):  # noqa: N818
    """The log has no record at an offset where this reader must go on: it was deleted, or the topic made anew."""


class UnsafeTopic(ProgrammingError):  # noqa: N818
    """The topic does not exist, or one of its settings could lose data."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise what the client library raises as an error of the tree above."""
    try:
        yield
    except (OffsetOutOfRangeError, LogTruncationError) as error:
        raise LogTruncated(f"{doing}: {error}") from error
    except (KafkaError, OSError) as error:
        raise OperationalError(f"{doing}: {type(error).__name__}: {error}") from error
