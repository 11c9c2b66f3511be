"""Records that a reader cannot understand: each is counted and skipped, and the log tells of them.

Anybody who may write to a topic can write such records, so they must not end their reader. A flood of them must not flood
the log of the program either: it gets a line at once, and then one every `LINE_SECONDS` with the number of records.
"""

from typing import Final

import structlog
from confluent_kafka import Message
from prometheus_client import Counter

from eventsourcing_kafka.quiet import LeaveOut

_log: Final = structlog.get_logger()

LINE_SECONDS: Final = 10.0
"""The least time from one line about a topic to the next."""

_counter: Final = Counter(
    "tidings_unreadable_records", "Records of a Kafka topic that could not be understood and were skipped", ["topic"]
)


class UnreadableRecords:
    """The records of one topic that its reader did not understand. It belongs to the reader's thread."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lines = LeaveOut(LINE_SECONDS)

    def note(self, record: Message, reason: object) -> None:
        """Count a record, and log its place and the reason why it was skipped."""
        _counter.labels(self._topic).inc()
        left_out = self._lines.count()
        if left_out is None:
            return
        _log.error(
            "record_unreadable",
            topic=self._topic,
            partition=record.partition(),
            offset=record.offset(),
            records=left_out + 1,
            reason=str(reason)[:200],
        )
