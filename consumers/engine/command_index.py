"""The command index: the position in the log of each command's first event. Made again from the log when it is missing.

CommandIndex                what the engine needs
├── MemoryCommandIndex      a dictionary
└── DiskCommandIndex        files beside the log

On disk it is a row of hash tables in files that are mapped into memory. Each table is four times as large as the one
before. When one is full the next is begun, so nothing is ever moved, and an entry costs the same however many there
are. A look-up searches each table; their number is the logarithm of the number of commands. An entry is a 62-bit
fingerprint of the command's id, and the position of its first event. Two ids may share a fingerprint: the caller reads
the event at the position, which tells for certain. (It needs the event anyway, to make the reply again.)

The mapped files survive the process. A crash of the machine may lose pages in any order, so after it the index is
thrown away and built again.
"""

import mmap
import struct
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol, Self

MAGIC: Final = b"tidings-command-index-3\0"
FIRST_SLOTS: Final = 1 << 20
GROWTH_BITS: Final = 2
"""The logarithm (base 2) of a table's size to that of the one before. Every table is searched, so there should be few."""
FULL: Final = 0.4
"""The largest share of slots in use. A search that finds nothing, as most do, looks at 1.9 slots; with 0.6 at 3.6."""
_HEADER: Final = struct.Struct("<24s16sQQQ")  # magic, boot id, clean, entries, position
_HEADER_BYTES: Final = 4096
_HASHING: Final = blake2b(digest_size=8)
_NUMBER: Final = struct.Struct("<Q")
_SLOT_BYTES: Final = 16
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def fingerprint(command_id: str) -> int:
    """Return 62 bits of the id's hash, never 0: as much as compiled code holds in a register."""
    hashing = _HASHING.copy()  # quicker than a new one
    hashing.update(command_id.encode())
    return int(_NUMBER.unpack(hashing.digest())[0]) >> 2 or 1


@cache
def _boot() -> bytes:
    """Return the id of this run of the machine; zeros where it has none: then every start counts as another run."""
    try:
        return blake2b(_BOOT_ID.read_bytes(), digest_size=16).digest()
    except OSError:
        return b"\0" * 16


class CommandIndex(Protocol):
    """Command id -> position of the command's first event."""

    position: int
    """Every command of the log up to this position is in the index."""

    def positions(self, command_id: str) -> list[int]:
        """Return the positions at which the command may have its first event: nearly always none or one."""

    def add(self, command_id: str, position: int) -> None:
        """Note the first event of a command that is in the log for certain; doing it again changes nothing."""

    def advance(self, position: int) -> None:
        """Note that every command of the log up to this position is in the index."""

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

    def advance(self, position: int) -> None:
        """Note that every command up to this position is in the index."""
        self.position = position

    def begin_again(self) -> None:
        """Forget everything."""
        self.position = 0
        self._positions.clear()

    def close(self) -> None:
        """Nothing is open."""


class _Table:
    """One hash table in a mapped file, with linear probing."""

    def __init__(self, path: Path, slots: int) -> None:
        self.path = path
        size = _HEADER_BYTES + slots * _SLOT_BYTES
        with path.open("a+b") as file:
            file.truncate(size)
            self.map = mmap.mmap(file.fileno(), size)
        self.view = memoryview(self.map)
        self.cells = self.view[_HEADER_BYTES:].cast("Q")
        self.mask = slots - 1
        self.limit = int(slots * FULL)
        magic, boot, clean, self.entries, self.position = _HEADER.unpack_from(self.map)
        self.whole = magic == MAGIC and (clean == 1 or (boot == _boot() and any(boot)))

    def add(self, key: int, position: int) -> None:
        cells, mask = self.cells, self.mask
        slot = key & mask
        while entry := cells[2 * slot]:
            if entry == key and cells[2 * slot + 1] == position:
                return
            slot = (slot + 1) & mask
        cells[2 * slot + 1] = position
        cells[2 * slot] = key
        self.entries += 1

    def note(self, *, clean: bool, position: int) -> None:
        _HEADER.pack_into(self.map, 0, MAGIC, _boot(), clean, self.entries, position)

    def close(self) -> None:
        self.cells.release()
        self.view.release()
        self.map.close()


class DiskCommandIndex:
    """An index in files of a folder, for one process. A context manager."""

    def __init__(
        self, folder: Path, *, first_slots: int = FIRST_SLOTS, hashed: Callable[[str], int] = fingerprint
    ) -> None:
        """Open the index in the folder; begin an empty one, at position 0, if there is none or it is damaged.

        `first_slots` is a power of two; `hashed` makes the fingerprint of an id.
        """
        self._hashed = hashed
        self._folder = folder
        self._slots = first_slots
        folder.mkdir(parents=True, exist_ok=True)
        self._tables = [self._open(number) for number in range(len(list(folder.glob("commands-*"))) or 1)]
        if not all(table.whole for table in self._tables):
            self._empty()
        self.position = self._tables[0].position
        self._tables[0].note(clean=False, position=self.position)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return sum(table.entries for table in self._tables)

    def _open(self, number: int) -> _Table:
        return _Table(self._folder / f"commands-{number:02}", self._slots << GROWTH_BITS * number)

    def _empty(self) -> None:
        for table in self._tables:
            table.close()
            table.path.unlink()
        self._tables = [self._open(0)]

    def begin_again(self) -> None:
        """Forget everything: the log is not the one that was indexed."""
        self._empty()
        self.position = 0
        self._tables[0].note(clean=False, position=0)

    def positions(self, command_id: str) -> list[int]:
        """Return the positions at which a command with this id may have its first event: nearly always none or one."""
        key = self._hashed(command_id)
        found: list[int] = []
        for table in self._tables:
            cells, mask = table.cells, table.mask
            slot = key & mask
            while entry := cells[2 * slot]:
                if entry == key:
                    found.append(cells[2 * slot + 1])
                slot = (slot + 1) & mask
        return found

    def add(self, command_id: str, position: int) -> None:
        """Note the first event of a command that is in the log for certain; doing it again changes nothing."""
        table = self._tables[-1]
        if table.entries >= table.limit:
            table.note(clean=False, position=self.position)
            table = self._open(len(self._tables))
            self._tables.append(table)
        table.add(self._hashed(command_id), position)

    def advance(self, position: int) -> None:
        """Note that every command of the log up to this position is in the index."""
        self.position = position
        self._tables[-1].note(clean=False, position=position)
        if len(self._tables) > 1:
            self._tables[0].note(clean=False, position=position)

    def close(self) -> None:
        """Write everything to the disk and close the files; after that a crash of the machine does no harm."""
        for table in self._tables:
            table.map.flush()
            table.note(clean=True, position=self.position)
            table.map.flush()
            table.close()
