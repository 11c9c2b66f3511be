"""Python's garbage collector in the processes that make very many objects and hardly any cycles."""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""So many more objects made than dropped, and the young ones are looked at; every so many times the older ones, too."""


def collect_rarely() -> None:
    """Have the garbage collector look at new objects rarely, and hardly ever at old ones.

    By default it looks after every 700 objects, which is every 20 orders, and soon again at all that lives: outcomes that
    are remembered, the state. That is as much work as deciding the orders. What is in no cycle is freed without it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
