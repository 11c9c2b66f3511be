"""The way to an engine over Kafka, for the HTTP processes. Services of others have `tidings_client.kafka`.

    with KafkaGateway(settings) as gateway:
        reply = gateway.submit_blocking("order:ac_1:7", PlaceOrder(...))     # or: await gateway.submit(...)

Commands that come together travel in one record. A batch always does, also when it is sent again: its commands are
decided one after the other, whatever is lost. The gateway recognises a reply by the id and the digest of its command.
It sends a command that has no reply after `retry_seconds` again with the same id, then after twice that time, and so on
until the deadline; that has no second effect.

No queue grows without end. The gateway refuses callers while `commands_max` commands wait, and while the engine is
behind: it has not read a command that was sent `behind_seconds` ago. While the engine does not reply at all, the
gateway sends one command at a time, to find out when it is back.
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

import structlog
from eventsourcing.persistence import OperationalError

from consumers.engine.command_source import Waiter, deliver
from consumers.errors import Busy, EngineStopped, GatewayError, ReplyTimeout
from consumers.gateway import gather_replies
from consumers.kafka.outbox import PACK_BYTES_MAX, PACK_COMMANDS_MAX, CommandTraces, Key, Pending, Unit, next_record
from consumers.kafka.receivers import ReplySource
from consumers.kafka.records import FROM_HTTP, Headers, RecordSender, reader_at_end
from consumers.kafka.topics import COMMANDS, REPLIES, ensure_topics, topic_name
from consumers.kafka.unreadable import UnreadableRecords
from domain.money import Time
from domain.orders import PlaceOrder
from messages.commands import Command, InvalidCommand, QuoteOrder, check_command, dump_record, dump_with_digest
from messages.replies import Reply, parse_replies

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()

BEHIND_SECONDS: Final = 3.0
"""The age of an unread command from which the engine counts as behind. A take-over takes less."""

LOOK_SECONDS: Final = 0.1
"""The time from one look at deadlines and retries to the next."""

IDLE_SECONDS: Final = 0.5
"""The same while no command waits for its reply."""


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
        http: bool = False,
        traces: CommandTraces | None = None,
    ) -> None:
        """Nothing is connected before `start`.

        Args:
            settings: where Kafka is.
            partition: the partition whose engine decides the commands.
            timeout_seconds: the longest wait for a reply; the settings' `reply_ms` by default.
            retry_seconds: the time after which a command is sent again.
            behind_seconds: callers are refused while the engine has not read a command that was sent this long ago.
            commands_max: the most commands that may wait for their reply; the settings' `queue_commands_max` by default.
            http: whether the commands come from the HTTP API of the exchange, and have its ids (messages/command_ids.py).
            traces: gives sampled commands their `traceparent`; none by default.
        """
        self._settings = settings
        self._topic = topic_name(settings, COMMANDS)
        self._replies_topic = topic_name(settings, REPLIES)
        self._partition = partition
        self._timeout_seconds = timeout_seconds if timeout_seconds is not None else settings.reply_ms / 1000
        self._retry_seconds = retry_seconds
        self._behind_seconds = behind_seconds
        self._headers = FROM_HTTP if http else None
        self._traces = traces
        self._commands_max = commands_max if commands_max is not None else settings.queue_commands_max
        self._name = uuid4().hex
        self._key = self._name.encode()
        self._quotes = (f"quote:{self._name}:{number}" for number in count())
        self._pending: dict[Key, Pending] = {}
        self._units: list[Unit] = []  # all that have a pending command, and some that have none any more
        self._outbox: deque[Unit] = deque()
        self._read_until = 0.0  # commands that were sent before this moment have been read
        self._given_up: float | None = None  # when the first command that was given up unread was sent
        self._behind = False
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None  # why the thread ended by itself
        self._unreadable = UnreadableRecords(self._replies_topic)
        self._sender: RecordSender | None = None
        self._reader: ReplySource | None = None

    @property
    def under_way(self) -> int:
        """The number of commands that have no reply yet."""
        return len(self._pending)

    def start(self) -> None:
        """Connect.

        Raises:
            OperationalError: no broker answers in time.
            UnsafeTopic: a topic could lose data.
        """
        ensure_topics(self._settings)
        try:
            # Without retries and with an early end: we send again ourselves, with the same id.
            self._sender = RecordSender(self._settings, retries=0, give_up_seconds=5.0)
            self._reader = self._open_replies()
        except BaseException:
            self.close()
            raise
        self._thread = threading.Thread(target=self._receive, name="gateway", daemon=True)
        self._thread.start()

    def _open_replies(self) -> ReplySource:
        return reader_at_end(self._settings, self._replies_topic, 0)

    def close(self) -> None:
        """Disconnect. Callers that still wait get EngineStopped."""
        self._stopping.set()
        if self._thread is not None:
            if self._reader is not None:
                self._reader.wake()
            self._thread.join()
        self._release("the gateway is closed")
        if self._sender is not None:
            self._sender.close()
        if self._reader is not None:
            self._reader.close()

    def problem(self) -> str | None:
        """Return why no reply can come any more, or None."""
        return None if self._error is None else f"the gateway stopped: {type(self._error).__name__}: {self._error}"

    def _release(self, why: str) -> None:
        """Tell all who wait that no reply comes."""
        with self._lock:
            waiting = [waiter for pending in self._pending.values() for waiter, _ in pending.waiters]
            self._pending.clear()
        deliver([(waiter, EngineStopped(why)) for waiter in waiting])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def submit(
        self, command_id: str, command: Command, at: Time | None = None, *, timeout_seconds: float | None = None
    ) -> Reply:
        """Return the reply to the command; see `Gateway.submit`. `timeout_seconds` overrides the gateway's."""
        return await self._submit(self._encode(command_id, command, at), timeout_seconds)

    async def _submit(
        self, encoded: tuple[Key, bytes], timeout_seconds: float | None, *, carried: bool = False
    ) -> Reply:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        if self._put([(*encoded, (loop, future))], timeout_seconds, carried=carried):
            loop.call_soon(self._flush)  # commands of the same turn of the loop share a record
        return await future

    async def submit_all(
        self, commands: Sequence[tuple[str, Command]], at: Time | None = None
    ) -> list[Reply | InvalidCommand | GatewayError]:
        """Return the reply to each command; see `Gateway.submit_all`. They travel in one record.

        Raises ValueError: one record does not hold them.
        """
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Reply]] = []
        batch: list[tuple[Key, bytes, Waiter]] = []
        for command_id, command in commands:
            reply = loop.create_future()
            replies.append(reply)
            try:
                batch.append((*self._encode(command_id, command, at), (loop, reply)))
            except InvalidCommand as error:
                reply.set_exception(error)
        if len(batch) > PACK_COMMANDS_MAX or sum(len(value) + 1 for _, value, _ in batch) > PACK_BYTES_MAX:
            raise ValueError("the commands of a batch must fit into one record")
        try:
            self._put(batch, None)
        except GatewayError as error:
            for _, _, (_, waiting) in batch:
                waiting.set_exception(error)
        self._flush()
        return await gather_replies(replies)

    async def quote(self, order: PlaceOrder, at: Time | None = None) -> Reply:
        """Return what the order would do now."""
        return await self.submit(next(self._quotes), QuoteOrder(order), at)

    def submit_blocking(
        self, command_id: str, command: Command, at: Time | None = None, *, timeout_seconds: float | None = None
    ) -> Reply:
        """Return the reply to the command, for threads without an event loop."""
        future: Future[Reply] = Future()
        self._put([(*self._encode(command_id, command, at), (None, future))], timeout_seconds)
        self._flush()
        return future.result()

    def _encode(
        self, command_id: str, command: Command, at: Time | None, *, top_up: bool = False, then: bytes = b""
    ) -> tuple[Key, bytes]:
        """Return the key and the JSON of a command. Raises InvalidCommand."""
        check_command(command_id, command)
        value, digest = dump_with_digest(command_id, command, at, self._name, top_up=top_up, then=then)
        if len(value) >= PACK_BYTES_MAX:
            raise InvalidCommand("data", f"must have less than {PACK_BYTES_MAX} bytes", maximum=PACK_BYTES_MAX)
        return (command_id, digest), value

    def _put(
        self, batch: Sequence[tuple[Key, bytes, Waiter]], timeout_seconds: float | None, *, carried: bool = False
    ) -> bool:
        """Queue the commands of a batch and their waiters; return whether the outbox was empty before.

        What is `carried` another way is sent only when it is late. Raises EngineStopped or Busy: none of them is queued.
        """
        now = monotonic()
        deadline = now + (self._timeout_seconds if timeout_seconds is None else timeout_seconds)
        with self._lock:
            if self._stopping.is_set():
                raise EngineStopped(self.problem() or "the gateway is closed")
            commands = self._pending
            new = len([None for key, _, _ in batch if key not in commands])
            if new:
                if len(commands) + new > self._commands_max:
                    raise Busy("too many commands wait for their replies")
                if commands and self._behind:
                    raise Busy("the engine is behind with its commands")
            for key, value, waiter in batch:
                pending = commands.get(key)
                if pending is None:
                    commands[key] = Pending(value, now, [(waiter, deadline)])
                else:
                    pending.waiters.append((waiter, deadline))
            if not new:
                return False
            pause = self._retry_seconds
            if len(commands) == new and min(pause, deadline - now) < IDLE_SECONDS and self._reader is not None:
                self._reader.wake()  # it looks around too late
            trace = None if carried or self._traces is None else self._traces.begin_send(self._topic, len(batch))
            unit = Unit([key for key, _, _ in batch], pause, now + pause, trace)
            self._units.append(unit)
            if carried:
                return False
            self._outbox.append(unit)
            return len(self._outbox) == 1

    def _flush(self) -> None:
        """Send the commands of the outbox, in as few records as hold them."""
        assert self._sender is not None, "start first"
        failed: list[Unit] = []
        with self._lock:
            while self._outbox:
                units, pack = next_record(self._outbox, self._pending)
                if not pack:
                    break
                try:
                    self._sender.send(
                        self._topic,
                        dump_record(pack),
                        partition=self._partition,
                        headers=self._headers_of(units),
                        delivered=partial(self._delivered, units),
                    )
                except OperationalError as error:
                    _log.warning("commands_not_sent", commands=len(pack), error=str(error))
                    failed += units
        if failed:
            self._not_sent(failed)

    def _headers_of(self, units: Sequence[Unit]) -> Headers | None:
        """Return the headers of a record: of a traced unit, which is alone in it or after units without commands."""
        trace = units[-1].trace
        return self._headers if trace is None else [*(self._headers or ()), *trace.headers]

    def _delivered(self, units: Sequence[Unit], error: Any, _: object) -> None:
        if (trace := units[-1].trace) is not None:
            trace.end(None if error is None else str(error))
        if error is not None:
            self._not_sent(units)

    def _not_sent(self, units: Sequence[Unit]) -> None:
        """Send these commands again soon: the topic does not have them."""
        with self._lock:
            for unit in units:
                unit.pause = self._retry_seconds
                unit.retry_at = monotonic() + unit.pause

    # --- the thread that receives

    def _receive(self) -> None:
        """Receive until the gateway is closed. An error of ours ends it, and everybody is told."""
        try:
            self._receive_replies()
        except Exception as error:  # noqa: BLE001  readiness and whoever runs the process are told
            self._error = error
            self._stopping.set()
            _log.exception("gateway_stopped")
            self._release(f"the gateway stopped: {error}")

    def _receive_replies(self) -> None:
        assert self._sender is not None, "start first"
        assert self._reader is not None, "start first"
        next_look = 0.0
        while not self._stopping.is_set():
            try:
                records = self._reader.take(1_000, LOOK_SECONDS if self._pending else IDLE_SECONDS)
            except OperationalError as error:
                _log.warning("replies_unreadable", error=str(error))
                self._stopping.wait(LOOK_SECONDS)
                records = ()
            for record in records:
                key = record.key()
                if key is None or key == self._key:
                    try:
                        replies = parse_replies(record.value() or b"")
                    except ValueError as error:
                        self._unreadable.note(record, error)
                    else:
                        self._deliver(replies)
            self._sender.report()
            now = monotonic()
            if now >= next_look:
                self._look(now)
                next_look = now + LOOK_SECONDS

    def _deliver(self, replies: Sequence[Reply]) -> None:
        delivered: list[tuple[Waiter, Reply | Exception]] = []
        with self._lock:
            for reply in replies:
                found = self._pending.pop((reply.command_id, reply.digest), None)
                if found is not None:
                    delivered += [(waiter, reply) for waiter, _ in found.waiters]
                    self._read_until = max(self._read_until, found.sent_at)
            if self._behind and delivered:
                self._behind = self._is_behind(monotonic())
        deliver(delivered)

    def _look(self, now: float) -> None:
        """Send late commands again, give up those past their deadline, and see whether the engine is behind."""
        late: list[tuple[Waiter, Reply | Exception]] = []
        with self._lock:
            for key, pending in list(self._pending.items()):
                left = [(waiter, deadline) for waiter, deadline in pending.waiters if now < deadline]
                if len(left) < len(pending.waiters):
                    error = ReplyTimeout(f"no reply to {key[0]} in time; sending it again with the same id is harmless")
                    late += [(waiter, error) for waiter, deadline in pending.waiters if now >= deadline]
                    pending.waiters = left
                if not left:
                    del self._pending[key]
                    if self._given_up is None:
                        self._given_up = pending.sent_at
            self._units = [unit for unit in self._units if any(key in self._pending for key in unit.keys)]
            for unit in self._units:
                if now >= unit.retry_at:
                    unit.pause *= 2
                    unit.retry_at = now + unit.pause
                    self._outbox.append(unit)
            self._behind = self._is_behind(now)
            has_more = bool(self._outbox)
        deliver(late)
        if has_more:
            self._flush()

    def _is_behind(self, now: float) -> bool:
        """Return whether a command that was sent long ago has not been read."""
        read = self._read_until  # commands are read in order: earlier ones lack only their reply
        if self._given_up is not None and self._given_up <= read:
            self._given_up = None
        unread = [pending.sent_at for pending in self._pending.values() if pending.sent_at > read]
        if self._given_up is not None:
            unread.append(self._given_up)
        return bool(unread) and now - min(unread) > self._behind_seconds
