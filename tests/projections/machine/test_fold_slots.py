"""FoldSlots: few threads work at a time, the weightiest of those who wait first."""

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
    """Return a thread that does this."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def waiting(turns: FoldSlots, count: int) -> bool:
    """Return whether so many threads come to wait for a turn."""
    return any(len(turns._waiting) == count for _ in polls(WAIT))


def test_the_weightiest_is_next() -> None:
    """Of three who wait for the only turn the one of the most weight has it first, whoever came first."""
    turns = FoldSlots(lambda: 1)
    order: list[float] = []

    def work(weight: float) -> None:
        with turns.turn(weight):
            order.append(weight)

    with turns.turn(9.0):
        threads = [started(lambda weight=weight: work(weight)) for weight in (1.0, 3.0, 2.0)]  # type: ignore[misc]
        assert waiting(turns, 3)
        assert order == []
    for thread in threads:
        thread.join(WAIT)

    assert order == [3.0, 2.0, 1.0]


def test_giving_way_lets_another_one_work_meanwhile() -> None:
    """Who gives way within its turn goes on when the other one has had one; python collects garbage only between turns."""
    turns = FoldSlots(lambda: 1)
    order: list[str] = []

    def other() -> None:
        with turns.turn(1.0):
            order.append("other")

    with turns.turn(2.0):
        thread = started(other)
        assert waiting(turns, 1)
        assert not gc.isenabled()
        with turns.given_way(2.0):
            thread.join(WAIT)
        order.append("first")

    assert order == ["other", "first"]
    assert gc.isenabled()
