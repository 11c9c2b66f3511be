"""Looking after the dead letters of the commands: list the open ones, send one again, skip one for ever.

    with DeadLetters(settings) as letters:
        for found in letters.open(): ...
        letters.retry(found.number)

A decision about a letter is a record of the same topic, so it is kept as long as the letter.

Whoever may write to the topic can write anything. A record that is no letter is shown as what it is. A letter is only a
pointer: what is sent again stands among the commands at the letter's place, byte for byte.
"""

from collections.abc import Iterator
from contextlib import closing
from time import monotonic
from typing import Final, NamedTuple, Self

from confluent_kafka import Message
from eventsourcing.persistence import OperationalError

from consumers.kafka.records import FROM_GATE, FROM_HTTP, Headers, RecordReader, RecordSender, offset_of, sender_of
from consumers.kafka.topics import COMMANDS, DEAD_LETTERS, topic_name
from consumers.kafka.unreadable import UnreadableRecords
from domain.money import Time
from messages.commands import UnreadableError, record_parts
from messages.dead_letters import DeadLetter, Decision, dump_letter, make_letter, parse_letter
from settings import Settings

_HEADERS: Final[dict[str, Headers | None]] = {"http": FROM_HTTP, "orders": FROM_GATE, "service": None}

READ_SECONDS: Final = 10.0
"""The longest wait for the next record of the topic."""

WRITE_SECONDS: Final = 10.0
"""The longest wait until the broker has kept a record."""


class NumberedLetter(NamedTuple):
    """A letter, its number (its offset in the topic), and when it was written."""

    number: int
    time: Time
    letter: DeadLetter
    """For a record of the topic that is no letter: one that holds this record."""


class DeadLetters:
    """The topic `dead-letters`. A context manager; every method raises OperationalError when no broker answers."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected before the context is entered."""
        self._settings = settings
        self._topic = topic_name(settings, DEAD_LETTERS)
        self._commands = topic_name(settings, COMMANDS)
        self._unreadable = UnreadableRecords(self._topic)
        self._reader: RecordReader
        self._sender: RecordSender

    def __enter__(self) -> Self:
        self._reader = RecordReader(self._settings, self._topic, 0)
        self._sender = RecordSender(self._settings)
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.close()
        self._reader.close()

    def open(self) -> list[NumberedLetter]:
        """Return the letters without a decision. A letter that was written twice is returned once, as first written.

        Records that are no letters are among them, as letters about themselves.
        """
        found: dict[tuple[str, int, int, int | None], NumberedLetter] = {}
        places: dict[int, tuple[str, int, int, int | None]] = {}  # of each letter, by its number
        decided = set()
        for record in self._records():
            number = offset_of(record)
            try:
                item = parse_letter(record.value() or b"")
            except ValueError as error:
                self._unreadable.note(record, error)
                item = make_letter(f"no letter: {error}", (self._topic, 0, number), None, record.value() or b"")
            if isinstance(item, Decision):
                if item.letter in places:
                    decided.add(places[item.letter])
            else:
                places[number] = item.place
                found.setdefault(item.place, NumberedLetter(number, record.timestamp()[1] * 1_000, item))
        return [each for place, each in found.items() if place not in decided]

    def find(self, number: int) -> NumberedLetter:
        """Return an open letter. Raises LookupError."""
        for found in self.open():
            if found.number == number:
                return found
        raise LookupError(f"there is no open dead letter {number}")

    def retry(self, number: int) -> None:
        """Send the letter's commands to the engine again. They have the same ids, so nothing happens twice.

        Raises:
            LookupError: there is no such letter.
            ValueError: the letter holds only the beginning of its value, or this value does not stand at its place among
                the commands.
        """
        letter = self.find(number).letter
        value = letter.raw
        if value is None:
            raise ValueError(f"dead letter {number} holds only the beginning of its value")
        if letter.topic != self._commands:
            raise ValueError(f"dead letter {number} is not about a command: nothing of it is sent to {letter.topic}")
        found, headers = self._record_at(letter)
        if value != found:
            raise ValueError(
                f"dead letter {number} is forged, or its record is gone from {letter.topic}: its value is not among the "
                "commands there. If you know its sender, let him send it again"
            )
        self._sender.write(self._commands, [value], WRITE_SECONDS, partition=letter.partition, headers=headers)
        self._decide(Decision(number, "retried", ""))

    def skip(self, number: int, reason: str) -> None:
        """Decide that nothing is done about a letter. It stays in the topic, with the reason. Raises LookupError."""
        self.find(number)
        self._decide(Decision(number, "skipped", reason))

    def _record_at(self, letter: DeadLetter) -> tuple[bytes | None, Headers | None]:
        """Return what stands among the commands at the letter's place, None if nothing does, and its record's headers."""
        with closing(RecordReader(self._settings, self._commands, letter.partition)) as reader:
            first, end = reader.ends()
            if not first <= letter.offset < end:
                return None, None
            reader.seek(letter.offset)
            records = reader.take(1, READ_SECONDS)
        if not records or records[0].offset() != letter.offset:
            return None, None
        value, headers = records[0].value() or b"", _HEADERS[sender_of(records[0])]
        if letter.index is None:
            return value, headers
        try:
            parts = record_parts(value)
        except UnreadableError:
            return None, None
        return parts[letter.index] if 0 <= letter.index < len(parts) else None, headers

    def _decide(self, decision: Decision) -> None:
        self._sender.write(self._topic, [dump_letter(decision)], WRITE_SECONDS)

    def _records(self) -> Iterator[Message]:
        next_offset, end = self._reader.ends()
        self._reader.seek(next_offset)
        deadline = monotonic() + READ_SECONDS
        while next_offset < end:
            for record in self._reader.take(1_000, 0.5):
                next_offset = offset_of(record) + 1
                deadline = monotonic() + READ_SECONDS
                yield record
            if monotonic() > deadline:
                raise OperationalError(f"{self._topic} cannot be read in time")
