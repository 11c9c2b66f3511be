"""The append protocol: the format of a record, and the rules by which records count.

One partition of a Kafka topic holds one log. A record is either a **claim** or a **batch**:

    {"claim":true,"writer":"9f...","epoch":4,"next":17}
    {"writer":"9f...","epoch":4,"first":17,"events":[["market-1",3,"OrderPlaced.v1",{...}],...]}

Every reader folds the records, in the order of their offsets, into ``State(epoch, writer, next)``. The fold begins with
``State(0, "", 1)``:

- a claim is valid if its epoch is exactly one above the current one; it then sets epoch and writer;
- a batch is valid if its epoch and writer are the current ones and ``first == next``; then ``next += len(events)``;
- any other record is invalid and skipped: records of a former writer, duplicates, late arrivals, records of other programs.

A writer sends a batch only after the log has the one before. So a batch of the current epoch and writer whose ``first`` is
above ``next`` proves that records are missing (compaction, deletion, a disk restored from a backup), and so does a valid
claim whose ``next`` is above the reader's. The fold then raises ``RecordsMissing``; it never skips what is missing.

Whether a record counts depends only on the records before it, and a writer checks exactly those before it answers
anybody. Fencing needs nothing else: no transactions, no lock in the broker, no clock.

This module does no I/O. ``tests/eventsourcing_kafka/test_protocol_model.py`` explores it exhaustively.

An event is an array ``[originator id, version, topic, state]``. A UUID is written as ``urn:uuid:...``, a text id as it is.
A state that is the text of a JSON object is embedded byte by byte, so that ``jq`` and ksqlDB can read it. Any other state
(compressed, encrypted) is embedded as a base64 string. Readers ignore further fields of a record and further elements of an
event, so that a later version can add some.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple
from uuid import UUID

import msgspec
from eventsourcing.persistence import DataError, Notification, StoredEvent
from msgspec import Raw

from eventsourcing_kafka.errors import RecordsMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "START",
    "Batch",
    "Checkpoint",
    "Claim",
    "State",
    "decode",
    "encode_batch",
    "encode_claim",
    "id_from_text",
    "id_to_text",
]

UUID_PREFIX = "urn:uuid:"
BRACE = ord("{")
DEPTH_MAX = 200
"""The deepest nesting of a state that is embedded as JSON. A decoder with a small stack must be able to read it."""


_RECORD_DEPTH = 3
"""The nesting of a record around its states: the object, the array of its events, an event."""


class State(NamedTuple):
    """The state of a reader's fold: who may append, and at which position."""

    epoch: int = 0
    writer: str = ""
    next: int = 1

    def after(self, record: Claim | Batch | None) -> State | None:
        """Return the state after this record, or None if the record is invalid.

        Raises:
            RecordsMissing: the record proves that the log has lost records before it.
        """
        if isinstance(record, Batch):
            if record.epoch == self.epoch and record.writer == self.writer and record.first >= self.next:
                self._refuse_gap(record.first)
                return State(self.epoch, self.writer, self.next + len(record.events))
        elif isinstance(record, Claim) and record.epoch == self.epoch + 1:
            self._refuse_gap(record.next)
            return State(record.epoch, record.writer, self.next)
        return None

    def _refuse_gap(self, position: int) -> None:
        if position > self.next:
            raise RecordsMissing(
                f"The log has lost the events of positions {self.next} to {position - 1}: the next record was written "
                f"after them, in epoch {self.epoch}. Restore the topic, or read from a copy of it"
            )


class Checkpoint(NamedTuple):
    """The place where a reader continues: the offset of the next record, and the state of the fold before that record.

    Store all four values together with whatever was derived from the records before ``offset`` (a read model, a snapshot).
    """

    offset: int = 0
    epoch: int = 0
    writer: str = ""
    next: int = 1

    @property
    def state(self) -> State:
        """The state of the fold before the record at ``offset``."""
        return State(self.epoch, self.writer, self.next)


START = Checkpoint()
"""The beginning of a log."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A record by which a writer takes over the partition."""

    writer: str
    epoch: int
    next: int = 0
    """The position after the last event that the writer had read when it sent the claim."""


@dataclass(slots=True)
class Batch:
    """A record with events: atomic, because it is one record."""

    writer: str
    epoch: int
    first: int
    """The position of its first event; the others follow without a gap."""
    events: list[tuple[str, int, str, Raw]]
    offset: int = -1
    """The offset of the record it was read from. Offsets change if the topic is copied; positions do not."""

    @property
    def last(self) -> int:
        """The position of its last event."""
        return self.first + len(self.events) - 1

    def stored_events(self) -> list[StoredEvent]:
        """Return the events, in order."""
        return [
            StoredEvent(id_from_text(name), version, topic, _state_bytes(raw))
            for name, version, topic, raw in self.events
        ]

    def notifications(self) -> list[Notification]:
        """Return the events with their positions as notification ids."""
        # The hottest loop of a replay: the constructor of a frozen dataclass sets each field by a call (2.4 us in all).
        notifications: list[Notification] = []
        append, new, set_ = notifications.append, object.__new__, object.__setattr__
        position = self.first
        for name, version, topic, raw in self.events:
            state = bytes(raw)
            notification = new(Notification)
            set_(
                notification,
                "__dict__",
                {
                    "originator_id": UUID(name[9:]) if name[:9] == UUID_PREFIX else name,
                    "originator_version": version,
                    "topic": topic,
                    "state": state if state[0] == BRACE else b64decode(state[1:-1]),
                    "id": position,
                },
            )
            append(notification)
            position += 1
        return notifications


# Bounds that SQLite and every JSON reader can represent. A record beyond them is invalid for every reader.
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Version = Annotated[int, msgspec.Meta(ge=-(2**53), lt=2**53)]


class _Record(msgspec.Struct, omit_defaults=True):
    claim: bool = False
    writer: str = ""
    epoch: Count = 0
    first: Count = 0
    next: Count = 0
    events: list[tuple[str, Version, str, Raw]] = []


class _LongRow(msgspec.Struct, array_like=True):
    """An event with four elements or more. It decodes more slowly than a tuple of four."""

    name: str
    version: Version
    topic: str
    state: Raw


class _LaterRecord(msgspec.Struct):
    """A record of a later version, whose events have more elements."""

    writer: str
    epoch: Count
    first: Count
    events: list[_LongRow]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Record)
_later_decoder = msgspec.json.Decoder(_LaterRecord)
_scanner = msgspec.json.Decoder(Raw)
_strings = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def encode_claim(writer: str, epoch: int, next_: int) -> bytes:
    """Return the record by which ``writer``, who has read the log up to position ``next_``, takes over the partition."""
    return _encoder.encode(_Record(claim=True, writer=writer, epoch=epoch, next=next_))


def encode_batch(
    writer: str, epoch: int, first: int, events: Sequence[StoredEvent], *, states_are_json: bool = False
) -> bytes:
    """Return the record that holds these events.

    With ``states_are_json`` the caller promises that every state is the text of a JSON object, nested no deeper than
    ``DEPTH_MAX``; the states are then not checked. A false promise makes the record invalid.

    Raises:
        DataError: there is no event, or an event cannot be encoded.
    """
    if not events:
        raise DataError("A batch holds at least one event")
    if states_are_json:
        return _encode_rows(writer, epoch, first, events, [e.state for e in events])
    states = [e.state if e.state[:1] == b"{" else _base64(e.state) for e in events]
    value = _encode_rows(writer, epoch, first, events, states)
    # Decoding the whole record is cheaper than checking each state: one that is no JSON object comes back different.
    if not _holds(value, states):
        states = [e.state if _is_object(e.state) else _base64(e.state) for e in events]
        value = _encode_rows(writer, epoch, first, events, states)
        if not _holds(value, states):
            raise DataError("The events cannot be read back from their record")
    return value


def decode(value: bytes | None) -> Claim | Batch | None:
    """Return the claim or batch in the value of a record, or None if it is neither.

    Raises:
        RecursionError: the caller's stack is too small for a record that other readers can decode. Two readers must never
            disagree on which records are invalid. No writer nests a record more deeply than ``DEPTH_MAX`` and three more:
            one that is deeper comes from another program, and is neither a claim nor a batch.
    """
    if value is None:
        return None
    try:
        return _decode(value)
    except RecursionError:
        if _depth(value) <= DEPTH_MAX + _RECORD_DEPTH:
            raise
        return None


def _decode(value: bytes) -> Claim | Batch | None:
    try:
        record = _decoder.decode(value)
    except msgspec.ValidationError:
        return _decode_later(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if record.claim:
        return Claim(record.writer, record.epoch, record.next)
    if record.events and record.first > 0:
        return Batch(record.writer, record.epoch, record.first, record.events)
    return None


def _decode_later(value: bytes) -> Batch | None:
    try:
        record = _later_decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the former includes ValidationError
        return None
    if not record.events or record.first == 0:
        return None
    rows = [(row.name, row.version, row.topic, row.state) for row in record.events]
    return Batch(record.writer, record.epoch, record.first, rows)


def id_to_text(originator_id: UUID | str) -> str:
    """Return the text of an id in records and in the index.

    Raises:
        DataError: a text id that would be decoded as a UUID.
    """
    if isinstance(originator_id, UUID):
        return UUID_PREFIX + str(originator_id)
    if originator_id.startswith(UUID_PREFIX):
        raise DataError(f"A text id must not begin with {UUID_PREFIX!r}: {originator_id!r}")
    return originator_id


def id_from_text(text: str) -> UUID | str:
    """Return the id that ``id_to_text`` encoded."""
    return UUID(text[len(UUID_PREFIX) :]) if text.startswith(UUID_PREFIX) else text


def _encode_rows(writer: str, epoch: int, first: int, events: Sequence[StoredEvent], states: list[bytes]) -> bytes:
    rows = [
        (id_to_text(e.originator_id), e.originator_version, e.topic, Raw(state))
        for e, state in zip(events, states, strict=True)
    ]
    try:
        return _encoder.encode(_Record(writer=writer, epoch=epoch, first=first, events=rows))
    except (TypeError, ValueError) as error:
        raise DataError(f"Cannot encode events: {error}") from error


def _holds(value: bytes, states: list[bytes]) -> bool:
    """Tell whether every reader decodes exactly these states from the record."""
    try:
        if not value.isascii():
            value.decode("utf-8")
        found = _decoder.decode(value).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if [bytes(row[3]) for row in found] != states:
        return False
    # Each level of nesting takes two bytes, so a short state cannot be too deep.
    return all(len(state) <= 2 * DEPTH_MAX or _depth(state) <= DEPTH_MAX for state in states)


def _base64(state: bytes) -> bytes:
    return b'"%b"' % b64encode(state)


def _state_bytes(raw: Raw) -> bytes:
    state = bytes(raw)
    return state if state[0] == BRACE else b64decode(state[1:-1])


def _is_object(state: bytes) -> bool:
    """Tell whether the bytes are the text of exactly one JSON object that is not nested too deeply."""
    if state[:1] != b"{" or state[-1:] != b"}":
        return False
    try:
        state.decode("utf-8")
        _scanner.decode(state)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return _depth(state) <= DEPTH_MAX


def _depth(state: bytes) -> int:
    """Return an upper bound of the depth of nesting, which is exact if it is above ``DEPTH_MAX``."""
    opening = state.count(b"{") + state.count(b"[")
    if opening <= DEPTH_MAX:
        return opening
    depth = deepest = 0
    for byte in _strings.sub(b"", state):
        if byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest
