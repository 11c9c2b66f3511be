"""An export of a range of positions as a tar archive, made file by file while it is sent.

Tar, because each file stands in it with its size before it: the archive can be written and unpacked as it flows, by any
system. Its last file is the manifest, so an archive without one is not whole.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from api.export.manifest import NAME, Manifest, TableEntry
from api.export.readme import readme
from api.export.snapshot import ExportSnapshot, ExportSource, marks_of
from api.export.tables import PERIODS
from messages.wire import format_time
from projections.machine.known_log import log_identity

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

    from api.export.manifest import FileEntry
    from api.export.tables import ExportedTable

    Ask = Callable[[Callable[[Connection[Any]], Any]], Awaitable[Any]]
    """Runs a question on a connection to the read models, elsewhere than in the event loop."""

READ_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class ArchiveRange:
    """The tables that are wanted, of the positions after one up to another, as JSON lines."""

    tables: Sequence[ExportedTable]
    after: int
    until: int


async def archive(
    log: ApplicationRecorder, partition: int, wanted: ArchiveRange, ask: Ask
) -> AsyncGenerator[bytes, None]:
    """Yield the archive in parts. Each file is written on a connection of `ask`.

    What a table had at a position never changes, so the files need no common transaction.
    """
    with tempfile.TemporaryDirectory(prefix="tidings-export-") as name:
        folder = Path(name)
        time, before_minute = await ask(lambda connection: marks_of(connection, wanted.until, partition))
        entries: list[FileEntry] = []
        for table in wanted.tables:
            for part in PERIODS if table.apart else ("",):

                def write(connection: Connection[Any], table: ExportedTable = table, part: str = part) -> FileEntry:
                    of_request = ExportSource(log, connection, partition)
                    held = ExportSnapshot(of_request, wanted.until, time, before_minute, None, None)
                    with connection.transaction():
                        return held.write(table, folder, wanted.after + 1 if table.grows else 1, part)

                entry = await ask(write)
                entries.append(entry)
                async for block in _member(folder / entry.name, entry.name):
                    yield block
                (folder / entry.name).unlink()
        manifest = Manifest(
            log=log_identity(log),
            partition=partition,
            until=wanted.until,
            time=format_time(time) if time else None,
            format="jsonl",
            markets=None,
            tables={
                table.name: TableEntry(wanted.until, dict(table.columns.items()), list(table.key))
                for table in wanted.tables
            },
            files=entries,
        )
        (folder / "README.md").write_text(readme(manifest), encoding="utf-8")
        manifest.save(folder)
        for last in ("README.md", NAME):
            async for block in _member(folder / last, last):
                yield block
        yield bytes(2 * tarfile.BLOCKSIZE)


async def _member(path: Path, name: str) -> AsyncGenerator[bytes, None]:
    """Yield a file as tar has it: a header, its bytes, and zeros up to a whole block. Nothing in it depends on the clock."""
    info = tarfile.TarInfo(name)
    with path.open("rb") as file:
        info.size = os.fstat(file.fileno()).st_size
        yield info.tobuf(tarfile.PAX_FORMAT)
        while block := await to_thread.run_sync(file.read, READ_BYTES):
            yield block
    yield bytes(-info.size % tarfile.BLOCKSIZE)
