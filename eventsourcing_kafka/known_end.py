"""What is known of a log from before: the topic's id, and the last batch that was read from it. A file beside the index.

The index may be damaged, and is then rebuilt from the log. This file tells that from a log that was made anew, or restored
from a backup: such a log has lost events that somebody was told of, and is refused.
"""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from time import strftime
from typing import TYPE_CHECKING, NamedTuple

from eventsourcing_kafka.errors import LogRolledBack

if TYPE_CHECKING:
    from eventsourcing_kafka.fetcher import Fetcher
    from eventsourcing_kafka.protocol import Batch
    from eventsourcing_kafka.settings import Settings

__all__ = ["KnownEnd", "accept_lost_log"]

_BYTES = 512
"""The size of the file. One write within a page: a process that is killed leaves the old content or the new one."""

_WHAT_TO_DO = "Restore the topic from a copy, or call accept_lost_log(settings) to go on with the log as it is"


class LastBatch(NamedTuple):
    """The last batch that was read."""

    offset: int
    epoch: int
    writer: str
    first: int
    last: int


class KnownEnd:
    """The identity and the last known batch of one log. Not safe for threads: its owner holds a lock."""

    def __init__(self, index_path: str, identity: str) -> None:
        """Read the file beside this index; "" keeps nothing.

        Raises:
            LogRolledBack: the topic was made anew: it had another id.
        """
        self._path = _path(index_path) if index_path else None
        self._identity = identity
        self._known: LastBatch | None = None
        self._descriptor: int | None = None
        known, batch = self._read()
        if known not in {"", identity}:
            position = batch.last if batch else 0
            raise LogRolledBack(
                f"The topic was made anew: its id and partition are {identity}, and were {known} when the log was last "
                f"read, up to position {position}. {_WHAT_TO_DO}"
            )
        self._known = batch

    def note(self, batch: Batch) -> None:
        """Keep the last batch that the log has for certain."""
        self._known = LastBatch(batch.offset, batch.epoch, batch.writer, batch.first, batch.last)
        if self._path is not None:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            content = json.dumps([self._identity, *self._known]).encode()
            os.pwrite(self._descriptor, (_hash(content) + b" " + content).ljust(_BYTES), 0)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def check(self, fetcher: Fetcher) -> None:
        """Raise LogRolledBack unless the log still holds the last known batch."""
        _, noted = self._read()  # another process may have read on
        known = max(filter(None, (noted, self._known)), default=None, key=lambda batch: (batch.last, batch.offset))
        if known is None:
            return
        fetcher.clear()
        end = fetcher.end()
        if known.offset < end:
            batch = fetcher.get([known.offset]).get(known.offset)
            if batch is not None and (batch.epoch, batch.writer, batch.first, batch.last) == known[1:]:
                return
            problem = f"it has another record at offset {known.offset}"
        else:
            problem = f"it ends at offset {end}, before {known.offset + 1}"
        raise LogRolledBack(f"The log was known up to position {known.last}, and now {problem}. {_WHAT_TO_DO}")

    def _read(self) -> tuple[str, LastBatch | None]:
        if self._path is None or not self._path.exists():
            return "", None
        digest, _, content = self._path.read_bytes().rstrip().partition(b" ")
        if digest != _hash(content):  # damaged: then nothing is known
            return "", None
        identity, *batch = json.loads(content)
        return identity, LastBatch(*batch)


def accept_lost_log(settings: Settings) -> None:
    """Forget what was known of the log, so that recorders accept it as it is: made anew, or rolled back.

    The file is renamed; it tells where the lost log ended. No recorder of this index may be open.
    """
    index_path = settings.index_path()
    if index_path and (path := _path(index_path)).exists():
        path.rename(path.with_name(f"lost-{strftime('%Y%m%dT%H%M%S')}-{path.name}"))


def _path(index_path: str) -> Path:
    return Path(index_path + ".known")


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).hexdigest().encode()
