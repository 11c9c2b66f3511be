"""On which CPU a process runs: an engine's threads take turns anyway, and turns are dear between CPUs.

Its own thread and those of its Kafka clients share one interpreter, so only one of them runs at a time. Where the next one
has to be woken on another CPU, that takes several times as long (27 against 105 us there and back on a virtual machine).
Only Linux lets a process choose; elsewhere nothing happens.
"""

import os
from typing import Final

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
