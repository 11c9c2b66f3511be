"""How a process uses the machine: which CPU it runs on, and how often Python's garbage collector looks at objects."""

import gc
import os
from typing import Final

# Threads of an engine share one interpreter, so only one of them runs at a time. Waking the next one on another CPU takes
# several times as long (27 against 105 us for a round trip on a virtual machine). Only Linux lets a process choose its CPU.

_ALL: Final = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
"""Where this process was allowed to run when it started."""


def stay_on_one_cpu(number: int) -> None:
    """Run on one of the CPUs allowed: the last for 0, that before it for 1, and so on. Interrupts mostly go to the first."""
    if len(_ALL) > 1:
        os.sched_setaffinity(0, {sorted(_ALL)[-1 - number % len(_ALL)]})


def run_anywhere() -> None:
    """Run wherever the process was allowed to at its start; for children that work beside it."""
    if _ALL:
        os.sched_setaffinity(0, _ALL)


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
