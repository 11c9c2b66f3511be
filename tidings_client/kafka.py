"""Trading over Kafka, without HTTP: a command is a record, and has one reply. Needs `tidings-client[kafka]`.

    from tidings_client.kafka import KafkaClient

    with KafkaClient({"bootstrap.servers": "kafka:9092"}) as client:
        reply = client.submit("DepositCash", {"account_id": "ac_1f0c", "amount": "10"}, "payroll:10:ac_1f0c")
        reply = await client.submit_async("PlaceOrder", {"account_id": "ac_1f0c", "client_order_id": "7", ...})

The sender chooses the id of each command. Whoever does not know what became of a command, even after a restart, sends it
again with the same id and the same fields, and gets the reply. The client does so by itself until its deadline. With
`key_id` and `secret` it signs its commands: so a trading service trades for its own account, and can do nothing else.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tidings_client.call import new_id, plain
from tidings_client.errors import TidingsError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS: Final = 60.0
"""The time that `submit` tries by default."""

CONNECT_SECONDS: Final = 10.0
"""The longest wait for a broker's first answer."""

RETRY_SECONDS: Final = 1.0
"""The time after which a command without a reply is sent again; it doubles from then on."""

RETRY_SECONDS_MAX: Final = 15.0
"""The longest time from one attempt to the next."""

LOOK_SECONDS: Final = 0.1
"""The time from one look at deadlines to the next."""

COMMANDS: Final = frozenset(
    {
        "AcceptInvitation",
        "ActivateMarket",
        "AddLiquidity",
        "AdvanceTime",
        "AmendOrder",
        "AssignPartition",
        "CancelOrder",
        "CancelOrders",
        "ClarifyMarket",
        "CloseMarket",
        "CorrectMarket",
        "CreateInvitation",
        "DepositCash",
        "DetermineMarket",
        "DisputeMarket",
        "FinalizeMarket",
        "HaltMarket",
        "MergeSets",
        "OpenAccount",
        "OpenMarket",
        "PlaceOrder",
        "PublishStory",
        "QuoteOrder",
        "ResumeMarket",
        "RevokeInvitation",
        "SplitSets",
        "TransferFunds",
        "UpholdMarket",
        "VoidMarket",
        "WithdrawCash",
    }
)
"""The types of commands; docs/schemas/commands has the fields of each."""

SIGNED: Final = frozenset({"PlaceOrder", "CancelOrder", "CancelOrders", "AmendOrder"})
"""The types of commands that a trading service may sign."""

_log: Final = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())

_STAMPED: Final = re.compile(r"(?:st|mk|ac|or)([0-9]{0,4})_")
"""The beginning of ids, with the number of the partition where a thing lives."""

_ANY_PARTITION: Final = -1  # librdkafka's value for: whichever


class CommandReply(msgspec.Struct, frozen=True):
    """The reply to a command. `code` says why it was refused, and is None when it was accepted.

    `position` is that of the command's last event in the log. `result` and `details` have amounts and times as text.
    """

    command_id: str
    position: int
    time: datetime
    code: str | None = None
    message: str = ""
    details: dict[str, Any] = {}
    result: dict[str, Any] = {}


class NoReplyError(TidingsError):
    """No reply came in time. The command may be done or not: the same call finds out, and has no second effect."""


def sign(value: bytes, key_id: str, secret: str, time: datetime) -> list[tuple[str, bytes]]:
    """Return the headers that sign a record for the topic `orders`: with an API key of the account, at this time."""
    moment = plain(time)
    text = f"{key_id}\n{moment}\n".encode() + value
    signature = hmac.new(sha256(secret.encode()).digest(), text, sha256).hexdigest()
    return [("key-id", key_id.encode()), ("time", moment.encode()), ("signature", signature.encode())]


def partition_of(fields: Mapping[str, Any]) -> int:
    """Return the partition that decides a command with these fields: that of its story, market or order, else of its account.

    `mk3_...` is in partition 3; `mk_...`, and what names nothing, in partition 0.
    """
    fields = fields.get("order") or fields
    names = (fields.get(name) for name in ("story_id", "market_id", "order_id", "account_id"))
    stamped = next((_STAMPED.match(name) for name in names if isinstance(name, str) and name), None)
    return int(stamped[1] or 0) if stamped else 0


@dataclass(slots=True)
class _Waiting:
    """A command without a reply: who waits for it and until when, and when it is sent again."""

    value: bytes
    partition: int
    waiters: list[tuple[Future[CommandReply], float]] = field(default_factory=list)
    pause: float = RETRY_SECONDS
    retry_at: float = 0.0
    problem: str = "the engine has not replied"


_replies: Final = msgspec.json.Decoder(list[CommandReply])


class KafkaClient:
    """A connection to the engine, for any number of threads and event loops. A context manager.

    It needs the rights to write the topic `commands`, or `orders` with a key, and to read the topic `replies`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        topic_prefix: str = "tidings.",
        key_id: str | None = None,
        secret: str | None = None,
    ) -> None:
        """Prepare a client; nothing is connected yet.

        Args:
            config: where Kafka is and how to log in, in the words of librdkafka (`bootstrap.servers`, `sasl.username`).
            topic_prefix: the beginning of the names of all topics of the exchange.
            key_id: the id of a trader's API key; with it, commands are signed and may be about the key's account only.
            secret: the key itself.

        Raises:
            ValueError: of `key_id` and `secret` there is only one.
        """
        if (key_id is None) != (secret is None):
            raise ValueError("to sign, both key_id and secret are needed")
        self._config = {"group.id": "tidings", **config, "error_cb": self._note}
        self._key = None if key_id is None or secret is None else (key_id, secret)
        self._topic = topic_prefix + ("commands" if self._key is None else "orders")
        self._replies_topic = f"{topic_prefix}replies"
        self._name = new_id()
        self._waiting: dict[str, _Waiting] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        self._trouble = "no broker answers"
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Connect. Raises UnreachableError: no broker answers in time, or it refuses."""
        options = {key: value for key, value in self._config.items() if key != "group.id"}
        self._producer = Producer(options | _WRITING, logger=_log)
        self._consumer = Consumer(self._config | _READING, logger=_log)
        try:
            self._seek_to_end()
        except KafkaException as error:
            self._consumer.close()
            raise UnreachableError(f"{self._replies_topic} cannot be read: {error.args[0]}; {self._trouble}") from error
        self._closed.clear()
        self._thread = threading.Thread(target=self._run, name="tidings kafka client", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect. Callers that still wait get NoReplyError."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self._producer.flush(1)
        self._consumer.close()

    def submit(
        self,
        command_type: str,
        data: Mapping[str, Any],
        command_id: str | None = None,
        *,
        at: datetime | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> CommandReply:
        """Return the reply to a command; a refusal is a reply too, with a `code`.

        Args:
            command_type: for example `PlaceOrder`; docs/schemas/commands has all of them.
            data: the command's fields, as the schema says; amounts as Decimal or text.
            command_id: makes a repetition harmless. Leave it out for an order, whose id follows from its account and
                `client_order_id`.
            at: the sender's time; only where the engine takes its time from the commands.
            timeout_seconds: the time that it tries: the engine may be down, behind, or in the middle of a take-over.

        Raises:
            ValueError: the type is none, the id is missing or not the sender's; the command was not sent.
            NoReplyError: there is no reply by the deadline. The same call gets the reply later.
        """
        return self._put(command_type, data, command_id, at, timeout_seconds).result()

    async def submit_async(
        self,
        command_type: str,
        data: Mapping[str, Any],
        command_id: str | None = None,
        *,
        at: datetime | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> CommandReply:
        """Submit without blocking the event loop. Takes, returns and raises as `submit`."""
        return await asyncio.wrap_future(self._put(command_type, data, command_id, at, timeout_seconds))

    def _put(
        self,
        command_type: str,
        data: Mapping[str, Any],
        command_id: str | None,
        at: datetime | None,
        timeout_seconds: float,
    ) -> Future[CommandReply]:
        """Send a command, unless the same one waits already; return the future of its reply."""
        fields = plain(data)
        command_id = _id_of(command_type, fields, command_id, is_signed=self._key is not None)
        command = {"command_id": command_id, "type": command_type, "reply_to": self._name, "data": fields}
        value = msgspec.json.encode(command if at is None else command | {"at": plain(at)})
        future: Future[CommandReply] = Future()
        with self._lock:
            if self._closed.is_set():
                raise NoReplyError("the client is closed")
            partition = partition_of(fields) if self._key is None else _ANY_PARTITION
            waiting = self._waiting.setdefault(command_id, _Waiting(value, partition))
            if waiting.value != value:
                raise ValueError(f"command_id {command_id} is that of another command, which still waits for its reply")
            waiting.waiters.append((future, monotonic() + timeout_seconds))
            if not waiting.retry_at:
                self._send(waiting)
        return future

    def _send(self, waiting: _Waiting) -> None:
        """Hand a record to the producer, and note when to do so again."""
        waiting.retry_at, waiting.pause = monotonic() + waiting.pause, min(2 * waiting.pause, RETRY_SECONDS_MAX)
        headers = None if self._key is None else sign(waiting.value, *self._key, datetime.now(UTC))
        delivered = partial(self._delivered, waiting)
        try:
            record = self._topic, waiting.value, None, waiting.partition
            self._producer.produce(*record, on_delivery=delivered, headers=headers)  # type: ignore[arg-type]
        except BufferError:
            waiting.problem = "too many records wait for the broker"
        except KafkaException as error:
            waiting.problem = f"the record was not sent: {error.args[0]}"
            if waiting.partition > 0 and error.args[0].code() == KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001  so it is documented
                waiting.partition, waiting.retry_at = 0, 0.0  # it answers that nothing has such an id

    def _delivered(self, waiting: _Waiting, error: Any, _: object) -> None:
        """Note why the broker does not have a record: it is sent again in time."""
        if error is not None:
            waiting.problem = f"the record was not sent: {error}"

    def _note(self, error: Any) -> None:
        """Note what librdkafka says of the connection."""
        self._trouble = str(error)

    def _seek_to_end(self) -> None:
        """Read every partition of the replies from its end on."""
        found = self._consumer.list_topics(self._replies_topic, timeout=CONNECT_SECONDS).topics[self._replies_topic]
        if found.error is not None:
            raise KafkaException(found.error)
        parts = [TopicPartition(self._replies_topic, partition) for partition in found.partitions]
        for part in parts:
            _, part.offset = self._consumer.get_watermark_offsets(part, timeout=CONNECT_SECONDS)
        self._consumer.assign(parts)

    # --- the thread that receives

    def _run(self) -> None:
        """Receive until the client is closed; then nobody waits any more, whatever the reason."""
        try:
            while not self._closed.is_set():
                first = self._consumer.poll(LOOK_SECONDS)
                for message in () if first is None else (first, *self._consumer.consume(1_000, 0)):
                    self._take(message)
                self._producer.poll(0)
                self._look(monotonic())
        finally:
            self._closed.set()
            with self._lock:
                waiters = [waiter for waiting in self._waiting.values() for waiter, _ in waiting.waiters]
                self._waiting.clear()
            for waiter in waiters:
                _end(waiter, NoReplyError("the client is closed; the same command sent again gets its reply"))

    def _take(self, message: Any) -> None:
        """Hand over the replies of a record; one that is none, whoever wrote it, ends nothing."""
        if message.error() is not None:
            self._note(message.error())
            return
        if message.key() not in {None, self._name.encode()}:
            return
        try:
            replies = _replies.decode(message.value() or b"")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("a record of %s has no replies: %s", self._replies_topic, error)
            return
        for reply in replies:
            with self._lock:
                found = self._waiting.pop(reply.command_id, None)
            for waiter, _ in found.waiters if found is not None else ():
                _end(waiter, reply)

    def _look(self, now: float) -> None:
        """Give up what is past its deadline, and send again what has no reply for long."""
        late: list[tuple[Future[CommandReply], str]] = []
        with self._lock:
            for command_id, waiting in list(self._waiting.items()):
                late += [
                    (waiter, f"no reply to {command_id} in time: {waiting.problem}")
                    for waiter, deadline in waiting.waiters
                    if now >= deadline
                ]
                waiting.waiters = [each for each in waiting.waiters if now < each[1]]
                if not waiting.waiters:
                    del self._waiting[command_id]
                elif now >= waiting.retry_at:
                    self._send(waiting)
        for waiter, why in late:
            _end(waiter, NoReplyError(f"{why}; the same command sent again gets its reply"))


_FRESH: Final = {"topic.metadata.refresh.interval.ms": 10_000}  # it soon knows the partitions of a topic that has grown
_WRITING: Final = {"acks": "all", "enable.idempotence": True, "message.timeout.ms": 5_000, "linger.ms": 1} | _FRESH
_READING: Final = {"enable.auto.commit": False, "auto.offset.reset": "latest", "allow.auto.create.topics": False}


def _end(waiter: Future[CommandReply], came: CommandReply | NoReplyError) -> None:
    """Tell a caller what came, unless it has gone."""
    if not waiter.set_running_or_notify_cancel():
        return
    if isinstance(came, CommandReply):
        waiter.set_result(came)
    else:
        waiter.set_exception(came)


def _id_of(command_type: str, data: Mapping[str, Any], command_id: str | None, *, is_signed: bool) -> str:
    """Return the id of a command. Raises ValueError for what would get no reply: its record would be a dead letter."""
    if command_type not in (SIGNED if is_signed else COMMANDS):
        raise ValueError(f"{command_type} is not the name of a command" + (" that can be signed" if is_signed else ""))
    account_id = data.get("account_id")
    if command_type == "PlaceOrder":
        own = f"order:{account_id}:{data.get('client_order_id')}"
        command_id = own if command_id is None else command_id
        if is_signed and command_id != own:
            raise ValueError(f"the command_id of this order is {own}")
    elif command_id is None:
        raise ValueError("command_id is missing: choose one that stays the same when this is sent again")
    elif is_signed and not command_id.startswith(f"{account_id}:orders:"):
        raise ValueError(f"command_id must begin with {account_id}:orders:")
    if not 1 <= len(command_id) <= 200:
        raise ValueError("command_id has more than 200 characters, or none")
    return command_id
