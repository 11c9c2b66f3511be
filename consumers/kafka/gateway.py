"""The way to an engine over Kafka: for the HTTP processes, and the client of other services written in Python.

    with KafkaGateway(settings) as gateway:
        reply = gateway.submit_blocking("order:ac_1:7", PlaceOrder(...))     # or: await gateway.submit(...)

Commands that come together travel in one record. A reply is recognised by its command's id. What has no reply after
`retry_seconds` is sent again with the same id, then after twice that time, and so on until the deadline: that has no
second effect.

Nothing queues without end: callers are refused when `commands_max` wait, and when the engine is so far behind that what
was sent `behind_seconds` ago is not read yet. Where it does not answer at all, one command at a time goes to find out
when it is back.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import uuid4

import msgspec
import structlog
from eventsourcing.persistence import OperationalError

from consumers.engine.command_source import Waiter, deliver
from consumers.errors import Busy, EngineStopped, GatewayError, ReplyTimeout
from consumers.gateway import gather_replies
from consumers.kafka.records import RecordReader, RecordSender
from consumers.kafka.topics import COMMANDS, RECORD_BYTES_MAX, REPLIES, ensure_topics, topic_name
from domain.money import Time
from domain.orders import PlaceOrder
from messages.commands import (
    Command,
    InvalidCommand,
    QuoteOrder,
    check_command,
    dump_record,
    dump_with_digest,
)
from messages.replies import Reply, parse_replies

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()

BEHIND_SECONDS: Final = 3.0
"""An engine that has not read what was sent so long ago is behind. A take-over takes less."""

LOOK_SECONDS: Final = 0.1
"""How often deadlines and retries are looked at."""

PACK_COMMANDS_MAX: Final = 500
PACK_BYTES_MAX: Final = RECORD_BYTES_MAX - 64 * 1024


class _Pending(msgspec.Struct):
    """A command that has no reply yet."""

    value: bytes
    digest: str
    since: float
    waiters: list[tuple[Waiter, float]]
    """Who waits, and until when."""
    pause: float
    again_at: float


class KafkaGateway:
    """Sends commands and awaits their replies. May be used from any thread and any event loop."""

    def __init__(
        self,
        settings: "Settings",
        *,
        partition: int = 0,
        timeout_seconds: float | None = None,
        retry_seconds: float = 1.0,
        behind_seconds: float = BEHIND_SECONDS,
        commands_max: int | None = None,
        check_topics: bool = True,
    ) -> None:
        """Nothing is connected before `start`.

        Args:
            settings: where Kafka is.
            partition: the partition whose engine decides the commands.
            timeout_seconds: after this an outcome is unknown; the settings' `reply_ms` by default.
            retry_seconds: after this a command is sent again.
            behind_seconds: callers are refused while what was sent so long ago has not been read.
            commands_max: how many may wait for their reply; the settings' `queue_commands_max` by default.
            check_topics: whether to make and check the topics at the start, for which Kafka must grant the right.
        """
        self._settings = settings
        self._topic = topic_name(settings, COMMANDS)
        self._replies = topic_name(settings, REPLIES)
        self._partition = partition
        self._timeout_seconds = timeout_seconds if timeout_seconds is not None else settings.reply_ms / 1000
        self._retry_seconds = retry_seconds
        self._behind_seconds = behind_seconds
        self._check_topics = check_topics
        self._commands_max = commands_max if commands_max is not None else settings.queue_commands_max
        self._name = uuid4().hex
        self._key = self._name.encode()
        self._quotes = (f"quote:{self._name}:{number}" for number in count())
        self._pending: dict[str, _Pending] = {}
        self._outbox: deque[str] = deque()
        self._read_until = 0.0  # what was sent before this moment has been read
        self._given_up: float | None = None  # when the first was sent that was given up unread
        self._behind = False
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sender: RecordSender | None = None
        self._reader: RecordReader | None = None

    def start(self) -> None:
        """Connect.

        Raises:
            OperationalError: no broker answers in time.
            UnsafeTopic: a topic could lose data.
        """
        if self._check_topics:
            ensure_topics(self._settings)
        try:
            # Once, and given up soon: we send again ourselves, under the same id.
            self._sender = RecordSender(self._settings, retries=0, give_up_seconds=5.0)
            self._reader = RecordReader(self._settings, self._replies, 0, may_skip=True)
            self._reader.seek_to_end()
        except BaseException:
            self.close()
            raise
        self._thread = threading.Thread(target=self._receive, name="gateway", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go whoever waits, and disconnect."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            waiting = [waiter for pending in self._pending.values() for waiter, _ in pending.waiters]
            self._pending.clear()
        deliver([(waiter, EngineStopped("the gateway is closed")) for waiter in waiting])
        if self._sender is not None:
            self._sender.close()
        if self._reader is not None:
            self._reader.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def submit(
        self, command_id: str, command: Command, at: Time | None = None, *, timeout_seconds: float | None = None
    ) -> Reply:
        """Return the outcome of the command; see `Gateway.submit`. `timeout_seconds` overrides the gateway's."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        if self._put(command_id, command, at, (loop, future), timeout_seconds):
            loop.call_soon(self._flush)  # what else is submitted in this turn of the loop goes along
        return await future

    async def submit_all(
        self, commands: Sequence[tuple[str, Command]], at: Time | None = None
    ) -> list[Reply | InvalidCommand | GatewayError]:
        """Return the outcome of each command; they go in one record if it holds them."""
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Reply]] = []
        for command_id, command in commands:
            reply = loop.create_future()
            try:
                self._put(command_id, command, at, (loop, reply), None)
            except (InvalidCommand, GatewayError) as error:
                reply.set_exception(error)
            replies.append(reply)
        self._flush()
        return await gather_replies(replies)

    async def quote(self, order: PlaceOrder, at: Time | None = None) -> Reply:
        """Return what the order would do now."""
        return await self.submit(next(self._quotes), QuoteOrder(order), at)

    def submit_blocking(
        self, command_id: str, command: Command, at: Time | None = None, *, timeout_seconds: float | None = None
    ) -> Reply:
        """Return the outcome of the command, for threads without an event loop."""
        future: Future[Reply] = Future()
        self._put(command_id, command, at, (None, future), timeout_seconds)
        self._flush()
        return future.result()

    def _put(
        self, command_id: str, command: Command, at: Time | None, waiter: Waiter, timeout_seconds: float | None
    ) -> bool:
        """Note who waits; return whether the outbox was empty before."""
        check_command(command_id, command)
        value, digest = dump_with_digest(command_id, command, at, self._name)
        if len(value) >= PACK_BYTES_MAX:
            raise InvalidCommand("data", f"must have less than {PACK_BYTES_MAX} bytes", maximum=PACK_BYTES_MAX)
        now = monotonic()
        deadline = now + (self._timeout_seconds if timeout_seconds is None else timeout_seconds)
        with self._lock:
            if self._stopping.is_set():
                raise EngineStopped("the gateway is closed")
            pending = self._pending.get(command_id)
            if pending is not None and pending.digest == digest:
                pending.waiters.append((waiter, deadline))
                return False
            if pending is not None:
                raise Busy("another command with this id waits for its outcome")
            if len(self._pending) >= self._commands_max:
                raise Busy("too many commands wait for their outcome")
            if self._behind and self._pending:
                raise Busy("the engine is behind with its commands")
            pause = self._retry_seconds
            self._pending[command_id] = _Pending(value, digest, now, [(waiter, deadline)], pause, now + pause)
            self._outbox.append(command_id)
            return len(self._outbox) == 1

    def _flush(self) -> None:
        """Send all that is in the outbox, in as few records as hold it."""
        assert self._sender is not None, "start first"
        failed: list[str] = []
        with self._lock:
            while self._outbox:
                ids, pack = self._pack()
                if not pack:
                    break
                try:
                    self._sender.send(
                        self._topic,
                        dump_record(pack),
                        partition=self._partition,
                        delivered=partial(self._delivered, ids),
                    )
                except OperationalError as error:
                    _log.warning("commands not sent", commands=len(pack), error=str(error))
                    failed += ids
        if failed:
            self._not_sent(failed)

    def _pack(self) -> tuple[list[str], list[bytes]]:
        """Take from the outbox what one record can hold."""
        ids: list[str] = []
        pack: list[bytes] = []
        size = 0
        while self._outbox and len(pack) < PACK_COMMANDS_MAX:
            pending = self._pending.get(self._outbox[0])
            if pending is not None:  # it may have its outcome by now
                size += len(pending.value) + 1
                if pack and size > PACK_BYTES_MAX:
                    break
                ids.append(self._outbox[0])
                pack.append(pending.value)
            self._outbox.popleft()
        return ids, pack

    def _delivered(self, ids: Sequence[str], error: Any, _: object) -> None:
        if error is not None:
            self._not_sent(ids)

    def _not_sent(self, ids: Sequence[str]) -> None:
        """Send these again soon: the topic does not have them."""
        with self._lock:
            for command_id in ids:
                pending = self._pending.get(command_id)
                if pending is not None:
                    pending.pause = self._retry_seconds
                    pending.again_at = monotonic() + pending.pause

    # --- the thread that receives

    def _receive(self) -> None:
        assert self._sender is not None, "start first"
        assert self._reader is not None, "start first"
        look_at = 0.0
        while not self._stopping.is_set():
            try:
                records = self._reader.take(1_000, LOOK_SECONDS)
            except OperationalError as error:
                _log.warning("replies cannot be read", error=str(error))
                self._stopping.wait(LOOK_SECONDS)
                records = ()
            for record in records:
                key = record.key()
                if key is None or key == self._key:
                    self._deliver(record.value() or b"[]")
            self._sender.report()
            now = monotonic()
            if now >= look_at:
                self._look(now)
                look_at = now + LOOK_SECONDS

    def _deliver(self, value: bytes) -> None:
        outcomes: list[tuple[Waiter, Reply | Exception]] = []
        replies = parse_replies(value)
        with self._lock:
            for reply in replies:
                found = self._pending.get(reply.command_id)
                if found is not None and found.digest == reply.digest:
                    del self._pending[reply.command_id]
                    outcomes += [(waiter, reply) for waiter, _ in found.waiters]
                    self._read_until = max(self._read_until, found.since)
            if self._behind and outcomes:
                self._behind = self._is_behind(monotonic())
        deliver(outcomes)

    def _look(self, now: float) -> None:
        """Send again what has waited too long, give up what is past its deadline, see how far the engine is behind."""
        late: list[tuple[Waiter, Reply | Exception]] = []
        with self._lock:
            for command_id, pending in list(self._pending.items()):
                left = [(waiter, deadline) for waiter, deadline in pending.waiters if now < deadline]
                if len(left) < len(pending.waiters):
                    error = ReplyTimeout(f"no outcome of {command_id} in time; the same id asks for it again")
                    late += [(waiter, error) for waiter, deadline in pending.waiters if now >= deadline]
                    pending.waiters = left
                if not left:
                    del self._pending[command_id]
                    if self._given_up is None:
                        self._given_up = pending.since
                elif now >= pending.again_at:
                    pending.pause *= 2
                    pending.again_at = now + pending.pause
                    self._outbox.append(command_id)
            self._behind = self._is_behind(now)
            again = bool(self._outbox)
        deliver(late)
        if again:
            self._flush()

    def _is_behind(self, now: float) -> bool:
        """Return whether something that was sent long ago has not been read."""
        read = self._read_until  # commands are read in order: what was sent before only lacks its reply
        if self._given_up is not None and self._given_up <= read:
            self._given_up = None
        unread = [pending.since for pending in self._pending.values() if pending.since > read]
        if self._given_up is not None:
            unread.append(self._given_up)
        return bool(unread) and now - min(unread) > self._behind_seconds
