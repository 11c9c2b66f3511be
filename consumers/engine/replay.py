"""What an engine makes of the log, chunk by chunk: while it starts, while it stands by, and when it takes over."""

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from consumers.engine.log import START, Checkpoint, EventBatch, StaleCheckpoint, checkpoint_before
from consumers.engine.recorded_replies import Index
from domain.exchange import Exchange
from domain.partition import CommandsRead
from messages.events import State
from messages.replies import Reply, make_reply
from messages.stored import decode_state

if TYPE_CHECKING:
    from consumers.engine.snapshots import Snapshot
    from domain.events import Event
    from domain.money import Time

CHUNKS_TOLD: Final = 16
"""The outcomes in so many of the last chunks are told again: their replies may not have reached anybody."""


_envelope: Final = msgspec.json.Decoder(State[msgspec.Raw]).decode
"""Reads what the command index needs of an event."""


class Fold:
    """The state of one partition as the log tells it, from a snapshot on or from the beginning."""

    def __init__(self, partition: int, index: Index, snapshot: "Snapshot | None" = None) -> None:
        self._index = index
        self._last: deque[EventBatch] = deque(maxlen=CHUNKS_TOLD)
        self._known = snapshot.outcomes if snapshot else []
        self._skip = START
        self.exchange = snapshot.exchange if snapshot else Exchange(partition)
        self.place: Checkpoint = snapshot.place if snapshot else START
        self.sources: dict[str, int] = dict(snapshot.sources) if snapshot else {}
        if snapshot is not None and index.position < self.place.position:
            # It was lost, or the snapshot is of another engine: it learns the rest from the log, which the state skips.
            self._skip, self.place = self.place, checkpoint_before(snapshot.marks, index.position + 1)

    def apply(self, chunk: EventBatch) -> None:
        """Bring state and index to what they are after these events. Raises StaleCheckpoint: the snapshot is not of this log."""
        if chunk.positions[0] <= self._skip.position:
            self._check(chunk.after)
            chunk = self._index_only(chunk)
        index, indexed = self._index, self._index.position
        apply, sources = self.exchange.apply, self.sources
        for position, (stream, version, topic, state) in zip(chunk.positions, chunk.rows, strict=True):
            read = decode_state(topic, state)
            event = read.data
            apply(event, stream=stream, version=version, time=read.time, command_id=read.command_id)
            if read.digest is not None:
                if position > indexed:
                    index.add(read.command_id, position)
            elif type(event) is CommandsRead:
                sources[event.source] = event.next
        if chunk.after.position > indexed:
            index.advance(chunk.after.position)
        self.place = chunk.after
        self._last.append(chunk)

    def check_end(self) -> None:
        """Raise StaleCheckpoint when this cannot be the whole log: it ends before what is known of it from elsewhere."""
        known = max(self._index.position, self._skip.position)
        if self.place.position < known:
            raise StaleCheckpoint(f"the log ends at {self.place.position}, it was known up to {known}")

    def _check(self, after: Checkpoint) -> None:
        """Raise StaleCheckpoint when the snapshot's place is none that the log has: in Kafka it stands behind a batch."""
        wanted = self._skip
        if wanted.writer and after.position >= wanted.position and after != wanted:
            raise StaleCheckpoint(
                f"the batch that ends at {after.position} is not the one that the snapshot stands behind"
            )

    def outcomes(self) -> list[Reply]:
        """Return the last outcomes, whose replies may not have reached anybody."""
        found: dict[str, tuple[str, Time, list[Event]]] = {}
        last: dict[str, int] = {}
        for chunk in self._last:
            for position, (_, _, topic, state) in zip(chunk.positions, chunk.rows, strict=True):
                read = decode_state(topic, state)
                if read.digest is not None:
                    found[read.command_id] = (read.digest, read.time, [])
                if read.command_id in found:
                    found[read.command_id][2].append(read.data)
                    last[read.command_id] = position
        told = [
            make_reply(command_id, digest, last[command_id], time, events)
            for command_id, (digest, time, events) in found.items()
        ]
        return told if len(self._last) == CHUNKS_TOLD else [*self._known, *told]

    def _index_only(self, chunk: EventBatch) -> EventBatch:
        """Note the commands of a chunk that the snapshot has folded, and return what it has not."""
        index, indexed = self._index, self._index.position
        rows: list[Any] = []
        positions: list[int] = []
        for position, row in zip(chunk.positions, chunk.rows, strict=True):
            if position > self._skip.position:
                positions.append(position)
                rows.append(row)
            elif position > indexed and (read := _envelope(row[3])).digest is not None:
                index.add(read.command_id, position)
        return EventBatch(positions, rows, chunk.after)
