"""Keeps log files short while a broker is away: one line, and then one a minute that says how many were left out.

librdkafka logs every failed attempt to connect, for each connection, many times a second.
"""

from __future__ import annotations

import logging
from threading import RLock
from time import monotonic

__all__ = ["LeaveOut", "broker_away", "librdkafka_log"]

SECONDS = 60.0
"""The time from one line to the next."""


class LeaveOut:
    """Counts lines of one kind, and says which are to be left out."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """The first line counts at once, then one in each ``seconds``."""
        self._seconds = seconds
        self._next_at = 0.0
        self._left_out = 0
        self._lock = RLock()  # a line may be logged by a destructor, in the middle of this

    def count(self) -> int | None:
        """Count a line: return how many were left out since the last one, or None if this one is to be left out too."""
        with self._lock:
            now = monotonic()
            if now < self._next_at:
                self._left_out += 1
                return None
            self._next_at = now + self._seconds
            left_out, self._left_out = self._left_out, 0
            return left_out


broker_away = LeaveOut()
"""All lines of this process about a broker that is away, of whatever client."""


_ABOUT_SETTINGS = "CONFWARN"
"""How librdkafka begins a line about its settings, when a client is made."""


class _LeaveOutFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or _log.isEnabledFor(logging.DEBUG):
            return True
        if record.getMessage().startswith(_ABOUT_SETTINGS):
            return True
        left_out = broker_away.count()
        if left_out is None:
            return False
        record.exc_info = record.exc_text = None  # where in the client a connection was lost tells nobody anything
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} more lines about the broker were left out before this one)"
            record.args = ()
        return True


_log = logging.getLogger("eventsourcing_kafka")
_filter = _LeaveOutFilter()

librdkafka_log = logging.getLogger("eventsourcing_kafka.librdkafka")
"""Where every client of librdkafka logs. At the level DEBUG of the logger ``eventsourcing_kafka`` nothing is left out."""
librdkafka_log.addFilter(_filter)
