"""The use of the machine by a process: the CPU it runs on, and how often Python's garbage collector runs."""

import gc
import os
from typing import Final

# The threads of an engine share one interpreter, so only one of them runs at a time. Waking the next one takes several
# times as long on another CPU (a round trip of 105 us against 27 on the same CPU, on a virtual machine). Only Linux
# lets a process choose its CPU.

_ALL: Final = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
"""The CPUs on which this process was allowed to run when it started."""


def stay_on_one_cpu(number: int) -> None:
    """Run on one allowed CPU: on the last for 0, the last but one for 1, and so on. Interrupts mostly go to the first."""
    if len(_ALL) > 1:
        os.sched_setaffinity(0, {sorted(_ALL)[-1 - number % len(_ALL)]})


def run_anywhere() -> None:
    """Run on any CPU that was allowed at the start; for children that work beside the engine."""
    if _ALL:
        os.sched_setaffinity(0, _ALL)


THRESHOLDS: Final = (50_000, 20, 100)
"""The thresholds of `gc`: new objects before a collection, and collections of each age before one of the next age."""


def collect_rarely() -> None:
    """Have the garbage collector look at new objects rarely, and hardly ever at old ones.

    By default it runs after every 700 new objects, which is every 20 orders, and soon looks again at all objects that live:
    the replies in memory, the state. That is as much work as deciding the orders. Objects in no cycle are freed without
    it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
