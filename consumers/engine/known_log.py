"""What is known of a log from before: which log it is, and where it ended. A file beside the log keeps it.

A log that is another one, or that no longer holds what it once confirmed, has lost events that somebody was told of: its
topic or database was made anew, or its disk was restored from a backup. An engine that went on would give the same
positions to other events. So it stops, and people decide. Nothing is deleted: a snapshot may be the last copy of the state.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import structlog

from consumers.engine.log import START, Checkpoint, Log, LogLost, StaleCheckpoint

_log: Final = structlog.get_logger()

_BYTES: Final = 1024
"""The size of the file. One write within a page: a process that is killed leaves the old content or the new one."""

WHAT_TO_DO: Final = (
    "Stop all processes, and bring the whole log back from a copy if there is one. If there is none, start once with "
    "--accept-lost-log: the exchange then goes on with the log as it is, and what was kept of the lost one is put aside. "
    "See docs/lost-log.md"
)


class _KnownEnd(msgspec.Struct):
    identity: str
    checkpoint: Checkpoint


class KnownLog:
    """The identity and the last known end of one log. The file is written with every append that the log confirms."""

    def __init__(self, base: Path | None, place: str) -> None:
        """Read what is known of the log at this place. Without `base` it is known only while the process runs."""
        self._path = base / f"known-{place}" if base is not None else None
        self._descriptor: int | None = None
        self.identity = ""
        self.checkpoint = START
        if self._path is not None and self._path.exists():
            self._read(self._path)

    def check(self, log: Log) -> None:
        """Raise LogLost unless this is the known log, with all that it confirmed. Raises InDoubt: it cannot be reached."""
        identity = log.identity()
        if self.identity not in {"", identity}:
            raise LogLost(
                f"The log was made anew: it is {identity}, and it was {self.identity} with events up to position "
                f"{self.checkpoint.position}. {WHAT_TO_DO}"
            )
        try:
            log.check(self.checkpoint)
        except StaleCheckpoint as error:
            raise LogLost(
                f"The log {identity} has lost events: it was known up to position {self.checkpoint.position}, "
                f"and now {error}. {WHAT_TO_DO}"
            ) from error
        self.identity = identity

    def note(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint that the log has for certain; `check` has been called."""
        self.checkpoint = checkpoint
        if self._path is None:
            return
        content = msgspec.json.encode(_KnownEnd(self.identity, checkpoint))
        with suppress(OSError):  # a full disk: an older end is known then, which is true as well
            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            os.pwrite(self._descriptor, (_hash(content) + b" " + content).ljust(_BYTES), 0)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _read(self, path: Path) -> None:
        digest, _, content = path.read_bytes().rstrip().partition(b" ")
        if digest == _hash(content):
            read = msgspec.json.decode(content, type=_KnownEnd)
            self.identity, self.checkpoint = read.identity, read.checkpoint
        else:
            _log.warning("known_log_unreadable", file=path.name, reason="its checksum is wrong")


@contextmanager
def lost_if_stale() -> Iterator[None]:
    """Raise LogLost where a checkpoint turns out to be stale: what was derived from the log knows more than the log holds."""
    try:
        yield
    except StaleCheckpoint as error:
        raise LogLost(f"The log has lost events that the files beside it know: {error}. {WHAT_TO_DO}") from error


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).hexdigest().encode()
