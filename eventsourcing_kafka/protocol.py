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
(compressed, encrypted) is embedded as a base64 string. With release 10.0 of the library two elements may follow: the
event's UUID, and an object with its metadata. Readers ignore further fields of a record and further elements of an event,
so that a later version can add some.

A batch of a process application also holds its ``tracking``: for each application that it follows, the position of the last
event that it has processed, as in ``"tracking":{"orders":22}``. Events and tracking count or do not count together, because
they are one record. A batch without events, which only tracks, takes no position; a copy of it, or a former one that arrives
late, changes nothing: of each application the highest position counts.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from uuid import UUID  # noqa: TC003  # msgspec reads the annotations

import msgspec
from eventsourcing.persistence import Notification, StoredEvent
from msgspec import Raw

from eventsourcing_kafka.errors import RecordsMissing
from eventsourcing_kafka.library import (
    EVENTS_HAVE_METADATA,
    NO_UUID,
    UUID_PREFIX,
    DataError,
    id_from_text,
    id_from_uuid,
    id_to_text,
)
from eventsourcing_kafka.states import BRACE, DEPTH_MAX, depth_of, embedded, embedded_strictly, state_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "START",
    "Batch",
    "Checkpoint",
    "Claim",
    "Headers",
    "State",
    "decode",
    "encode_batch",
    "encode_claim",
]

Headers = list[tuple[str, bytes]]
"""The headers of a record: names, which may repeat, and values."""

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
    """A record with events, tracking or both: atomic, because it is one record."""

    writer: str
    epoch: int
    first: int
    """The position of its first event; the others follow without a gap."""
    events: list[tuple[str, int, str, Raw]]
    offset: int = -1
    """The offset of the record it was read from. Offsets change if the topic is copied; positions do not."""
    tracking: dict[str, int] | None = None
    """By application, the position of the last event that was processed. None in most batches."""
    identities: list[tuple[UUID, dict[str, str]]] | None = None
    """The UUID and the metadata of each event. None if no event has any."""
    headers: Headers | None = None
    """The headers of the record it was read from, by a ``Reader``. They are no part of the log."""

    @property
    def last(self) -> int:
        """The position of its last event; without events, of the last one before it."""
        return self.first + len(self.events) - 1

    def only(self, indexes: Iterable[int]) -> Batch:
        """Return a batch of these events, for ``stored_events``: their positions are lost."""
        indexes = list(indexes)
        identities = None if self.identities is None else [self.identities[i] for i in indexes]
        return Batch(self.writer, self.epoch, 0, [self.events[i] for i in indexes], identities=identities)

    def stored_events(self) -> list[StoredEvent]:
        """Return the events, in order."""
        return [
            StoredEvent(
                originator_id=id_from_text(name),
                originator_version=version,
                topic=topic,
                state=state_bytes(raw),
                **more,
            )
            for (name, version, topic, raw), more in zip(self.events, self._more(), strict=False)
        ]

    def notifications(self) -> list[Notification]:
        """Return the events with their positions as notification ids."""
        # The hottest loop of a replay: the constructor of a frozen dataclass sets each field by a call (2.4 us in all).
        notifications: list[Notification] = []
        append, new, set_, from_uuid = notifications.append, object.__new__, object.__setattr__, id_from_uuid
        position = self.first
        for name, version, topic, raw in self.events:
            state = bytes(raw)
            notification = new(Notification)
            set_(
                notification,
                "__dict__",
                {
                    "originator_id": from_uuid(name[9:]) if name[:9] == UUID_PREFIX else name,
                    "originator_version": version,
                    "topic": topic,
                    "state": state if state[0] == BRACE else b64decode(state[1:-1]),
                    "id": position,
                },
            )
            append(notification)
            position += 1
        if EVENTS_HAVE_METADATA:
            for notification, more in zip(notifications, self._more(), strict=False):
                notification.__dict__.update({"uuid": NO_UUID, "metadata": {}}, **more)
        return notifications

    def _more(self) -> Iterable[dict[str, Any]]:
        """Yield the further fields of each event, without an end if no event has any."""
        if self.identities is None or not EVENTS_HAVE_METADATA:
            return repeat({})
        return [{"uuid": uuid, "metadata": metadata} for uuid, metadata in self.identities]


# Bounds that SQLite and every JSON reader can represent. A record beyond them is invalid for every reader.
POSITION_END = 2**53
Count = Annotated[int, msgspec.Meta(ge=0, lt=POSITION_END)]
Version = Annotated[int, msgspec.Meta(ge=-(2**53), lt=2**53)]


class _Record(msgspec.Struct, omit_defaults=True):
    claim: bool = False
    writer: str = ""
    epoch: Count = 0
    first: Count = 0
    next: Count = 0
    tracking: dict[str, Count] | None = None
    events: list[tuple[str, Version, str, Raw]] = []


class _LongRow(msgspec.Struct, array_like=True):
    """An event with four elements or more. It decodes more slowly than a tuple of four."""

    name: str
    version: Version
    topic: str
    state: Raw
    uuid: UUID = NO_UUID
    metadata: dict[str, str] = {}


class _LongRecord(msgspec.Struct):
    """A record whose events have more elements: from release 10.0 of the library, or of a later version of this package."""

    writer: str
    epoch: Count
    first: Count
    tracking: dict[str, Count] | None = None
    events: list[_LongRow] = []


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Record)
_long_decoder = msgspec.json.Decoder(_LongRecord)


def encode_claim(writer: str, epoch: int, next_: int) -> bytes:
    """Return the record by which ``writer``, who has read the log up to position ``next_``, takes over the partition."""
    return _encoder.encode(_Record(claim=True, writer=writer, epoch=epoch, next=next_))


def encode_batch(
    writer: str,
    epoch: int,
    first: int,
    events: Sequence[StoredEvent],
    *,
    tracking: Mapping[str, int] | None = None,
    states_are_json: bool = False,
) -> bytes:
    """Return the record that holds these events and this tracking.

    With ``states_are_json`` the caller promises that every state is the text of a JSON object, nested no deeper than
    ``DEPTH_MAX``; the states are then not checked. A false promise makes the record invalid.

    Raises:
        DataError: there is neither an event nor a tracking, or one of them cannot be encoded.
    """
    if not events and not tracking:
        raise DataError("A batch holds at least one event or tracking")
    for name, position in (tracking or {}).items():
        if not 0 <= position < POSITION_END:
            raise DataError(f"The position {position} of {name!r} must be from 0 to {POSITION_END - 1}")
    record = _Record(writer=writer, epoch=epoch, first=first, tracking=dict(tracking) if tracking else None)
    if states_are_json:
        return _encode(record, events, [e.state for e in events])
    states = [embedded(e) for e in events]
    value = _encode(record, events, states)
    # Decoding the whole record is cheaper than checking each state: one that is no JSON object comes back different.
    if not _holds(value, states):
        states = [embedded_strictly(e) for e in events]
        value = _encode(record, events, states)
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
        if depth_of(value) <= DEPTH_MAX + _RECORD_DEPTH:
            raise
        return None


def _decode(value: bytes) -> Claim | Batch | None:
    try:
        record = _decoder.decode(value)
    except msgspec.ValidationError:
        return _decode_long(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if record.claim:
        return Claim(record.writer, record.epoch, record.next)
    if (record.events or record.tracking) and record.first > 0:
        return Batch(record.writer, record.epoch, record.first, record.events, tracking=record.tracking)
    return None


def _decode_long(value: bytes) -> Batch | None:
    try:
        record = _long_decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the former includes ValidationError
        return None
    if record.first == 0 or not (record.events or record.tracking):
        return None
    rows = [(row.name, row.version, row.topic, row.state) for row in record.events]
    identities = [(row.uuid, row.metadata) for row in record.events]
    return Batch(record.writer, record.epoch, record.first, rows, tracking=record.tracking, identities=identities)


def _encode(record: _Record, events: Sequence[StoredEvent], states: list[bytes]) -> bytes:
    record.events = [
        (id_to_text(e.originator_id), e.originator_version, e.topic, Raw(state))
        for e, state in zip(events, states, strict=True)
    ]
    if EVENTS_HAVE_METADATA:
        record.events = [row + _identity(e) for row, e in zip(record.events, events, strict=True)]
    try:
        return _encoder.encode(record)
    except (TypeError, ValueError) as error:
        raise DataError(f"Cannot encode events: {error}") from error


def _identity(event: Any) -> tuple[Any, ...]:
    """Return the further elements of an event of release 10.0."""
    if event.metadata:
        return event.uuid, event.metadata
    return () if event.uuid == NO_UUID else (event.uuid,)


def _holds(value: bytes, states: list[bytes]) -> bool:
    """Tell whether every reader decodes exactly these states from the record."""
    try:
        if not value.isascii():
            value.decode("utf-8")
        found = _decode(value)
    except (UnicodeDecodeError, RecursionError):
        return False
    if not isinstance(found, Batch) or [bytes(row[3]) for row in found.events] != states:
        return False
    # Each level of nesting takes two bytes, so a short state cannot be too deep.
    return all(len(state) <= 2 * DEPTH_MAX or depth_of(state) <= DEPTH_MAX for state in states)
