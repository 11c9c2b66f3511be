"""Keeps librdkafka from waiting by the wall clock.

librdkafka waits until a time of the wall clock. If the clock is set back by a minute meanwhile, the wait lasts a minute
longer, unless something happens; so do the waits of the client's own threads. A thread of this process looks, by the
monotonic clock, for waits that are overdue and ends them, and it says which clients must be replaced:

    guard = WaitGuard(lambda: end_poll(consumer))
    with guard.at_most(0.05):
        consumer.consume(1, 0.05)
    if guard.stale: ...                          # replace the client

Other calls cannot be ended. `call_within` makes them in a thread, which it leaves behind if the clock is set back.
"""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoResultError
from contextlib import suppress
from math import ceil, inf
from threading import Lock, RLock, Thread
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import ref

from confluent_kafka import cimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import confluent_kafka

__all__ = ["POLL_SECONDS", "StuckError", "WaitGuard", "call_within", "end_poll", "poll_seconds", "wait_for_record"]

T = TypeVar("T")

POLL_SECONDS = 0.5
"""The longest single poll. A longer wait is several polls, so that one that is overdue is noticed soon."""
LOOK_SECONDS = 0.2
"""The time from one look for overdue waits to the next."""
GRACE_SECONDS = 1.0
"""The time after which a wait that should have ended is overdue. A busy machine needs a moment to end one."""
GRACE_STALE_SECONDS = 0.1
"""The same after the wall clock was set back."""
SET_BACK_SECONDS = 0.25
"""The least by which the wall clock must be set back for all clients to be replaced."""
CLOSE_SECONDS = 10.0
"""The longest wait for a client to close. It ends by itself afterwards."""
STALE_SECONDS = 0.3
"""The time that a call still has after the wall clock was set back. Most calls need none of it: they do not wait then."""


def wait_for_record(consumer: confluent_kafka.Consumer, seconds: float) -> Any:
    """Return the next record or error of a consumer, None if none came in that time.

    ``Consumer.poll`` would look around five times a second, and ``end_poll`` would only end its wait until the next look.
    """
    found = consumer.consume(1, seconds)
    return found[0] if found else None


def poll_seconds(deadline: float) -> float:
    """Return how long a poll may take until a time of the monotonic clock, at most ``POLL_SECONDS``; 0 where it is over.

    librdkafka rounds the seconds down to whole milliseconds. They are rounded up here: polls of 0 ms, again and again until
    the last millisecond is over, would use a whole CPU for as long.
    """
    return min(POLL_SECONDS, ceil(max(0.0, deadline - monotonic()) * 1000) / 1000)


class StuckError(Exception):
    """A call did not return in time, and was left behind with its client."""


class WaitGuard:
    """Guards the waits of one client. It belongs to the client's thread."""

    def __init__(self, end: Callable[[], object]) -> None:
        """Guard until ``close`` is called. ``end`` is called in another thread, once: it makes the client's wait end."""
        self._end = end
        self._due = inf
        self._late = inf  # the due time of the wait that was overdue at the last look
        self._ended = False
        self._closing = RLock()
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

    def close(self, client: Any, close: Callable[[], object] | None = None) -> None:
        """Close the client, by ``close`` if given, and guard no more."""
        with self._closing:
            self._ended = True  # nobody else may touch the client from now on
        with suppress(StuckError):
            call_within(CLOSE_SECONDS, client, self, close or client.close)
        self.forget()

    def forget(self) -> None:
        """Guard no more."""
        _guards.pop(id(self), None)

    def end_wait(self) -> None:
        """End the wait, or the next one; for any thread."""
        with self._closing:
            if not self._ended:
                self._end()

    def look(self) -> None:
        """End the wait if it is overdue, and was so at the last look: a process that was paused needs a moment to go on."""
        due = self._due
        if due + (GRACE_STALE_SECONDS if self.stale else GRACE_SECONDS) < monotonic():
            if due == self._late:
                self.stale = True
                with self._closing:
                    if not self._ended:
                        self._ended = True
                        self._end()
            self._late = due


def call_within(seconds: float, client: Any, guard: WaitGuard, call: Callable[[], T]) -> T:
    """Return what ``call``, a call of this client that takes at most ``seconds``, returns or raises.

    Raises:
        StuckError: it takes longer. The client must not be used any more; it is closed once the call has returned.
    """
    done: Future[T] = Future()
    left_behind = Lock()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001  # it is raised in the caller's thread
            done.set_exception(error)
        if not left_behind.acquire(blocking=False):
            with suppress(RuntimeError):  # closed already
                client.close()

    Thread(target=run, name="kafka-call", daemon=True).start()
    deadline = monotonic() + seconds + GRACE_SECONDS
    while True:
        if guard.stale:
            deadline = min(deadline, monotonic() + STALE_SECONDS)
        left = deadline - monotonic()
        try:
            return done.result(max(0.0, min(left, LOOK_SECONDS)))
        except NoResultError:
            if left <= 0 and left_behind.acquire(blocking=False):
                guard.forget()
                raise StuckError from None


# A client may be closed by the destructor of its owner, at any line of any thread. So no lock of this library that closing
# takes may be a plain one, and a guard is forgotten without any.
_guards: dict[int, ref[WaitGuard]] = {}
_watcher_lock = RLock()
_watcher: Thread | None = None


def _watch(guard: WaitGuard) -> None:
    """Look after this guard too. The thread ends when no guard is left."""
    global _watcher  # noqa: PLW0603  # one thread for all clients of the process
    number = id(guard)
    _guards[number] = ref(guard, lambda _: _guards.pop(number, None))
    with _watcher_lock:
        if _watcher is None or not _watcher.is_alive():
            _watcher = Thread(target=_look_again_and_again, name="wait-guard", daemon=True)
            _watcher.start()


def _look_again_and_again() -> None:
    global _watcher  # noqa: PLW0603  # likewise
    ahead = time() - monotonic()
    while True:
        sleep(LOOK_SECONDS)
        before, ahead = ahead, time() - monotonic()
        with _watcher_lock:
            if not _guards:
                _watcher = None
                return
        for guard in _living():
            if ahead < before - SET_BACK_SECONDS:
                guard.stale = True
            guard.look()


def _living() -> list[WaitGuard]:
    return [guard for known in tuple(_guards.values()) if (guard := known()) is not None]


def _begin_again() -> None:
    """Forget the guards of the process that has forked, but keep their clients: closing one here would wait for ever."""
    global _guards, _watcher_lock, _watcher  # the lock may be held by a thread that this process lacks
    for guard in _living():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(guard._end))  # noqa: SLF001  # the same module
    _guards, _watcher_lock, _watcher = {}, RLock(), None


os.register_at_fork(after_in_child=_begin_again)


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
    if not handle.value:  # closed, by a destructor
        return
    queue = _queue_of(handle)
    _yield(queue)
    _release(queue)
