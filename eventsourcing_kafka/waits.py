"""Keeps librdkafka from waiting by the wall clock.

librdkafka waits until a time of the wall clock. If the clock is set back by a minute meanwhile, the wait lasts a minute
longer, unless something happens; so do the waits of the client's own threads. A thread of this process looks, by the
monotonic clock, for waits that are overdue and ends them, and it says which clients must be replaced:

    guard = WaitGuard(lambda: end_poll(consumer))
    with guard.at_most(0.05):
        consumer.poll(0.05)
    if guard.stale: ...                          # replace the client
"""

from __future__ import annotations

import ctypes
from math import inf
from threading import Lock, Thread
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

from confluent_kafka import cimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import confluent_kafka

__all__ = ["POLL_SECONDS", "WaitGuard", "end_poll"]

POLL_SECONDS = 0.1
"""The longest single poll. A longer wait is several polls, so that one that is overdue is noticed soon."""
LOOK_SECONDS = 0.05
"""The time from one look for overdue waits to the next."""
GRACE_SECONDS = 0.1
"""The time after which a wait that should have ended is overdue. A busy machine needs a moment to end one."""
SET_BACK_SECONDS = 0.25
"""The least by which the wall clock must be set back for all clients to be replaced."""


class WaitGuard:
    """Guards the waits of one client. It belongs to the client's thread."""

    def __init__(self, end: Callable[[], object]) -> None:
        """Guard until ``close`` is called. ``end`` is called in another thread, once: it makes the client's wait end."""
        self._end = end
        self._due = inf
        self._late = inf  # the due time of the wait that was overdue at the last look
        self._ended = False
        self._closing = Lock()
        self.stale = False
        """True after a wait was overdue, or the wall clock was set back. The client must then be replaced."""
        _watch(self)

    def at_most(self, seconds: float) -> Self:
        """Guard a wait that must end within ``seconds``: use it as a context manager around the wait."""
        self._due = monotonic() + seconds
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._due = inf

    def close(self) -> None:
        """Guard no more. To be called before the client is closed."""
        with self._closing:
            self._ended = True
        with _guards_lock:
            _guards.discard(self)

    def look(self) -> None:
        """End the wait if it is overdue, and was so at the last look: a process that was paused needs a moment to go on."""
        due = self._due
        if due + GRACE_SECONDS < monotonic():
            if due == self._late:
                self.stale = True
                with self._closing:
                    if not self._ended:
                        self._ended = True
                        self._end()
            self._late = due


_guards: WeakSet[WaitGuard] = WeakSet()
_guards_lock = Lock()
_watcher: Thread | None = None


def _watch(guard: WaitGuard) -> None:
    """Look after this guard too. The thread ends when no guard is left."""
    global _watcher  # noqa: PLW0603  # one thread for all clients of the process
    with _guards_lock:
        _guards.add(guard)
        if _watcher is None or not _watcher.is_alive():
            _watcher = Thread(target=_look_again_and_again, name="wait-guard", daemon=True)
            _watcher.start()


def _look_again_and_again() -> None:
    global _watcher  # noqa: PLW0603  # likewise
    ahead = time() - monotonic()
    while True:
        sleep(LOOK_SECONDS)
        before, ahead = ahead, time() - monotonic()
        with _guards_lock:
            guards = list(_guards)
            if not guards:
                _watcher = None
                return
        for guard in guards:
            if ahead < before - SET_BACK_SECONDS:
                guard.stale = True
            guard.look()


# confluent_kafka cannot end a poll from another thread. librdkafka can: by its own functions, which these are.
_librdkafka = ctypes.CDLL(cimpl.__file__)
_queue_of = _librdkafka.rd_kafka_queue_get_consumer
_queue_of.restype, _queue_of.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
_yield, _release = _librdkafka.rd_kafka_queue_yield, _librdkafka.rd_kafka_queue_destroy
_yield.argtypes = _release.argtypes = [ctypes.c_void_p]


def end_poll(consumer: confluent_kafka.Consumer) -> None:
    """Make a poll of this consumer end at once. The consumer must not be closed meanwhile."""
    # A client's first field is librdkafka's handle: `Handle` in confluent_kafka.h, unchanged since its first version.
    handle = ctypes.c_void_p.from_address(id(consumer) + object.__basicsize__)
    queue = _queue_of(handle)
    _yield(queue)
    _release(queue)
