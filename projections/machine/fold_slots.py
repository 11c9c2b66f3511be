"""Whose turn it is: threads that fold large batches do it one after another, with Python's garbage collector out of the way."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

TURN_SECONDS: Final = 5.0
"""So long does a thread wait for its turn before it goes on all the same."""


class FoldSlots:
    """Lets few threads of this process work at a time: many that take the interpreter from each other need a third more of
    the processor for the same.

    Nor does Python look for garbage meanwhile, nor among what was made meanwhile: hundreds of thousands of rows and events
    are in no cycle, and to look at them costs a tenth.

    Args:
        most: how many may work at a time now.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._taken = 0
        self._waiting: list[float] = []
        self._given = threading.Condition()

    @contextmanager
    def turn(self, weight: float) -> Iterator[None]:
        """Wait for a turn, and give it back in the end. Of those who wait the one of the most weight is next."""
        self._take(weight)
        try:
            yield
        finally:
            self._give()

    @contextmanager
    def given_way(self, weight: float) -> Iterator[None]:
        """Within a turn: let others have it, and wait for another one in the end."""
        self._give()
        try:
            yield
        finally:
            self._take(weight)

    def _take(self, weight: float) -> None:
        with self._given:
            self._waiting.append(weight)
            self._given.wait_for(lambda: self._taken < self._most() and weight >= max(self._waiting), TURN_SECONDS)
            self._waiting.remove(weight)
            self._taken += 1
            gc.disable()

    def _give(self) -> None:
        with self._given:
            self._taken -= 1
            if not self._taken:
                gc.freeze()
                gc.enable()
            self._given.notify_all()
