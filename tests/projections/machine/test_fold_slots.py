"""FoldSlots: only a few threads fold at a time; of those that wait, the one of most weight is next."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

from local.processes import polls
from projections.machine.fold_slots import FoldSlots

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT = 10.0


def started(work: Callable[[], None]) -> threading.Thread:
    """Return a thread that runs this function."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def waiting(slots: FoldSlots, count: int) -> bool:
    """Return whether this many threads come to wait for a slot."""
    return any(len(slots._waiting) == count for _ in polls(WAIT))


def test_the_heaviest_is_next() -> None:
    """Of three threads that wait for the only slot, the one of most weight gets it first, whichever came first."""
    slots = FoldSlots(lambda: 1)
    order: list[float] = []

    def work(weight: float) -> None:
        with slots.slot(weight):
            order.append(weight)

    with slots.slot(9.0):
        threads = [started(lambda weight=weight: work(weight)) for weight in (1.0, 3.0, 2.0)]  # type: ignore[misc]
        assert waiting(slots, 3)
        assert order == []
    for thread in threads:
        thread.join(WAIT)

    assert order == [3.0, 2.0, 1.0]


def test_a_released_slot_goes_to_another_thread() -> None:
    """A thread that releases its slot continues after the other one has used it; no garbage is collected meanwhile."""
    slots = FoldSlots(lambda: 1)
    order: list[str] = []

    def other() -> None:
        with slots.slot(1.0):
            order.append("other")

    with slots.slot(2.0):
        thread = started(other)
        assert waiting(slots, 1)
        assert not gc.isenabled()
        with slots.released(2.0):
            thread.join(WAIT)
        order.append("first")

    assert order == ["other", "first"]
    assert gc.isenabled()
