"""Commands from Kafka: the engine's partition of the topic `commands`. Replies and dead letters have their own topics."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog
from confluent_kafka import Message
from eventsourcing.persistence import OperationalError

from consumers.engine.command_source import CommandGroup, CommandReply
from consumers.engine.log import InDoubt, mapped_errors
from consumers.kafka.errors import TOPIC_ERRORS
from consumers.kafka.receivers import headers_of_engine, replies_partition
from consumers.kafka.records import RecordReader, RecordSender, offset_of, sender_of
from consumers.kafka.topics import (
    COMMANDS,
    DEAD_LETTERS,
    RECORD_BYTES_MAX,
    REPLIES,
    ensure_topics_once,
    topic_id,
    topic_name,
)
from domain.account import OpenAccount
from domain.market import OpenMarket
from domain.story import PublishStory
from messages.command_ids import Sender, check_owner
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
"""The longest wait until the broker has kept dead letters."""

REPLY_BYTES_MAX: Final = RECORD_BYTES_MAX - 64 * 1024
"""The most bytes of replies in one record."""


class KafkaCommandSource:
    """One partition of the topic `commands`. Connects at the first `rewind`."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._topic = topic_name(settings, COMMANDS)
        self._replies_topic = topic_name(settings, REPLIES)
        self._dead_letters_topic = topic_name(settings, DEAD_LETTERS)
        self._topic_id = ""
        self._reader: RecordReader | None = None
        self._sender: RecordSender | None = None
        self._fetched: deque[Message] = deque()
        self._taken: list[tuple[Message, CommandGroup]] = []

    @property
    def name(self) -> str:
        """The name under which the log says how far this source is read. A topic made anew has another id, and name."""
        assert self._topic_id, "rewind first"
        return f"{self._topic}-{self._settings.partition}@{self._topic_id}"

    def rewind(self, next_offsets: Mapping[str, int]) -> int:
        """Go on where the log says that this topic is read, or at its beginning. Raises InDoubt when no broker answers."""
        self._fetched.clear()
        self.connect()
        reader = self._connected_reader()
        with self._disconnected_on_error():
            first, end = reader.ends()
        wanted = next_offsets.get(self.name, first)
        if wanted < first:
            _log.warning("commands_expired", source=self.name, records=first - wanted, next_offset=first)
            wanted = first
        elif wanted > end:  # the broker's disk was restored: what was read since is in the log
            _log.error("commands_rolled_back", source=self.name, read_up_to=wanted, end=end)
            wanted = end
        reader.seek(wanted)
        return wanted

    def connect(self) -> None:
        """Connect, unless that is done. A standby does it ahead, because it takes a moment. Raises InDoubt: no broker."""
        if self._reader is not None:
            return
        with self._disconnected_on_error("the commands cannot be read"):
            ensure_topics_once(self._settings)
            self._topic_id = topic_id(self._settings, COMMANDS)
            self._sender = RecordSender(self._settings)
            self._reader = RecordReader(self._settings, self._topic, self._settings.partition)
            self._reader.ends()

    def take(self, limit: int, timeout_seconds: float) -> Sequence[CommandGroup]:
        """Return the commands of the next records, a group for each record. Raises InDoubt when they cannot be read."""
        if not self._fetched:
            with self._disconnected_on_error():
                self._fetched.extend(self._connected_reader().take(limit, timeout_seconds))
        self._taken.clear()
        while self._fetched and limit > 0:
            record = self._fetched.popleft()
            group = self._group_of(record)
            self._taken.append((record, group))
            limit -= len(group.commands)
        return [group for _, group in self._taken]

    def send_replies(self, replies: Sequence[CommandReply]) -> None:
        """Send the replies, those of one receiver together. A receiver that misses a reply sends the command again."""
        by_receiver: dict[str | None, list[bytes]] = {}
        for submitted, reply in replies:
            by_receiver.setdefault(submitted.reply_to, []).append(dump_reply(reply))
        for receiver, values in by_receiver.items():
            self._send_packed(receiver, values)
        self._connected_sender().report()

    def repeat_replies(self, replies: Sequence[Reply]) -> None:
        """Send the replies to all receivers."""
        self._send_packed(None, [dump_reply(reply) for reply in replies])

    def park(self, command: Submitted, reason: str) -> None:
        """Put one of the commands last taken into the dead letters."""
        for record, group in self._taken:
            if any(taken is command for taken in group.commands):
                value = record.value() or b""
                parsed = _owned(parse_record(value, self._settings.partition), sender=sender_of(record))
                indexes = [i for i, item in enumerate(parsed) if isinstance(item, Submitted)]
                index = indexes[next(i for i, taken in enumerate(group.commands) if taken is command)]
                self._keep_letters([self._letter(reason, record, index, record_parts(value)[index])])
                return
        raise LookupError(f"{command.command_id} is none of the commands last taken")

    def wake(self) -> None:
        """Do nothing: the engine looks around by itself at least once a second. It may run in a signal handler."""

    def interrupt(self) -> None:
        """Have `take` return at once; from any thread."""
        if (reader := self._reader) is not None:
            reader.wake()

    def close(self, error: BaseException | None) -> None:  # noqa: ARG002  senders elsewhere see no reply
        """Disconnect; replies that are on their way get a moment."""
        self._disconnect()

    def _connected_reader(self) -> RecordReader:
        assert self._reader is not None, "rewind first"
        return self._reader

    def _connected_sender(self) -> RecordSender:
        assert self._sender is not None, "rewind first"
        return self._sender

    @contextmanager
    def _disconnected_on_error(self, doing: str = "") -> Iterator[None]:
        """Disconnect where the broker fails, and raise InDoubt."""
        try:
            with mapped_errors(TOPIC_ERRORS, doing):
                yield
        except InDoubt:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        reader, sender, self._reader, self._sender = self._reader, self._sender, None, None
        if reader is not None:
            reader.close()
        if sender is not None:
            sender.close()

    def _group_of(self, record: Message) -> CommandGroup:
        """Return a record's commands. Whatever is not a command goes to the dead letters first."""
        value = record.value() or b""
        letters: list[DeadLetter] = []
        commands: list[Submitted] = []
        try:
            parsed = _owned(_parsed(value, self._settings.partition), sender=sender_of(record))
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
        self._keep_letters(letters)
        return CommandGroup(commands, offset_of(record) + 1, bool(letters))

    def _letter(self, reason: str, record: Message, index: int | None, value: bytes) -> DeadLetter:
        return make_letter(
            reason, (self._topic, self._settings.partition, offset_of(record)), index, value, record.key()
        )

    def _keep_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Write dead letters, and wait until the topic has them: only then may the engine go past their commands."""
        if not letters:
            return
        with mapped_errors(TOPIC_ERRORS, "a dead letter cannot be kept"):
            values = [dump_letter(letter) for letter in letters]
            self._connected_sender().write(self._dead_letters_topic, values, PARK_SECONDS)
        for letter in letters:
            _log.warning(
                "dead_letter", reason=letter.reason, topic=letter.topic, offset=letter.offset, index=letter.index
            )

    def _send_packed(self, receiver: str | None, replies: Sequence[bytes]) -> None:
        """Send replies in as few records as hold them, to the partition of their receiver; those for all, to every one."""
        key, partitions = None if receiver is None else receiver.encode(), self._settings.partitions
        places = range(partitions) if receiver is None else (replies_partition(receiver, partitions),)
        start = size = 0
        for i, reply in enumerate(replies):
            if size + len(reply) > REPLY_BYTES_MAX:
                self._send_replies(key, places, replies[start:i])
                start, size = i, 0
            size += len(reply) + 1
        self._send_replies(key, places, replies[start:])

    def _send_replies(self, key: bytes | None, places: Sequence[int], replies: Sequence[bytes]) -> None:
        if not replies:
            return
        own = self._settings
        headers = None if key is not None else headers_of_engine(own.partition, own.partitions)
        try:
            for partition in places:
                self._connected_sender().send(
                    self._replies_topic, dump_replies(replies), key=key, partition=partition, headers=headers
                )
        except OperationalError as error:
            _log.warning("replies_not_sent", replies=len(replies), error=str(error))


def _parsed(value: bytes, partition: int) -> Sequence[Submitted | UnreadableError]:
    if len(value) > RECORD_BYTES_MAX:
        raise UnreadableError(f"the record has {len(value)} bytes, more than {RECORD_BYTES_MAX}")
    return parse_record(value, partition)


def _owned(parsed: Sequence[Submitted | UnreadableError], *, sender: Sender) -> Sequence[Submitted | UnreadableError]:
    """Return the commands of a record, with an error in the place of each whose id belongs to another sender."""
    found: list[Submitted | UnreadableError] = []
    for item in parsed:
        try:
            if isinstance(item, Submitted):
                check_owner(item, sender=sender)
        except UnreadableError as error:
            found.append(error)
        else:
            found.append(item)
    return found


def _check_key(key: bytes, commands: Sequence[Submitted]) -> None:
    """Raise UnreadableError when the record's key is not the market or account of each of its commands.

    The key chooses the partition of a command. A command that opens an account, a story or a market may have any key.
    """
    for submitted in commands:
        keys = _allowed_keys(submitted.command)
        if keys and key not in keys:
            raise UnreadableError("the record's key is neither the market nor the account of its command")


def _allowed_keys(command: Command | InvalidCommand) -> list[bytes]:
    """Return the keys that a command's record may have, none if it may have any."""
    if isinstance(command, QuoteOrder):
        command = command.order
    if isinstance(command, InvalidCommand | PublishStory | OpenMarket | OpenAccount):
        return []
    ids = (getattr(command, "market_id", None), getattr(command, "account_id", None))
    return [each.encode() for each in ids if each]
