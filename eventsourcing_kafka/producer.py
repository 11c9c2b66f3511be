"""Sends a record and returns its offset, with librdkafka. An append waits for this, so it must be quick.

The caller's own thread polls for acknowledgements, and only when it needs one: a thread that passes them on would be most
of the cost of an append.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import confluent_kafka
from confluent_kafka import KafkaException

from eventsourcing_kafka.clients import close_producer, new_client
from eventsourcing_kafka.errors import InDoubt
from eventsourcing_kafka.library import OperationalError

if TYPE_CHECKING:
    from eventsourcing_kafka.clients import Lease
    from eventsourcing_kafka.settings import Settings

__all__ = ["Producer", "Sent"]


class Producer:
    """Sends to the partition of the settings. It belongs to one thread at a time."""

    def __init__(self, settings: Settings, lease: Lease | None = None) -> None:
        """Connect; or use a part in a shared producer, which is given back when this one is closed.

        Raises:
            OperationalError: no broker answered within ``connect_timeout`` seconds.
        """
        self._topic, self._partition = settings.topic, settings.partition
        self._client: Any = lease or new_client(confluent_kafka.Producer, settings.rdkafka_producer())
        try:
            self._client.list_topics(self._topic, timeout=settings.connect_timeout)
        except KafkaException as error:
            self.close()
            raise OperationalError(f"Cannot connect to {settings.bootstrap_servers}: {error}") from error

    def send(self, value: bytes) -> Sent:
        """Send a record and return at once.

        Raises:
            InDoubt: it cannot be sent.
        """
        sent = Sent(self._client)
        try:
            self._client.produce(self._topic, value, partition=self._partition, on_delivery=sent.acknowledge)
        except (KafkaException, BufferError) as error:
            raise InDoubt(f"Cannot send: {error}") from error
        return sent

    def close(self) -> None:
        """Disconnect without waiting: a record that is on its way may arrive or not."""
        close_producer(self._client)


class Sent:
    """A record that is on its way."""

    __slots__ = ("_client", "_error", "_offset")

    def __init__(self, client: Any) -> None:
        self._client = client
        self._offset: int | None = None
        self._error: Any = None

    def done(self) -> bool:
        """Tell whether the broker has answered, or the client has given up."""
        if not self._is_acknowledged():
            self._poll(0)
        return self._is_acknowledged()

    def offset(self, timeout: float) -> int:
        """Wait at most ``timeout`` seconds for the acknowledgement, and return the record's offset.

        Raises:
            InDoubt: no acknowledgement in time, an error, or an acknowledgement without an offset. librdkafka gives the last
                if the broker reports a duplicate, without knowing of which record.
        """
        deadline = monotonic() + timeout
        while not self._is_acknowledged():
            left = deadline - monotonic()
            if left <= 0:
                raise InDoubt(f"No acknowledgement within {timeout} s")
            self._poll(left)
        if self._error is not None:
            raise InDoubt(f"No acknowledgement: {self._error}")
        if self._offset is None or self._offset < 0:
            raise InDoubt("Acknowledged without an offset")
        return self._offset

    def acknowledge(self, error: Any, message: Any) -> None:
        """Take the broker's acknowledgement or the error. The client calls this."""
        self._error = error
        self._offset = message.offset()

    def _poll(self, seconds: float) -> None:
        """Let the client call ``acknowledge``. It raises a fatal error by itself: the broker forgot what it had confirmed."""
        try:
            self._client.poll(seconds)
        except KafkaException as error:
            self._error = error

    def _is_acknowledged(self) -> bool:
        return self._offset is not None or self._error is not None
