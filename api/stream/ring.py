"""The last entries of the log, in memory, for subscribers that are not far behind."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.stream.frames import LogEntry

ENTRIES_MAX: Final = 20_000
"""The most entries."""

BYTES_MAX: Final = 32 * 1024 * 1024
"""The most bytes of all entries."""

SPARE: Final = 1_000
"""The entries that are dropped at a time: to drop them one by one would move the rest each time."""


class Ring:
    """Entries in the order of the log; all positions after `begins` up to `end` are here."""

    def __init__(self) -> None:
        self.begins = 0
        self.end = 0
        self._entries: list[LogEntry] = []
        self._positions: list[int] = []
        self._bytes = 0

    def clear(self, position: int) -> None:
        """Forget all entries, and go on after a position."""
        self.begins = self.end = position
        self._entries, self._positions, self._bytes = [], [], 0

    def extend(self, entries: Iterable[LogEntry]) -> None:
        """Add the next entries; drop the oldest ones where there are too many."""
        for entry in entries:
            self._entries.append(entry)
            self._positions.append(entry.position)
            self._bytes += entry.size
        if self._positions:
            self.end = self._positions[-1]
        while len(self._entries) > ENTRIES_MAX + SPARE or self._bytes > BYTES_MAX:
            count = max(1, min(SPARE, len(self._entries) - 1))
            if len(self._entries) <= 1:
                break
            self._bytes -= sum(entry.size for entry in self._entries[:count])
            self.begins = self._positions[count - 1]
            del self._entries[:count], self._positions[:count]

    def covers(self, position: int) -> bool:
        """Return whether everything after a position is here."""
        return position >= self.begins

    def after(self, position: int, most: int) -> Sequence[LogEntry]:
        """Return the next entries after a position, at most so many."""
        first = bisect_right(self._positions, position)
        return self._entries[first : first + most]
