"""The append protocol: what a record is, and which records count.

One partition of a Kafka topic holds one log. A record is either a **claim** or a **batch**:

    {"claim":true,"writer":"9f...","epoch":4}
    {"writer":"9f...","epoch":4,"first":17,"events":[["market-1",3,"OrderPlaced.v1",{...}],...]}

Every reader folds the records in the order of their offsets into ``State(epoch, writer, next)``, beginning
with ``State(0, "", 1)``:

- a claim is valid if its epoch is greater than the current one; it then sets epoch and writer;
- a batch is valid if its epoch and writer are the current ones and ``first == next``; then ``next += len(events)``;
- anything else is void and skipped: zombies, duplicates, late arrivals, records that are no JSON of ours.

Whether a record counts depends on nothing but the records before it, and no writer answers anybody before it has
checked just those. That is the whole of fencing: no transactions, no broker-side lock, no clock.

This module does no I/O; ``tests/eventsourcing_kafka/test_protocol_model.py`` explores it exhaustively.

An event stands in its batch as ``[originator id, version, topic, state]``. A UUID is written as ``urn:uuid:...``, other
ids as they are. A state that is the text of a JSON object stands there as it is, to the byte, so that ``jq`` and ksqlDB
can read it; any other bytes (compressed, encrypted) stand there as a base64 string.
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
"""How deeply a state may nest and still be embedded as JSON; a decoder with a small stack must be able to read it."""


class State(NamedTuple):
    """What a reader knows after some record: who may append, and where."""

    epoch: int = 0
    writer: str = ""
    next: int = 1

    def after(self, record: Claim | Batch | None) -> State | None:
        """Return the state after this record, or None if the record is void."""
        if isinstance(record, Batch):
            if record.epoch == self.epoch and record.writer == self.writer and record.first == self.next:
                return State(self.epoch, self.writer, self.next + len(record.events))
        elif isinstance(record, Claim) and record.epoch > self.epoch:
            return State(record.epoch, record.writer, self.next)
        return None


class Checkpoint(NamedTuple):
    """Where a reader goes on: the offset of the next record to read, and the fold's state before it.

    Keep all four values with whatever was derived from the records before ``offset`` (a read model, a snapshot).
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
    """A record by which a writer takes the partition over."""

    writer: str
    epoch: int


@dataclass(slots=True)
class Batch:
    """A record with events. Atomic because it is one record."""

    writer: str
    epoch: int
    first: int
    """Position of its first event; the others follow without a gap."""
    events: list[tuple[str, int, str, Raw]]
    offset: int = -1
    """Where a reader found it; offsets change when a topic is copied, positions do not."""

    @property
    def last(self) -> int:
        """Position of its last event."""
        return self.first + len(self.events) - 1

    def stored_events(self) -> list[StoredEvent]:
        """Return the events, in order."""
        return [
            StoredEvent(id_from_text(name), version, topic, _state_bytes(raw))
            for name, version, topic, raw in self.events
        ]

    def notifications(self) -> list[Notification]:
        """Return the events with their positions as notification ids."""
        # The constructor of a frozen dataclass sets field by field (2.4 us); this loop is a replay's hottest.
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


# Bounds that SQLite and every JSON reader can hold; a record beyond them is void for all readers alike.
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Version = Annotated[int, msgspec.Meta(ge=-(2**53), lt=2**53)]


class _Record(msgspec.Struct, omit_defaults=True):
    claim: bool = False
    writer: str = ""
    epoch: Count = 0
    first: Count = 0
    events: list[tuple[str, Version, str, Raw]] = []


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Record)
_scanner = msgspec.json.Decoder(Raw)
_strings = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def encode_claim(writer: str, epoch: int) -> bytes:
    """Return the record by which ``writer`` takes over."""
    return _encoder.encode(_Record(claim=True, writer=writer, epoch=epoch))


def encode_batch(
    writer: str, epoch: int, first: int, events: Sequence[StoredEvent], *, states_are_json: bool = False
) -> bytes:
    """Return the record that holds these events.

    ``states_are_json`` is the caller's word that every state is the text of a JSON object, nested no deeper than
    ``DEPTH_MAX``, because it has just encoded them: they are not looked at then. A false word makes the record void.

    Raises:
        DataError: there is no event, or one cannot be written.
    """
    if not events:
        raise DataError("A batch holds at least one event")
    if states_are_json:
        return _encode_rows(writer, epoch, first, events, [e.state for e in events])
    states = [e.state if e.state[:1] == b"{" else _base64(e.state) for e in events]
    value = _encode_rows(writer, epoch, first, events, states)
    # Read back at once rather than looking at each state: what is no JSON object would show here as another state.
    if not _holds(value, states):
        states = [e.state if _is_object(e.state) else _base64(e.state) for e in events]
        value = _encode_rows(writer, epoch, first, events, states)
        if not _holds(value, states):
            raise DataError("The events cannot be read back from their record")
    return value


def decode(value: bytes | None) -> Claim | Batch | None:
    """Return what the value of a record says, or None if it is neither a claim nor a batch.

    A RecursionError is let through: it tells of the caller's stack, not of the record, and two readers must never
    disagree on what is void.
    """
    if value is None:
        return None
    try:
        record = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the former includes ValidationError
        return None
    if record.claim:
        return Claim(record.writer, record.epoch)
    if record.events and record.first > 0:
        return Batch(record.writer, record.epoch, record.first, record.events)
    return None


def id_to_text(originator_id: UUID | str) -> str:
    """Return the id as records and the index hold it.

    Raises:
        DataError: a text id that would be read back as a UUID.
    """
    if isinstance(originator_id, UUID):
        return UUID_PREFIX + str(originator_id)
    if originator_id.startswith(UUID_PREFIX):
        raise DataError(f"A text id must not begin with {UUID_PREFIX!r}: {originator_id!r}")
    return originator_id


def id_from_text(text: str) -> UUID | str:
    """Return the id that ``id_to_text`` wrote."""
    return UUID(text[len(UUID_PREFIX) :]) if text.startswith(UUID_PREFIX) else text


def _encode_rows(writer: str, epoch: int, first: int, events: Sequence[StoredEvent], states: list[bytes]) -> bytes:
    rows = [
        (id_to_text(e.originator_id), e.originator_version, e.topic, Raw(state))
        for e, state in zip(events, states, strict=True)
    ]
    try:
        return _encoder.encode(_Record(writer=writer, epoch=epoch, first=first, events=rows))
    except (TypeError, ValueError) as error:
        raise DataError(f"Cannot write events: {error}") from error


def _holds(value: bytes, states: list[bytes]) -> bool:
    """Tell whether every reader finds just these states in the record."""
    try:
        if not value.isascii():
            value.decode("utf-8")
        found = _decoder.decode(value).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if [bytes(row[3]) for row in found] != states:
        return False
    # So many brackets need so many bytes: a short state needs no look.
    return all(len(state) <= 2 * DEPTH_MAX or _depth(state) <= DEPTH_MAX for state in states)


def _base64(state: bytes) -> bytes:
    return b'"%b"' % b64encode(state)


def _state_bytes(raw: Raw) -> bytes:
    state = bytes(raw)
    return state if state[0] == BRACE else b64decode(state[1:-1])


def _is_object(state: bytes) -> bool:
    """Tell whether the bytes are the text of a JSON object, no more, and not nested too deeply."""
    if state[:1] != b"{" or state[-1:] != b"}":
        return False
    try:
        state.decode("utf-8")
        _scanner.decode(state)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return _depth(state) <= DEPTH_MAX


def _depth(state: bytes) -> int:
    """Return a depth of nesting that the text certainly does not exceed."""
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
