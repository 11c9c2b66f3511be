"""Fold slots: a bound on how many threads fold large batches at a time, with Python's garbage collector out of the way."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SLOT_SECONDS: Final = 5.0
"""The longest that a thread waits for a slot; then it continues without a free one."""


class FoldSlots:
    """Lets only a few threads of this process fold at a time: threads that contend for the GIL cost a third more CPU.

    The garbage collector is off while any of them folds. What they create is then excluded from collections: hundreds of
    thousands of rows and events are part of no cycle, and traversing them costs a tenth of the CPU.

    Args:
        slots: returns how many threads may fold at a time now.
    """

    def __init__(self, slots: Callable[[], int]) -> None:
        self._slots = slots
        self._taken = 0
        self._waiting: list[float] = []
        self._changed = threading.Condition()

    @contextmanager
    def slot(self, weight: float) -> Iterator[None]:
        """Wait for a slot and hold it inside the context. Of the threads that wait, the one of most weight is next."""
        self._take(weight)
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def released(self, weight: float) -> Iterator[None]:
        """Within a slot: give it back inside the context, and wait for another one at its end."""
        self._give_back()
        try:
            yield
        finally:
            self._take(weight)

    def _take(self, weight: float) -> None:
        with self._changed:
            self._waiting.append(weight)
            self._changed.wait_for(lambda: self._taken < self._slots() and weight >= max(self._waiting), SLOT_SECONDS)
            self._waiting.remove(weight)
            self._taken += 1
            gc.disable()

    def _give_back(self) -> None:
        with self._changed:
            self._taken -= 1
            if not self._taken:
                gc.freeze()
                gc.enable()
            self._changed.notify_all()
