"""Lengths of time in microseconds, the unit of every time in the log."""

from typing import Final

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
