"""The ways of one process to the engines of several partitions over Kafka.

    with KafkaLanes(settings) as lanes:
        gateway = PartitionsGateway(lanes.all, share)

Each lane has a thread of its own and knows only its partition: which commands wait, and whether the engine is behind. All lanes
share one reader, which reads one partition of `replies`: theirs.
"""

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.outbox import Key
from consumers.kafka.receivers import ReplySource
from consumers.kafka.shared_replies import SharedReplies
from consumers.kafka.topics import ensure_topics
from domain.money import Time
from messages.commands import Command
from messages.replies import Reply

if TYPE_CHECKING:
    from settings import Settings


class KafkaLane(KafkaGateway):
    """A `KafkaGateway` to one of several partitions; see `consumers.partitions_gateway.Lane`."""

    def __init__(self, settings: "Settings", replies: SharedReplies, partition: int, **options: Any) -> None:
        """Commands go to this partition; `options` are those of `KafkaGateway`."""
        super().__init__(settings, partition=partition, **options)
        self._name = f"{replies.number}.{self._name}"
        self._key = self._name.encode()
        self._replies = replies

    def _open_replies(self) -> ReplySource:
        return self._replies.of(self._key, self._partition)

    async def submit(
        self,
        command_id: str,
        command: Command,
        at: Time | None = None,
        *,
        timeout_seconds: float | None = None,
        top_up: bool = False,
        then: bytes = b"",
    ) -> Reply:
        """Return the reply to the command; `top_up` and `then` are those of its envelope."""
        return await self._submit(self._encode(command_id, command, at, top_up=top_up, then=then), timeout_seconds)

    async def carried(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Return the reply to a command that a transfer carries there. If it is late, send the command."""
        key, value = self._encode(command_id, command, at, top_up=True)
        try:
            return await self._submit((key, value), None, carried=True)
        except asyncio.CancelledError:
            self._forget(key)
            raise

    def _forget(self, key: Key) -> None:
        """Wait no more for a command that nobody waits for: whoever submits it again must not join its retries."""
        with self._lock:
            pending = self._pending.get(key)
            if pending is not None and all(waiting.done() for (_, waiting), _ in pending.waiters):
                del self._pending[key]

    def envelope(self, command_id: str, command: Command, at: Time | None = None) -> bytes:
        """Return the JSON of the command for a transfer that carries it along: its reply comes to this lane."""
        return self._encode(command_id, command, at, top_up=True)[1]


class KafkaLanes:
    """All lanes of a process, one a partition."""

    def __init__(self, settings: "Settings", **options: Any) -> None:
        """Nothing is connected before the block. `options` are those of `KafkaGateway`, for each lane."""
        self._settings = settings
        self._replies = SharedReplies(settings)
        self.all = [
            KafkaLane(settings, self._replies, partition, **options) for partition in range(settings.partitions)
        ]
        """The lanes, by partition."""
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        """Connect. Raises as `KafkaGateway.start`."""
        ensure_topics(self._settings)
        with ExitStack() as stack:
            self._replies.start()
            stack.callback(self._replies.close)
            for lane in self.all:
                lane.start()
                stack.callback(lane.close)
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect. Callers that still wait get EngineStopped."""
        self._opened.close()
