"""Folding the log into the state of an engine: while it starts, while it stands by, and when it takes over."""

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from consumers.engine.command_index import CommandIndex
from consumers.engine.log import START, Checkpoint, EventBatch, InDoubt, StaleCheckpoint, checkpoint_before
from domain.exchange import Exchange
from domain.partition import CommandsRead, SnapshotWritten
from messages.events import EventState
from messages.replies import Reply, make_reply
from messages.stored import decode_state

if TYPE_CHECKING:
    from consumers.engine.snapshots import Snapshot
    from domain.events import Event
    from domain.money import Time

_logger: Final = structlog.get_logger()

REPEATED_BATCHES: Final = 16
"""The number of last batches whose replies are sent again: the earlier engine may not have sent them."""


_envelope: Final = msgspec.json.Decoder(EventState[msgspec.Raw]).decode
"""Reads the fields of an event that the command index needs."""


class Replay:
    """The state of one partition as the log tells it, from a snapshot on or from the beginning."""

    def __init__(self, partition: int, index: CommandIndex, snapshot: "Snapshot | None" = None) -> None:
        self._index = index
        self._last: deque[EventBatch] = deque(maxlen=REPEATED_BATCHES)
        self._snapshot_replies = snapshot.replies if snapshot else []
        self._skip = START
        self._proof = snapshot.proof if snapshot else None
        self.proof_position = 0
        """The position at which the log has the hash of the snapshot; 0 before it was met."""
        self.exchange = snapshot.exchange if snapshot else Exchange(partition)
        self.checkpoint: Checkpoint = snapshot.checkpoint if snapshot else START
        self.next_offsets: dict[str, int] = dict(snapshot.next_offsets) if snapshot else {}
        start = self._start(snapshot)
        if not index.fits(start):
            self._refuse_index()
            start = self._start(snapshot)
        if start != self.checkpoint:
            self._skip, self.checkpoint = self.checkpoint, start

    def _start(self, snapshot: "Snapshot | None") -> Checkpoint:
        """Return where to read on: after the snapshot, unless the index ends before it.

        The index was lost then, or the snapshot is of another engine: the index reads on from where it ends, and the
        state skips the events that the snapshot covers.
        """
        if snapshot is None:
            return START
        if self._index.position < snapshot.checkpoint.position:
            return checkpoint_before(snapshot.checkpoints, self._index.position + 1)
        return snapshot.checkpoint

    def _refuse_index(self) -> None:
        _logger.warning("command_index_thrown_away", reason=f"another writer wrote the event at {self._index.position}")
        self._index.begin_again()

    def handle(self, batch: EventBatch) -> None:
        """Bring state and index up to these events.

        Raises:
            StaleCheckpoint: the snapshot is not of this log.
            InDoubt: the command index is not of this log. It is empty now: begin anew.
        """
        if not self._index.fits(batch.after):
            self._refuse_index()
            raise InDoubt("the command index was not of this log, and is made again")
        if batch.positions[0] <= self._skip.position:
            self._check(batch.after)
            batch = self._index_only(batch)
        index, indexed = self._index, self._index.position
        apply, next_offsets = self.exchange.apply, self.next_offsets
        for position, (stream, version, topic, state) in zip(batch.positions, batch.rows, strict=True):
            read = decode_state(topic, state)
            event = read.data
            apply(event, stream=stream, version=version, time=read.time, command_id=read.command_id)
            if read.digest is not None:
                if position > indexed:
                    index.add(read.command_id, position)
            elif type(event) is CommandsRead:
                next_offsets[event.source] = event.next
            elif type(event) is SnapshotWritten and event == self._proof:
                self.proof_position = position
        if batch.after.position > indexed:
            index.advance(batch.after)
        self.checkpoint = batch.after
        self._last.append(batch)

    @property
    def is_proven(self) -> bool:
        """Whether the log says that this is the state: it was folded from the beginning, or met the snapshot's hash."""
        return self._proof is None or self.proof_position > 0

    def check_end(self) -> None:
        """Raise StaleCheckpoint when the log ends before a position that the index or the snapshot has seen."""
        known = max(self._index.position, self._skip.position)
        if self.checkpoint.position < known:
            raise StaleCheckpoint(f"the log ends at {self.checkpoint.position}, it was known up to {known}")

    def _check(self, after: Checkpoint) -> None:
        """Raise StaleCheckpoint when the snapshot's checkpoint is not in the log: in Kafka it is the end of a batch."""
        wanted = self._skip
        found = after._replace(offset=wanted.offset)  # a writer's own is higher if its record stands twice
        if wanted.offset and after.position >= wanted.position and found != wanted:
            raise StaleCheckpoint(f"the batch that ends at {after.position} is not the one that the snapshot ends with")

    def last_replies(self) -> list[Reply]:
        """Return the last replies, which may not have reached anybody."""
        found: dict[str, tuple[str, Time, list[Event]]] = {}
        last: dict[str, int] = {}
        for batch in self._last:
            for position, (_, _, topic, state) in zip(batch.positions, batch.rows, strict=True):
                read = decode_state(topic, state)
                if read.digest is not None:
                    found[read.command_id] = (read.digest, read.time, [])
                if read.command_id in found:
                    found[read.command_id][2].append(read.data)
                    last[read.command_id] = position
        replies = [
            make_reply(command_id, digest, last[command_id], time, events)
            for command_id, (digest, time, events) in found.items()
        ]
        return replies if len(self._last) == REPEATED_BATCHES else [*self._snapshot_replies, *replies]

    def _index_only(self, batch: EventBatch) -> EventBatch:
        """Index the commands of a batch that the snapshot covers, and return the events that it does not cover."""
        index, indexed = self._index, self._index.position
        rows: list[Any] = []
        positions: list[int] = []
        for position, row in zip(batch.positions, batch.rows, strict=True):
            if position > self._skip.position:
                positions.append(position)
                rows.append(row)
            elif position > indexed and (read := _envelope(row[3])).digest is not None:
                index.add(read.command_id, position)
        return EventBatch(positions, rows, batch.after)
