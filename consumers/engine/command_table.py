"""One hash table of the command index: a mapped file that says itself whether it is whole.

    header      twice: magic, log, index, ..., checksum. The two copies are written in turn, so one is always whole.
    word        the slot that was filled last, or is being filled, and the number of entries with it
    slots       16 bytes each: a fingerprint and a position. 0 is an empty slot. Linear probing
    checksums   4 bytes for each page of 64 slots: CRC-32C, begun with the number of the index and that of the page

A checksum is brought up to date with each entry. A process that is killed in between leaves one page whose checksum is
that of the page without the entry. The word names the slot, so the next process empties it: the index does not
claim to have this entry yet. Any other difference is damage.
"""

import errno
import mmap
import os
import struct
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from crc32c import crc32c

MAGIC: Final = b"tidings-command-index-4\0"
FULL: Final = 0.4
"""The largest share of slots in use. A search that finds nothing, as most do, looks at 1.9 slots; with 0.6 at 3.6."""
PAGE_BITS: Final = 6
"""The logarithm (base 2) of the slots of a page: 1 KiB, of which the checksum takes 0.1 microseconds."""
PAGE_SLOTS: Final = 1 << PAGE_BITS
SLOT_BYTES: Final = 16
PAGE_BYTES: Final = PAGE_SLOTS * SLOT_BYTES
HEADER: Final = struct.Struct("<24s16sQQ16sQQQQQ16s")
"""Magic, log, index, sequence, boot id, clean, tables, entries, position, epoch, writer."""
CHECKSUM: Final = struct.Struct("<I")
HEADER_BYTES: Final = 4096
_COPY_BYTES: Final = 512
_WORD: Final = 1024
_ENTRIES_BITS: Final = 31
_ZEROS: Final = bytes(1 << 20)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class DamagedTableError(Exception):
    """The file is not the table that it should be; the message says why."""


class TableHeader(NamedTuple):
    """What a table says of itself."""

    log: bytes
    """A hash of the log's identity."""
    index_id: int
    """The number of the index: random, the same in all its tables."""
    sequence: int = 0
    """The number of times that the header was written."""
    boot: bytes = b""
    """The run of the machine in which it was written."""
    clean: int = 0
    """1 when the table is closed and on the disk."""
    tables: int = 1
    """The number of tables of the index; counts in the first table only."""
    entries: int = 0
    position: int = 0
    """Every command of the log up to here is in this table and those before it."""
    epoch: int = 0
    writer: bytes = b""
    """A hash of the name of the event's writer at the position; zeros if the log names none."""


def short_hash(text: str) -> bytes:
    """Return 16 bytes of a text's hash."""
    return blake2b(text.encode(), digest_size=16).digest()


@cache
def boot_id() -> bytes:
    """Return the id of this run of the machine; zeros where it has none: then every start counts as another run."""
    try:
        return blake2b(_BOOT_ID.read_bytes(), digest_size=16).digest()
    except OSError:
        return bytes(16)


def allocate(file: BinaryIO, size: int) -> None:
    """Have the disk reserve this many bytes for an empty file: writing to a mapped file must not find the disk full.

    Raises OSError: the disk or a limit has no room.
    """
    try:
        if hasattr(os, "posix_fallocate"):  # macOS has none
            os.posix_fallocate(file.fileno(), 0, size)
            return
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:  # the file system has none
            raise
    file.writelines([_ZEROS[: size - begin] for begin in range(0, size, len(_ZEROS))])
    file.flush()


class CommandTable:
    """A hash table in a file: fingerprints of ids -> positions."""

    def __init__(self, path: Path, slots: int, new: TableHeader | None = None) -> None:
        """Map the file, or with `new` a new and empty one that has this header.

        Args:
            path: the file.
            slots: a power of two, at least `PAGE_SLOTS`.
            new: the header of a new table.

        Raises:
            DamagedTableError: the file is damaged.
            OSError: it cannot be read; or the disk has no room for a new one, which leaves no file.
        """
        self.path = path
        self.mask = slots - 1
        self.limit = int(slots * FULL)
        pages = slots >> PAGE_BITS
        size = HEADER_BYTES + pages * (PAGE_BYTES + CHECKSUM.size)
        with path.open("r+b" if new is None else "w+b") as file:
            if new is not None:
                try:
                    allocate(file, size)
                except OSError:
                    path.unlink()
                    raise
            elif (found := path.stat().st_size) != size:
                raise DamagedTableError(f"it has {found} bytes instead of {size}")
            self.map = mmap.mmap(file.fileno(), size)
        self.view = memoryview(self.map)
        self.word = self.view[_WORD : _WORD + 8].cast("Q")
        self.cells = self.view[HEADER_BYTES : HEADER_BYTES + pages * PAGE_BYTES].cast("Q")
        self.sums = self.view[HEADER_BYTES + pages * PAGE_BYTES :].cast("I")
        self.entries = self.seed = 0
        self.header = TableHeader(b"", 0)
        try:
            if new is None:
                self.header = self._read_header()
                self.seed = self.header.index_id & 0xFFFFFFFF
                self._check_pages()
                self.entries = max(self.header.entries, min(self.word[0] & ((1 << _ENTRIES_BITS) - 1), self.limit))
            else:
                self._begin(new)
        except DamagedTableError:
            self.close()
            raise

    def _begin(self, header: TableHeader) -> None:
        """Write the checksums of empty pages, and then the header, which makes the file a table."""
        empty = bytes(PAGE_BYTES)
        self.seed = header.index_id & 0xFFFFFFFF
        sums = self.sums
        for page in range(len(sums)):
            sums[page] = crc32c(empty, (self.seed + page) & 0xFFFFFFFF)
        self.write_header(header)

    def _read_header(self) -> TableHeader:
        """Return the newer one of the copies that are whole."""
        newest: TableHeader | None = None
        for begin in (0, _COPY_BYTES):
            packed = bytes(self.view[begin : begin + HEADER.size])
            (checksum,) = CHECKSUM.unpack_from(self.view, begin + HEADER.size)
            magic, *fields = HEADER.unpack(packed)
            if magic == MAGIC and checksum == crc32c(packed):
                header = TableHeader(*fields)
                if newest is None or header.sequence > newest.sequence:
                    newest = header
        if newest is None:
            raise DamagedTableError("its header is damaged, or of another version")
        return newest

    def _check_pages(self) -> None:
        """Compare all pages with their checksums. Take back an entry that was being added when the process was killed."""
        begin, sums, view = self.seed, self.sums, self.view
        for page in range(len(sums)):
            at = HEADER_BYTES + page * PAGE_BYTES
            seed = (begin + page) & 0xFFFFFFFF
            if crc32c(view[at : at + PAGE_BYTES], seed) == sums[page]:
                continue
            slot = self.word[0] >> _ENTRIES_BITS
            if slot >> PAGE_BITS == page:
                self.cells[2 * slot] = self.cells[2 * slot + 1] = 0
                if crc32c(view[at : at + PAGE_BYTES], seed) == sums[page]:
                    continue
            raise DamagedTableError(f"the checksum of page {page} is wrong")

    def add(self, key: int, position: int) -> None:
        """Add an entry, unless the table has it."""
        cells, mask = self.cells, self.mask
        slot = key & mask
        while entry := cells[2 * slot]:
            if entry == key and cells[2 * slot + 1] == position:
                return
            slot = (slot + 1) & mask
        self.entries += 1
        self.word[0] = slot << _ENTRIES_BITS | self.entries
        cells[2 * slot + 1] = position
        cells[2 * slot] = key
        page = slot >> PAGE_BITS
        at = HEADER_BYTES + page * PAGE_BYTES
        self.sums[page] = crc32c(self.view[at : at + PAGE_BYTES], (self.seed + page) & 0xFFFFFFFF)

    def find(self, key: int, found: list[int]) -> None:
        """Append the positions of a fingerprint to `found`."""
        cells, mask = self.cells, self.mask
        slot = key & mask
        while entry := cells[2 * slot]:
            if entry == key:
                found.append(cells[2 * slot + 1])
            slot = (slot + 1) & mask

    def write_header(self, header: TableHeader) -> None:
        """Write the header over the older one of its two copies, with the present number of entries."""
        sequence = self.header.sequence + 1
        self.header = header = header._replace(sequence=sequence, boot=boot_id(), entries=self.entries)
        packed = HEADER.pack(MAGIC, *header)
        begin = _COPY_BYTES * (sequence & 1)
        self.view[begin : begin + HEADER.size + CHECKSUM.size] = packed + CHECKSUM.pack(crc32c(packed))

    def close(self) -> None:
        """Unmap the file."""
        for view in (self.word, self.cells, self.sums, self.view):
            view.release()
        self.map.close()
