"""Who receives replies, and from which partition of the topic `replies`: so that nobody reads the replies of all others.

With one partition a receiver's name is a name. With several, `3.NAME` reads partition 3, and any other name partition 0.
"""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from confluent_kafka import Message

from consumers.kafka.records import Headers

_STAMPED: Final = re.compile(r"([0-9]{1,4})\.")
_OF_ENGINE: Final = "partition"
"""The header that says which engine has sent a record of replies to all receivers."""


class ReplySource(Protocol):
    """Where the records of replies come from."""

    def take(self, records_max: int, timeout_seconds: float) -> Sequence[Message]:
        """Return the records that have come; wait for the first one, and return none when the time is up."""

    def wake(self) -> None:
        """Have `take` return at once; from any thread."""

    def close(self) -> None:
        """Read no more."""


def replies_partition(receiver: str, partitions: int) -> int:
    """Return the partition of `replies` that a receiver reads."""
    stamped = _STAMPED.match(receiver) if partitions > 1 else None
    partition = int(stamped[1]) if stamped else 0
    return partition if partition < partitions else 0


def headers_of_engine(partition: int, partitions: int) -> Headers | None:
    """Return the headers of a record of replies to all receivers: with several partitions they say whose replies these are."""
    return [(_OF_ENGINE, str(partition).encode())] if partitions > 1 else None


def engine_of(record: Message) -> int:
    """Return the partition of the engine that has sent a record of replies to all receivers."""
    return int(dict(record.headers() or ()).get(_OF_ENGINE) or 0)
