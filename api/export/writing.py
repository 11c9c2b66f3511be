"""The files of an export: those of the log are written beside those of the read models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from api.export.files import digest_of, write_file
from api.export.readme import readme
from api.export.tables import EVENTS, PERIODS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from api.export.manifest import FileEntry, Manifest
    from api.export.snapshot import ExportSnapshot
    from api.export.tables import ExportedTable

SAVE_SECONDS: Final = 1.0
"""The time between two writes of the manifest. What a killed run had written since the last one is written again."""


class ExportedFile(NamedTuple):
    """A file of an export: its table, its first position, and its part of the table."""

    table: ExportedTable
    first: int
    part: str


def files_of(tables: Sequence[ExportedTable], until: int) -> Iterator[ExportedFile]:
    """Yield every file of an export up to a position."""
    for table in tables:
        for first in table.firsts(until):
            for part in PERIODS if table.apart else ("",):
                yield ExportedFile(table, first, part)


def write_files(
    folder: Path,
    held: ExportSnapshot,
    chosen: Sequence[ExportedTable],
    manifest: Manifest,
    progress: Callable[[str], None],
    *,
    check: bool,
) -> list[str]:
    """Write every file that is not whole yet, and note it in the manifest; return the names of those that were written.

    With `check` a file is whole only if it has the hash that the manifest says.
    """
    files = list(files_of(chosen, held.until))
    writer = _FileWriter(folder, held, manifest, progress, check=check)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="export-finish") as finisher,
        ThreadPoolExecutor(1, thread_name_prefix="export-events") as beside,
    ):
        try:
            events = beside.submit(writer.write, [file for file in files if file.table.name == EVENTS], finisher)
            writer.write([file for file in files if file.table.name != EVENTS], finisher)
            events.result()
        except BaseException:  # Ctrl-C too: the executors wait for their threads
            writer.stop()
            raise
    names = [writer.name_of(file) for file in files]
    manifest.files = [writer.known[name] for name in names]
    write_file(folder / "README.md", readme(manifest).encode())
    manifest.save(folder)
    return [name for name in names if name in writer.written]


class _StoppedError(Exception):
    """The other thread has failed, or the export is to end."""


class _FileWriter:
    """Writes files in two threads: one reads the log, the other one reads the read models."""

    def __init__(
        self,
        folder: Path,
        held: ExportSnapshot,
        manifest: Manifest,
        progress: Callable[[str], None],
        *,
        check: bool,
    ) -> None:
        self.known = {entry.name: entry for entry in manifest.files}
        self.written: set[str] = set()
        self._folder = folder
        self._held = held
        self._manifest = manifest
        self._progress = progress
        self._check = check
        self._lock = Lock()
        self._saved = monotonic()
        self._is_stopped = False

    def name_of(self, file: ExportedFile) -> str:
        """Return the name of a file."""
        return file.table.file_name(file.first, self._held.ending, file.part)

    def write(self, files: Iterable[ExportedFile], finisher: Executor) -> None:
        """Write those files that are not whole, one after the other; one is finished while the next one is begun.

        Ends early, within a page of lines, once the writer is stopped: by `stop`, or as the other thread has failed.
        """
        finishing: list[Future[FileEntry]] = []  # at most one
        try:
            for file in files:
                self._go_on()
                if self._is_whole(file):
                    continue
                last = file.table.last(file.first, self._held.until)
                self._progress(f"{self.name_of(file)}: up to position {last:,} of {self._held.until:,}")
                rows = self._held.write_rows(file.table, self._folder, file.first, file.part, self._go_on)
                self._note(finishing)
                finishing.append(finisher.submit(self._held.finish, rows))
            self._note(finishing)
        except _StoppedError:
            return  # whoever stopped it tells why
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Let both threads end before their next page of lines."""
        self._is_stopped = True

    def _go_on(self) -> None:
        """Return while there is no reason to stop. Raises _StoppedError."""
        if self._is_stopped:
            raise _StoppedError

    def _note(self, finishing: list[Future[FileEntry]]) -> None:
        """Wait for the file that is being finished, if there is one, and note it. Save the manifest now and then."""
        while finishing:
            entry = finishing.pop().result()
            with self._lock:
                self.known[entry.name] = entry
                self.written.add(entry.name)
                if monotonic() - self._saved >= SAVE_SECONDS:
                    self._manifest.files = list(self.known.values())
                    self._manifest.save(self._folder)
                    self._saved = monotonic()

    def _is_whole(self, file: ExportedFile) -> bool:
        """Return whether the file is as the manifest says: its positions and size, with `check` its hash too."""
        entry = self.known.get(self.name_of(file))
        if entry is None or entry.last != file.table.last(file.first, self._held.until):
            return False
        path = self._folder / entry.name
        try:
            return path.stat().st_size == entry.bytes and (not self._check or digest_of(path) == entry.sha256)
        except FileNotFoundError:
            return False
