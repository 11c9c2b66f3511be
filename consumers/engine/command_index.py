"""The command index: the position in the log of each command's first event. Made again from the log when in doubt.

CommandIndex                what the engine needs
├── MemoryCommandIndex      a dictionary
└── DiskCommandIndex        files beside the log

On disk it is a row of hash tables in files that are mapped into memory (`command_table.py`). Each table is four times as
large as the one before. When one is full the next is begun, so nothing is ever moved, and an entry costs the same however
many there are. A look-up searches each table; their number is the logarithm of the number of commands. An entry is a
62-bit fingerprint of the command's id, and the position of its first event. Two ids may share a fingerprint: the caller
reads the event at the position, which tells for certain. (It needs the event anyway, to make the reply again.)

The mapped files survive the process. A crash of the machine may lose pages in any order, so after it the index is
thrown away and built again. So it is when a file is damaged, of another log, or of another time than the others. An older
copy of all files is no damage: it says how far it goes, and the log has the rest.

When the disk has no room for the next table, further entries stay in memory until it has, or until the process ends; the
files go on saying how far they are complete.
"""

import secrets
import struct
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Final, Protocol, Self

import structlog

from consumers.engine.command_table import PAGE_SLOTS, CommandTable, DamagedTableError, TableHeader, boot_id, short_hash
from consumers.engine.log import Checkpoint

_log: Final = structlog.get_logger()

FIRST_SLOTS: Final = 1 << 20
GROWTH_BITS: Final = 2
"""The logarithm (base 2) of a table's size to that of the one before. Every table is searched, so there should be few."""
RETRY_SECONDS: Final = 10.0
"""The time after which a table is tried again for which the disk had no room."""
MISSED_MAX: Final = 20_000
"""The most fingerprints that are kept in memory from the look-up of an id to its entry: more than two batches have."""
_HASHING: Final = blake2b(digest_size=8)
_NUMBER: Final = struct.Struct("<Q")


def fingerprint(command_id: str) -> int:
    """Return 62 bits of the id's hash, never 0: as much as compiled code holds in a register."""
    hashing = _HASHING.copy()  # quicker than a new one
    hashing.update(command_id.encode())
    return int(_NUMBER.unpack(hashing.digest())[0]) >> 2 or 1


class CommandIndex(Protocol):
    """Command id -> position of the command's first event."""

    position: int
    """Every command of the log up to this position is in the index."""

    def positions(self, command_id: str) -> list[int]:
        """Return the positions at which the command may have its first event: nearly always none or one."""

    def add(self, command_id: str, position: int) -> None:
        """Note the first event of a command that is in the log for certain; doing it again changes nothing."""

    def advance(self, checkpoint: Checkpoint) -> None:
        """Note that every command of the log up to this checkpoint is in the index."""

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Return False if the log's checkpoint at the index's position, or the first one after it, shows another log.

        To be asked with each checkpoint of the log in turn, before it is indexed.
        """

    def begin_again(self) -> None:
        """Forget everything: the log is not the one that was indexed."""

    def close(self) -> None:
        """Close the index."""


class MemoryCommandIndex:
    """An index that is built from the log at each start: about 150 bytes a command."""

    def __init__(self) -> None:
        self.position = 0
        self._positions: dict[str, int] = {}

    def positions(self, command_id: str) -> list[int]:
        """Return the position of the command's first event, if there is such a command."""
        found = self._positions.get(command_id)
        return [] if found is None else [found]

    def add(self, command_id: str, position: int) -> None:
        """Note the first event of a command."""
        self._positions[command_id] = position

    def advance(self, checkpoint: Checkpoint) -> None:
        """Note that every command up to this checkpoint is in the index."""
        self.position = checkpoint.position

    def fits(self, checkpoint: Checkpoint) -> bool:  # noqa: ARG002  it was made from this log
        """Return True."""
        return True

    def begin_again(self) -> None:
        """Forget everything."""
        self.position = 0
        self._positions.clear()

    def close(self) -> None:
        """Nothing is open."""


class DiskCommandIndex:
    """An index in files of a folder, for one process. A context manager."""

    def __init__(
        self,
        folder: Path,
        identity: str,
        *,
        first_slots: int = FIRST_SLOTS,
        hashed: Callable[[str], int] = fingerprint,
    ) -> None:
        """Open the index in the folder. Begin an empty one, at position 0, if there is none or it is in doubt.

        Args:
            folder: where the files are.
            identity: the log's: an index of another log does not count.
            first_slots: the slots of the first table; a power of two, at least `PAGE_SLOTS`.
            hashed: makes the fingerprint of an id.
        """
        assert first_slots >= PAGE_SLOTS, "a table has a page"
        self._hashed = hashed
        self._folder = folder
        self._log_hash = short_hash(identity)
        self._slots = first_slots
        self._tables: list[CommandTable] = []
        self._overflow: dict[int, list[int]] = {}
        self._missed: dict[str, int] = {}  # the fingerprints of ids that were not found: nearly all are added next
        self._is_full = False  # the disk had no room for the next table
        self._retry_at = 0.0
        self.position = 0
        self._on_disk = TableHeader(self._log_hash, 0)  # the last note in the tables; the overflow comes after it
        self._unproved: TableHeader | None = None
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except DamagedTableError as error:
            _log.warning("command_index_thrown_away", folder=str(folder), reason=str(error))
            self.begin_again()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return sum([table.entries for table in self._tables]) + sum([len(found) for found in self._overflow.values()])

    # --- open

    def _path(self, number: int) -> Path:
        return self._folder / f"commands-{number:02}"

    def _table(self, number: int) -> CommandTable:
        path = self._path(number)
        try:
            table = CommandTable(path, self._slots << GROWTH_BITS * number)
        except DamagedTableError as error:
            raise DamagedTableError(f"{path.name}: {error}") from error
        except FileNotFoundError as missing:  # a name of its own: compiled code gives a variable one type
            raise DamagedTableError(f"{path.name} is missing") from missing
        self._tables.append(table)
        return table

    def _open(self) -> None:
        """Open the tables. Raises DamagedTableError when they do not make up one index of this log."""
        files = sorted(self._folder.glob("commands-*"))
        if not files:
            self.begin_again()
            return
        first = self._table(0).header
        for number in range(1, first.tables):
            self._table(number)
        last = self._tables[-1].header
        self._check(first, last)
        for path in files:  # a next table that was not in use yet
            if path not in [table.path for table in self._tables]:
                path.unlink()
        # The tables are written one after the other: the process may have been killed in between.
        self._on_disk = first if first.position < last.position else last
        self.position = self._on_disk.position
        self._unproved = self._on_disk
        self._note(clean=False)
        self._note(clean=False)  # over both copies of the header

    def _check(self, first: TableHeader, last: TableHeader) -> None:
        """Raise DamagedTableError when the tables do not belong together, or not to this log."""
        for table in self._tables:
            header, name = table.header, table.path.name
            if header.log != self._log_hash:
                raise DamagedTableError(f"{name} is of another log")
            if header.index_id != first.index_id:
                raise DamagedTableError(f"{name} is of another index")
            if table is not self._tables[-1] and header.entries < table.limit:
                raise DamagedTableError(f"{name} is older than the other files")
        for header in (first, last):
            if not header.clean and (header.boot != boot_id() or not any(header.boot)):
                raise DamagedTableError("the machine has crashed since the last entry")

    def begin_again(self) -> None:
        """Forget everything: the log is not the one that was indexed, or the files are in doubt."""
        for table in self._tables:
            table.close()
        self._tables = []
        self._overflow = {}
        for path in self._folder.glob("commands-*"):
            path.unlink()
        self.position = 0
        self._unproved = None
        self._on_disk = TableHeader(self._log_hash, secrets.randbits(62), tables=0)
        self._grow()

    # --- grow

    def _grow(self) -> bool:
        """Begin the next table, unless the disk has no room; return whether there is one."""
        number = len(self._tables)
        path = self._path(number)
        self._on_disk = self._on_disk._replace(clean=0)
        try:
            table = CommandTable(path, self._slots << GROWTH_BITS * number, self._on_disk)
        except OSError as error:
            self._retry_at = monotonic() + RETRY_SECONDS
            if not self._is_full:
                self._is_full = True
                _log.warning("command_index_cannot_grow", file=str(path), reason=str(error))
            return False
        if number:
            self._tables[-1].write_header(self._on_disk)  # full from now on
        self._tables.append(table)
        self._on_disk = self._on_disk._replace(tables=number + 1)
        self._tables[0].write_header(self._on_disk)
        if self._is_full:
            self._is_full = False
            _log.info("command_index_grows_again", file=str(path))
        overflow, self._overflow = self._overflow, {}
        for key, positions in overflow.items():
            for position in positions:
                self._add(key, position)
        return True

    def _note(self, *, clean: bool) -> None:
        """Write how far the tables are complete. It stands in the first and the last: those between are full."""
        self._on_disk = self._on_disk._replace(clean=int(clean))
        if len(self._tables) > 1:
            self._tables[-1].write_header(self._on_disk)
        self._tables[0].write_header(self._on_disk)

    # --- use

    def positions(self, command_id: str) -> list[int]:
        """Return the positions at which a command with this id may have its first event: nearly always none or one."""
        key = self._hashed(command_id)
        found: list[int] = []
        for table in self._tables:
            table.find(key, found)
        if self._overflow:
            found += self._overflow.get(key, ())
        if not found:
            self._missed[command_id] = key
        return found

    def add(self, command_id: str, position: int) -> None:
        """Note the first event of a command that is in the log for certain; doing it again changes nothing."""
        self._add(self._missed.pop(command_id, 0) or self._hashed(command_id), position)

    def _add(self, key: int, position: int) -> None:
        if not self._is_full:
            table = self._tables[-1]
            if table.entries < table.limit:
                table.add(key, position)
                return
            if self._grow():
                self._tables[-1].add(key, position)
                return
        positions = self._overflow.setdefault(key, [])
        if position not in positions:
            positions.append(position)

    def advance(self, checkpoint: Checkpoint) -> None:
        """Note that every command of the log up to this checkpoint is in the index."""
        self.position = checkpoint.position
        if len(self._missed) > MISSED_MAX:
            self._missed.clear()
        if self._is_full and (monotonic() < self._retry_at or not self._grow()):
            return
        writer = short_hash(checkpoint.writer) if checkpoint.writer else bytes(16)
        self._on_disk = self._on_disk._replace(position=checkpoint.position, epoch=checkpoint.epoch, writer=writer)
        self._note(clean=False)

    def fits(self, checkpoint: Checkpoint) -> bool:
        """Return False if the log's checkpoint at the index's position, or the first one after it, shows another log."""
        known = self._unproved
        if known is None or checkpoint.position < known.position:
            return True
        self._unproved = None
        if not any(known.writer):  # the log names no writers
            return True
        found = (checkpoint.position, checkpoint.epoch, short_hash(checkpoint.writer))
        return found == (known.position, known.epoch, known.writer)

    def close(self) -> None:
        """Write everything to the disk and close the files; after that a crash of the machine does no harm."""
        for table in self._tables:
            table.map.flush()
        if self._tables:
            self._note(clean=True)
        for table in self._tables:
            table.map.flush()
            table.close()
        self._tables = []
