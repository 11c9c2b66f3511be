"""Random access to a log: by aggregate and version, and by position."""

from __future__ import annotations

from logging import getLogger
from threading import RLock
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from eventsourcing_kafka.clients import Connections
from eventsourcing_kafka.errors import InDoubt, LogTruncated, RecordsMissing
from eventsourcing_kafka.fetcher import Fetcher
from eventsourcing_kafka.forks import OneProcess
from eventsourcing_kafka.index import BatchLocation, Damaged, Index, Run
from eventsourcing_kafka.known_end import KnownEnd
from eventsourcing_kafka.library import ProgrammingError, names_of
from eventsourcing_kafka.producer import Producer
from eventsourcing_kafka.protocol import START, Batch, Checkpoint, decode
from eventsourcing_kafka.reader import Reader
from eventsourcing_kafka.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from eventsourcing.persistence import Notification, StoredEvent

    from eventsourcing_kafka.settings import Settings

__all__ = ["Lookup"]

T = TypeVar("T")
_Fold: TypeAlias = "Callable[[Checkpoint, int], Iterator[tuple[Batch | None, Checkpoint]]]"

_logger = getLogger(__name__)

INDEX_EVENTS_MAX = 20_000
"""The most events in one transaction of the index. Bounds memory while a long log is indexed."""
NEW_RECORDS_MAX = 100
"""The most records that are read one after the other. A reader of its own, which must connect, reads more of them faster."""
PAGE_BATCHES_MAX = 16
"""The most batches in memory at once for one answer."""


class Lookup:
    """Keeps the index up to date with the log, and reads from the log what the index finds.

    Every answer contains everything before the end of the log that the partition's leader gives for the call. Each batch is
    compared with what the index says about it; if they differ, the index is rebuilt. Safe for threads.

    All methods raise ``OperationalError`` if the broker does not answer in time.
    """

    def __init__(self, settings: Settings, identity: str) -> None:
        """Open the index of the log with this identity."""
        self._known_end = KnownEnd(settings.index_path(), identity)
        self._index = Index(settings.index_path(), identity)
        self._settings = settings
        self._connections = Connections.join(settings)
        self._fetcher = Fetcher(settings)
        self._long_reader = Reader(settings)
        self._process = OneProcess()
        self._lock = RLock()
        self._verified = False
        self._closed = False

    def events(
        self, name: str, *, gt: int | None, lte: int | None, desc: bool, limit: int | None
    ) -> Sequence[StoredEvent]:
        """Return the events of one aggregate, in order of their versions."""

        def select() -> list[StoredEvent]:
            self._index_to(self._fetcher.end())
            runs = self._index.runs(name, gt=gt, lte=lte, desc=desc, limit=-1 if limit is None else limit)
            selected: list[StoredEvent] = []
            for start in range(0, len(runs), PAGE_BATCHES_MAX):
                page = runs[start : start + PAGE_BATCHES_MAX]
                batches = self._fetcher.get({run.offset for run in page})
                for run in page:
                    rows = _events_of(run, _batch_at(run, batches), names_of(name))
                    selected += (
                        row
                        for row in (reversed(rows) if desc else rows)
                        if (gt is None or row.originator_version > gt)
                        and (lte is None or row.originator_version <= lte)
                    )
                if limit is not None and len(selected) >= limit:
                    break
            return selected[:limit]

        return self._with_index(select)

    def notifications(
        self, begin: int, *, limit: int, stop: int | None, topics: Sequence[str]
    ) -> Sequence[Notification]:
        """Return the events from position ``begin`` on, in order of position."""

        def select() -> list[Notification]:
            self._index_to(self._fetcher.end())
            selected: list[Notification] = []
            position = begin
            while len(selected) < limit and (stop is None or position <= stop):
                end = self._index.checkpoint.next
                locations = self._index.locations(position, PAGE_BATCHES_MAX)
                if locations[0].first > position if locations else end > position:
                    raise Damaged(f"It has no batch of position {position}")
                if not topics:  # then no batch beyond these positions is needed
                    locations = [found for found in locations if found.first < position + limit - len(selected)]
                if not locations:
                    break
                if len(locations) == PAGE_BATCHES_MAX and not topics:
                    last = end - 1 if stop is None else min(stop, end - 1)
                    selected += self._read_long(position, min(last, position + limit - len(selected) - 1))
                    break
                batches = self._fetcher.get([found.offset for found in locations])
                for found in locations:
                    batch = _batch_at(found, batches)
                    if found.first > position:
                        raise Damaged(f"It has no batch of position {position}")
                    selected += (
                        n
                        for n in batch.notifications()
                        if n.id >= position and (stop is None or n.id <= stop) and (not topics or n.topic in topics)
                    )
                    position = batch.last + 1
            return selected[:limit]

        return self._with_index(select)

    def _read_long(self, first: int, last: int) -> list[Notification]:
        """Return the events from one position to another one. For many batches a reader takes a fraction of a fetcher's time."""
        reader = self._long_reader
        if reader.checkpoint.next != first:
            reader.seek(self._index.checkpoint_at(first))
        found: list[Notification] = []
        end = self._index.checkpoint
        try:
            for batch in reader.read_to(end.offset):
                found += batch.notifications()
                if batch.last >= last:
                    break
        except RecordsMissing as error:
            raise Damaged(str(error)) from error
        found = [n for n in found if first <= n.id <= last]
        if [n.id for n in found] != list(range(first, last + 1)):
            raise Damaged(f"It has no batches of the positions {first} to {last}")
        if reader.checkpoint.next > last + 1 or last == end.next - 1:
            reader.rest()  # nobody reads on from there
        return found

    def last_position(self) -> int:
        """Return the position of the last event, or 0 if there is none."""

        def last() -> int:
            self._index_to(self._fetcher.end())
            return self._index.checkpoint.next - 1

        return self._with_index(last)

    def existing(self, keys: Iterable[tuple[str, int]], end: int) -> set[tuple[str, int]]:
        """Return those of these (aggregate, version) pairs that the log holds before offset ``end``."""

        def find() -> set[tuple[str, int]]:
            self._index_to(end)
            return {(name, version) for name, version in keys if self._index.holds(name, version)}

        return self._with_index(find)

    def tracked(self, names: Iterable[str], end: int | None = None) -> dict[str, int]:
        """Return the position of the last tracking of each of these applications that has one.

        As the log has them before offset ``end``, or at the end of the log.
        """

        def find() -> dict[str, int]:
            self._index_to(self._fetcher.end() if end is None else end)
            found = {name: at for name in names if (at := self._index.tracked(name)) is not None}
            batches = self._fetcher.get({at.offset for at in found.values()})
            for name, at in found.items():
                batch = batches.get(at.offset)
                written = None if batch is None else (batch.epoch, batch.writer, (batch.tracking or {}).get(name))
                if written != (at.epoch, at.writer, at.position):
                    raise Damaged(f"Offset {at.offset} does not hold the tracking of {name!r} at {at.position}")
            return {name: at.position for name, at in found.items()}

        return self._with_index(find)

    def checkpoint_at(self, position: int) -> Checkpoint:
        """Return the last known checkpoint from which a reader finds this position and all after it."""

        def find() -> Checkpoint:
            self._verify()
            for found in self._index.locations(position, 1):
                _batch_at(found, self._fetcher.get([found.offset]))
            return self._index.checkpoint_at(position)

        return self._with_index(find)

    def take_over(self) -> Writer:
        """Claim the partition, and index everything before the claim.

        Raises:
            ClaimLost, InDoubt: as ``Writer.take_over``.
        """
        self._process.check()
        with self._lock:
            self._verified = False  # since the last take-over the topic may have been restored from a backup
            self._with_index(lambda: self._index_to(self._fetcher.end()))
            producer = Producer(self._settings, self._connections)
            reused = producer.reused
            try:
                return self._claim(producer)
            except InDoubt:
                if not reused:
                    raise
                # With new connections. A claim in doubt does no harm.
                return self._claim(Producer(self._settings, self._connections))

    def _claim(self, producer: Producer) -> Writer:
        before = self._index.checkpoint
        batches: list[Batch] = []  # few: those that arrive between the indexing and the claim
        with Reader(self._settings, before) as reader:
            writer = Writer.take_over(reader, batches.append, producer=producer)
            after = reader.checkpoint
        self._with_index(lambda: self._advance(before, batches, after))
        return writer

    def add(self, before: Checkpoint, value: bytes, after: Checkpoint) -> None:
        """Index our own record, appended between two checkpoints, without reading it from the log."""
        batch = decode(value)
        if isinstance(batch, Batch) and after.offset == before.offset + 1:  # else it is read when it is needed
            batch.offset = before.offset
            with self._lock:
                self._fetcher.put(before.offset, value)
                self._with_index(lambda: self._advance(before, [batch], after))

    def close(self) -> None:
        """Close the index and the connections. Further calls raise ``ProgrammingError``."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._long_reader.close()
            self._fetcher.close()
            self._connections.leave()
            self._index.close()
            self._known_end.close()

    def _with_index(self, work: Callable[[], T]) -> T:
        """Do work that needs the index. If the index turns out to be damaged, rebuild it and repeat the work."""
        self._process.check()  # before the lock: another thread may have held it when the process was forked
        with self._lock:
            if self._closed:
                raise ProgrammingError("The recorder is closed")
            try:
                return work()
            except Damaged as error:
                self._known_end.check(self._fetcher)  # the log itself may have changed
                _logger.warning("The index of %s is built again from the log: %s", self._settings.topic, error)
                self._index.clear()
                self._fetcher.clear()
                self._long_reader.rest()
                self._long_reader.seek(START)
                self._index_to(self._fetcher.end())
                return work()

    def _index_to(self, end: int) -> None:
        """Read on until the index has everything before offset ``end``."""
        self._verify()
        before = self._index.checkpoint
        # Ask for the end again: another process may have appended, and indexed that, since the caller asked.
        if before.offset > end and before.offset > self._fetcher.end():
            raise Damaged(f"The index is at offset {before.offset}, the log ends at {end}")
        if end - before.offset <= NEW_RECORDS_MAX:
            self._advance_through(before, end, self._fetcher.fold)
            return
        with Reader(self._settings, before) as reader:

            def fold(at: Checkpoint, end: int) -> Iterator[tuple[Batch | None, Checkpoint]]:
                reader.seek(at)
                for batch in reader.read_to(end):
                    yield batch, reader.checkpoint
                yield None, reader.checkpoint  # the last records may not count

            self._advance_through(before, end, fold)

    def _advance_through(self, before: Checkpoint, end: int, fold: _Fold) -> None:
        while before.offset < end:
            batches: list[Batch] = []
            events = 0
            after = before
            for batch, after in fold(before, end):  # noqa: B007  used below
                if batch is not None:
                    batches.append(batch)
                    events += len(batch.events)
                    if events >= INDEX_EVENTS_MAX:
                        break
            self._advance(before, batches, after)
            before = self._index.checkpoint

    def _advance(self, before: Checkpoint, batches: Sequence[Batch], after: Checkpoint) -> None:
        """Index the batches between two checkpoints, unless another process has done so."""
        if self._index.advance(before, batches, after) and batches:
            self._known_end.note(batches[-1])

    def _verify(self) -> None:
        """Compare the last known batch, and the last one of the index, with the log, once.

        Raises:
            LogRolledBack: the topic was restored from a backup.
        """
        if self._verified:
            return
        self._known_end.check(self._fetcher)
        last = self._index.last()
        self._fetcher.clear()
        if last is not None:
            if last.offset >= (end := self._fetcher.end()):
                raise Damaged(f"The index has a batch at offset {last.offset}, the log ends at {end}")
            try:
                _batch_at(last, self._fetcher.get([last.offset]))
            except LogTruncated as error:
                raise Damaged(str(error)) from error
        self._verified = True


def _batch_at(location: BatchLocation | Run, batches: dict[int, Batch]) -> Batch:
    """Return the fetched batch of this location; raise Damaged if it is not the one that the index says."""
    batch = batches.get(location.offset)
    wanted = (location.first, location.epoch, location.writer)
    if (
        batch is None
        or (batch.first, batch.epoch, batch.writer) != wanted
        or (isinstance(location, BatchLocation) and len(batch.events) != location.events)
    ):
        raise Damaged(f"Offset {location.offset} does not hold the batch of position {location.first}")
    return batch


def _events_of(run: Run, batch: Batch, names: tuple[str, str]) -> list[StoredEvent]:
    found = [i for i, row in enumerate(batch.events) if row[0] in names and run.low <= row[1] <= run.high]
    if len(found) < run.high - run.low + 1:
        raise Damaged(f"Offset {run.offset} does not hold versions {run.low} to {run.high} of {names[0]}")
    return sorted(batch.only(found).stored_events(), key=lambda event: event.originator_version)
