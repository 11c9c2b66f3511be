"""Commands from Kafka: the engine's partition of the `commands` topic; replies and dead letters go to theirs."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import Message
from eventsourcing.persistence import OperationalError
from kafka.errors import KafkaError

from consumers.engine.command_source import Answer, Work
from consumers.engine.log import InDoubt
from consumers.kafka.records import RecordReader, RecordSender, offset_of
from consumers.kafka.topics import COMMANDS, DEAD_LETTERS, RECORD_BYTES_MAX, REPLIES, ensure_topics_once, topic_name
from domain.account import OpenAccount
from domain.market import OpenMarket
from domain.story import PublishStory
from messages.commands import (
    Command,
    InvalidCommand,
    QuoteOrder,
    Submitted,
    UnreadableError,
    parse_record,
    record_parts,
)
from messages.dead_letters import DeadLetter, dump_letter, make_letter
from messages.replies import Reply, dump_replies, dump_reply

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()

PARK_SECONDS: Final = 10.0
REPLY_BYTES_MAX: Final = RECORD_BYTES_MAX - 64 * 1024


class KafkaSource:
    """One partition of the `commands` topic. Connects at the first rewind."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._topic = topic_name(settings, COMMANDS)
        self._replies = topic_name(settings, REPLIES)
        self._dead_letters = topic_name(settings, DEAD_LETTERS)
        self._reader: RecordReader | None = None
        self._sender: RecordSender | None = None
        self._fetched: deque[Message] = deque()
        self._taken: list[tuple[Message, Work]] = []

    @property
    def name(self) -> str:
        """The name under which the log says how far this source is read."""
        return f"{self._topic}-{self._settings.partition}"

    def rewind(self, following: int | None) -> int:
        """Go on at this offset, at the topic's beginning where the log names none. Raises InDoubt: no broker."""
        self._fetched.clear()
        self.connect()
        reader = self._reading()
        try:
            first, end = reader.ends()
        except OperationalError as error:
            self._disconnect()
            raise InDoubt(str(error)) from error
        wanted = first if following is None else following
        if not first <= wanted <= end:
            # Deleted unread, or the topic was made anew. Nothing of it can be had back: say so, and take what comes.
            _log.error("commands are missing", source=self.name, expected=wanted, first=first, end=end)
            wanted = min(max(wanted, first), end)
        reader.seek(wanted)
        return wanted

    def connect(self) -> None:
        """Connect, unless that is done: a standby does so ahead, because it takes a moment. Raises InDoubt: no broker."""
        if self._reader is not None:
            return
        try:
            ensure_topics_once(self._settings)
            self._sender = RecordSender(self._settings)
            self._reader = RecordReader(self._settings, self._topic, self._settings.partition)
            self._reader.ends()
        except (KafkaError, OperationalError) as error:
            self._disconnect()
            raise InDoubt(f"the commands cannot be read: {type(error).__name__}: {error}") from error

    def take(self, limit: int, timeout_seconds: float) -> Sequence[Work]:
        """Return the commands of the next records. Raises InDoubt when they cannot be had."""
        if not self._fetched:
            try:
                self._fetched.extend(self._reading().take(limit, timeout_seconds))
            except OperationalError as error:
                self._disconnect()
                raise InDoubt(str(error)) from error
        self._taken.clear()
        while self._fetched and limit > 0:
            record = self._fetched.popleft()
            work = self._understood(record)
            self._taken.append((record, work))
            limit -= len(work.commands)
        return [work for _, work in self._taken]

    def answer(self, answers: Sequence[Answer]) -> None:
        """Produce the replies, packed for each receiver. A reply that is lost is asked for again by its sender."""
        by_receiver: dict[str | None, list[bytes]] = {}
        for submitted, reply in answers:
            by_receiver.setdefault(submitted.reply_to, []).append(dump_reply(reply))
        for receiver, replies in by_receiver.items():
            self._produce(receiver, replies)
        self._sending().report()

    def announce(self, replies: Sequence[Reply]) -> None:
        """Produce the replies for whoever waits."""
        self._produce(None, [dump_reply(reply) for reply in replies])

    def park(self, command: Submitted, reason: str) -> None:
        """Put a command of those last taken into the dead letters."""
        for record, work in self._taken:
            if any(taken is command for taken in work.commands):
                value = record.value() or b""
                places = [i for i, item in enumerate(parse_record(value)) if isinstance(item, Submitted)]
                index = places[next(i for i, taken in enumerate(work.commands) if taken is command)]
                self._bury([self._letter(reason, record, index, record_parts(value)[index])])
                return
        raise LookupError(f"{command.command_id} is none of the commands last taken")

    def wake(self) -> None:
        """The engine looks around by itself at least once a second."""

    def close(self, error: BaseException | None) -> None:  # noqa: ARG002  senders elsewhere see no reply
        """Let the clients go; replies that are on their way get a moment."""
        self._disconnect()

    def _reading(self) -> RecordReader:
        assert self._reader is not None, "rewind first"
        return self._reader

    def _sending(self) -> RecordSender:
        assert self._sender is not None, "rewind first"
        return self._sender

    def _disconnect(self) -> None:
        reader, sender, self._reader, self._sender = self._reader, self._sender, None, None
        if reader is not None:
            reader.close()
        if sender is not None:
            sender.close()

    def _understood(self, record: Message) -> Work:
        """Return a record's commands; what is none goes to the dead letters first."""
        value = record.value() or b""
        letters: list[DeadLetter] = []
        commands: list[Submitted] = []
        try:
            parsed = _parsed(value)
            commands = [item for item in parsed if isinstance(item, Submitted)]
            if (key := record.key()) is not None:
                _check_key(key, commands)
            if len(commands) < len(parsed):
                letters = [
                    self._letter(str(item), record, index, part)
                    for index, (item, part) in enumerate(zip(parsed, record_parts(value), strict=True))
                    if isinstance(item, UnreadableError)
                ]
        except UnreadableError as error:
            commands = []
            letters = [self._letter(str(error), record, None, value)]
        self._bury(letters)
        return Work(commands, offset_of(record) + 1, bool(letters))

    def _letter(self, reason: str, record: Message, index: int | None, value: bytes) -> DeadLetter:
        return make_letter(
            reason, (self._topic, self._settings.partition, offset_of(record)), index, value, record.key()
        )

    def _bury(self, letters: Sequence[DeadLetter]) -> None:
        """Wait until the letters are kept: only then may the progress pass them."""
        if not letters:
            return
        try:
            self._sending().write(self._dead_letters, [dump_letter(letter) for letter in letters], PARK_SECONDS)
        except OperationalError as error:
            raise InDoubt(f"a dead letter cannot be kept: {error}") from error
        for letter in letters:
            _log.warning(
                "dead letter", reason=letter.reason, topic=letter.topic, offset=letter.offset, index=letter.index
            )

    def _produce(self, receiver: str | None, replies: Sequence[bytes]) -> None:
        key = None if receiver is None else receiver.encode()
        start = size = 0
        for i, reply in enumerate(replies):
            if size + len(reply) > REPLY_BYTES_MAX:
                self._send_replies(key, replies[start:i])
                start, size = i, 0
            size += len(reply) + 1
        self._send_replies(key, replies[start:])

    def _send_replies(self, key: bytes | None, replies: Sequence[bytes]) -> None:
        if not replies:
            return
        try:
            self._sending().send(self._replies, dump_replies(replies), key=key)
        except OperationalError as error:
            _log.warning("replies not sent", replies=len(replies), error=str(error))


def _parsed(value: bytes) -> Sequence[Submitted | UnreadableError]:
    if len(value) > RECORD_BYTES_MAX:
        raise UnreadableError(f"the record has {len(value)} bytes, more than {RECORD_BYTES_MAX}")
    return parse_record(value)


def _check_key(key: bytes, commands: Sequence[Submitted]) -> None:
    """Raise UnreadableError when the record's key is not the market or account of each of its commands.

    The key is what puts a command into its partition. What opens an account, a story or a market may have any key.
    """
    for submitted in commands:
        names = _names(submitted.command)
        if names and key not in names:
            raise UnreadableError("the record's key is neither the market nor the account of its command")


def _names(command: Command | InvalidCommand) -> list[bytes]:
    if isinstance(command, QuoteOrder):
        command = command.order
    if isinstance(command, InvalidCommand | PublishStory | OpenMarket | OpenAccount):
        return []
    ids = (getattr(command, "market_id", None), getattr(command, "account_id", None))
    return [name.encode() for name in ids if name]
