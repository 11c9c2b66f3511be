"""Sends a record and returns its offset, with librdkafka. An append waits for this, so it must be quick.

The caller's own thread polls for acknowledgements, and only when it needs one: a thread that passes them on would be most
of the cost of an append.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import confluent_kafka
from confluent_kafka import KafkaException

from eventsourcing_kafka.clients import Lease, close_producer, new_client
from eventsourcing_kafka.errors import InDoubt
from eventsourcing_kafka.forks import OneProcess
from eventsourcing_kafka.library import OperationalError
from eventsourcing_kafka.waits import StuckError, WaitGuard, call_within, poll_seconds

if TYPE_CHECKING:
    from eventsourcing_kafka.clients import Connections
    from eventsourcing_kafka.protocol import Headers
    from eventsourcing_kafka.settings import Settings

__all__ = ["Producer", "Sent"]


class Producer:
    """Sends to the partition of the settings. It belongs to one thread at a time."""

    def __init__(self, settings: Settings, connections: Connections | None = None) -> None:
        """Connect; or use the producer that the users of these connections share.

        Raises:
            OperationalError: no broker answered within ``connect_timeout`` seconds.
        """
        self._settings = settings
        self._process = OneProcess()
        self._topic, self._partition = settings.topic, settings.partition
        self._connections = connections
        self._client, self._guard = _connect(settings, connections)

    def send(self, value: bytes, headers: Headers | None = None) -> Sent:
        """Send a record and return at once. The headers are the record's; nothing of the log depends on them.

        Raises:
            InDoubt: it cannot be sent.
        """
        self._process.check()
        if self._guard.stale and not len(self._client):  # nothing is on its way
            if isinstance(self._client, Lease):
                self._client.retire()
            try:
                client, guard = _connect(self._settings, self._connections)
            except OperationalError as error:
                raise InDoubt(str(error)) from error
            self.close()
            self._client, self._guard = client, guard
        sent = Sent(self._client, self._guard)
        try:
            self._client.produce(
                self._topic, value, partition=self._partition, on_delivery=sent.acknowledge, headers=headers
            )
        except (KafkaException, BufferError) as error:
            raise InDoubt(f"Cannot send: {sent.cause_of(error)}") from error
        return sent

    @property
    def reused(self) -> bool:
        """Whether others had this client of librdkafka before."""
        return isinstance(self._client, Lease) and self._client.reused

    def close(self) -> None:
        """Disconnect without waiting: a record that is on its way may arrive or not."""
        if self._process.is_this:
            _disconnect(self._client, self._guard)


def _connect(settings: Settings, connections: Connections | None) -> tuple[Any, WaitGuard]:
    timeout = settings.connect_timeout
    while True:
        client = (
            connections.producer() if connections else new_client(confluent_kafka.Producer, settings.rdkafka_producer())
        )
        guard = WaitGuard(client.purge)  # what is on its way is then in doubt
        try:
            call_within(timeout, client, guard, partial(client.list_topics, settings.topic, timeout=timeout))
        except StuckError:  # the wall clock was set back
            if isinstance(client, Lease):
                client.retire()
        except KafkaException as error:
            _disconnect(client, guard)
            raise OperationalError(f"Cannot connect to {settings.bootstrap_servers}: {error}") from error
        else:
            return client, guard


def _disconnect(client: Any, guard: WaitGuard) -> None:
    # The records of those who share a client go on.
    guard.close(client, client.close if isinstance(client, Lease) else partial(close_producer, client))


class Sent:
    """A record that is on its way."""

    __slots__ = ("_client", "_error", "_guard", "_offset")

    def __init__(self, client: Any, guard: WaitGuard) -> None:
        self._client = client
        self._guard = guard
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
            if monotonic() >= deadline:
                raise InDoubt(f"No acknowledgement within {timeout} s")
            self._poll(poll_seconds(deadline))
        if self._error is not None:
            raise InDoubt(f"No acknowledgement: {self._error}")
        if self._offset is None or self._offset < 0:
            raise InDoubt("Acknowledged without an offset")
        return self._offset

    def cause_of(self, refusal: Exception) -> object:
        """Return why nothing can be sent. The client may only say that an error before was fatal, and tells that one once."""
        self._poll(0)
        return refusal if self._error is None else self._error

    def acknowledge(self, error: Any, message: Any) -> None:
        """Take the broker's acknowledgement or the error. The client calls this."""
        self._error = error
        self._offset = message.offset()

    def _poll(self, seconds: float) -> None:
        """Let the client call ``acknowledge``. It raises a fatal error by itself: the broker forgot what it had confirmed."""
        try:
            with self._guard.at_most(seconds):
                self._client.poll(seconds)
        except KafkaException as error:
            self._error = error

    def _is_acknowledged(self) -> bool:
        return self._offset is not None or self._error is not None
