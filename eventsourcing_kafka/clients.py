"""Clients of librdkafka, and which of them the recorders of one process share.

Every client has four or more threads and as many connections as there are brokers. A process may have a recorder for each
of many applications, with snapshots beside the events. So what connects alike is shared (``Connections``): the consumers
that read single records, and the producer. Whoever follows a log (``Reader``) has a consumer of its own.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import partial
from threading import BoundedSemaphore, Condition, RLock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from eventsourcing_kafka.library import OperationalError, ProgrammingError
from eventsourcing_kafka.quiet import librdkafka_log
from eventsourcing_kafka.waits import StuckError, WaitGuard, end_poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eventsourcing_kafka.protocol import Headers
    from eventsourcing_kafka.settings import Settings

__all__ = ["Connections", "Lease", "close_producer", "ends", "new_client"]

CONSUMERS_MAX = 4
"""The most consumers that read single records at the same time for one process."""

_AGAIN_SECONDS = 0.02
_NO_LEADER = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # just created: not every broker knows it
}


def new_client(client_class: Any, options: dict[str, Any]) -> Any:
    """Return a client of librdkafka that logs to this package's logger. It connects in the background.

    Raises:
        ProgrammingError: the settings do not fit together, or name a file that cannot be read.
    """
    try:
        return client_class(options, logger=librdkafka_log)
    except (KafkaException, ValueError) as error:
        raise ProgrammingError(f"These settings cannot be used: {error}") from error


def ends(consumer: Any, partition: TopicPartition, seconds: float) -> tuple[int, int]:
    """Return the offset of the first record of a partition, and the one after its last. Waits while it has no leader.

    Raises:
        KafkaException: the broker does not answer in time, or refuses.
    """
    deadline = monotonic() + seconds
    while True:
        try:
            begin, end = consumer.get_watermark_offsets(partition, timeout=max(0.001, deadline - monotonic()))
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER or monotonic() > deadline:
                raise
            sleep(_AGAIN_SECONDS)
        else:
            return int(begin), int(end)


def close_producer(client: Any) -> None:
    """Disconnect without waiting: a record that is on its way may arrive or not."""
    client.purge()
    with suppress(KafkaException):  # it tells a fatal error of before once more
        client.poll(0)
    client.close()


def _close(consumer: Any, guard: WaitGuard) -> None:
    guard.close(consumer)


class Connections:
    """What the recorders of one process share if their connections have the same settings. Safe for threads."""

    _all: ClassVar[dict[object, Connections]] = {}
    _guard = RLock()  # `waits` says why no plain lock

    def __init__(self, key: object, settings: Settings) -> None:
        self._key = key
        self._settings = settings
        self.users = 0
        self._idle: list[tuple[Any, WaitGuard]] = []
        self._free = BoundedSemaphore(CONSUMERS_MAX)
        self._producer: _SharedProducer | None = None

    @classmethod
    def join(cls, settings: Settings) -> Connections:
        """Return the connections with these settings. Call ``leave`` once for each ``join``."""
        options = settings.rdkafka_fetcher() | settings.rdkafka_producer()
        key = (os.getpid(), *options.items())  # a forked process must make its own
        with cls._guard:
            found = cls._all.get(key) or cls._all.setdefault(key, cls(key, settings))
            found.users += 1
            return found

    def leave(self) -> None:
        """Say that one user less needs them. The last one disconnects."""
        with self._guard:
            self.users -= 1
            if self.users:
                return
            if self._all.get(self._key) is self:  # not if `join` was interrupted by the destructor that calls this
                del self._all[self._key]
            idle, self._idle = self._idle, []
        for consumer, guard in idle:
            _close(consumer, guard)

    @contextmanager
    def consumer(self) -> Iterator[tuple[Any, WaitGuard]]:
        """Lend a consumer that reads single records, with its guard. One that raised an error is not used again.

        Raises:
            OperationalError: all were lent for ``read_timeout`` seconds.
        """
        if not self._free.acquire(timeout=self._settings.read_timeout):
            raise OperationalError(f"No connection was free within {self._settings.read_timeout} s")
        try:
            consumer, guard = self._take()
            try:
                yield consumer, guard
            except StuckError:
                raise  # it is left behind, and closed later
            except BaseException:
                _close(consumer, guard)
                raise
            with self._guard:
                kept = self.users > 0
                if kept:
                    self._idle.append((consumer, guard))
            if not kept:
                _close(consumer, guard)
        finally:
            self._free.release()

    def _take(self) -> tuple[Any, WaitGuard]:
        while True:
            with self._guard:
                if not self._idle:
                    break
                consumer, guard = self._idle.pop()
            if not guard.stale:
                return consumer, guard
            _close(consumer, guard)
        consumer = new_client(confluent_kafka.Consumer, self._settings.rdkafka_fetcher())
        return consumer, WaitGuard(partial(end_poll, consumer))

    def producer(self) -> Lease:
        """Lend the producer, to several users at a time. After an error, those that come later get a new one."""
        with self._guard:
            producer = self._producer
            reused = producer is not None and not producer.retired
            if producer is None or not reused:
                producer = self._producer = _SharedProducer(self._settings)
            producer.users += 1
            return Lease(producer, reused=reused)

    @classmethod
    def give_back(cls, producer: _SharedProducer) -> None:
        """Close a producer that nobody uses any more."""
        with cls._guard:
            producer.users -= 1
            if producer.users:
                return
            producer.retired = True
        close_producer(producer.client)


def _begin_again() -> None:
    """Share nothing with the process that has forked; ``waits`` keeps its clients from being closed here."""
    Connections._all, Connections._guard = {}, RLock()  # noqa: SLF001  # the same module


os.register_at_fork(after_in_child=_begin_again)


class _SharedProducer:
    """A producer of librdkafka that several threads wait for. One of them polls for all of them."""

    def __init__(self, settings: Settings) -> None:
        # Each user has one record in flight, on a partition of its own. One must not wait for the others.
        self.client = new_client(confluent_kafka.Producer, settings.rdkafka_producer() | {"max.in.flight": 5})
        self.users = 0
        self.retired = False
        self._turn = Condition()
        self._polling = False

    def poll(self, seconds: float) -> None:
        """Wait until acknowledgements have come, for anybody; or for ``seconds``."""
        with self._turn:
            if self._polling:
                self._turn.wait(seconds)
                return
            self._polling = True
        try:
            self.client.poll(seconds)
        finally:
            with self._turn:
                self._polling = False
                self._turn.notify_all()  # theirs may have come, or one of them must poll now


class Lease:
    """A part in a shared producer, with the methods of librdkafka's own that ``Producer`` uses. For one thread at a time."""

    def __init__(self, shared: _SharedProducer, *, reused: bool) -> None:
        self._shared = shared
        self._in_flight = 0
        self.reused = reused
        """Whether others had this producer before: it may have lost its connections, or its place in the log, meanwhile."""

    def list_topics(self, topic: str, timeout: float) -> None:
        """Ask a broker for the topic."""
        self._shared.client.list_topics(topic, timeout=timeout)

    def produce(
        self,
        topic: str,
        value: bytes,
        *,
        partition: int,
        on_delivery: Callable[[Any, Any], None],
        headers: Headers | None = None,
    ) -> None:
        """Send a record. After an error the next lease begins with new connections."""

        def delivered(error: Any, message: Any) -> None:
            self._in_flight -= 1
            if error is not None:
                self.retire()
            on_delivery(error, message)

        self._in_flight += 1  # before it is sent: another thread may be told of it at once
        try:
            self._shared.client.produce(topic, value, partition=partition, on_delivery=delivered, headers=headers)
        except BaseException:
            self._in_flight -= 1
            raise

    def poll(self, seconds: float) -> None:
        """Wait until acknowledgements have come, for anybody; or for ``seconds``."""
        try:
            self._shared.poll(seconds)
        except KafkaException:  # fatal: this producer sends nothing any more
            self.retire()
            raise

    def purge(self) -> None:
        """Give up everybody's records in flight, in any thread: their outcome is in doubt."""
        self.retire()
        self._shared.client.purge()

    def retire(self) -> None:
        """See to it that nobody new gets this producer."""
        self._shared.retired = True

    def __len__(self) -> int:
        """Return the number of our records in flight."""
        return self._in_flight

    def close(self) -> None:
        """Give it back. Whoever leaves a record in flight does not trust these connections."""
        if self._in_flight:
            self.retire()
        Connections.give_back(self._shared)
