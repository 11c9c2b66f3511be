"""Refuses what was opened before a fork. The child has none of the threads that its connections need: it would wait for ever."""

from __future__ import annotations

import os

from eventsourcing_kafka.library import ProgrammingError

__all__ = ["OneProcess"]


class OneProcess:
    """Belongs to the process in which it was made."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_this(self) -> bool:
        """False in a process that was forked later."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Raise ProgrammingError in a process that was forked later."""
        if not self.is_this:
            raise ProgrammingError(
                f"Opened in process {self._pid}, which has forked since: recorders, readers and writers do not work in "
                f"process {os.getpid()}. Open them after the fork"
            )
