"""Turns of costly reads: few at a time, one caller after the other, and with rests while others wait.

A costly read keeps a CPU of the database busy. Orders need the database too, and a database knows no order of precedence. So
when costly reads come faster than they are done, they take half of the time of their CPUs.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict, deque
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REST: Final = 1.0
"""The rest of a place after a read, in times of that read, if others wait for it."""


class CostlyTurns:
    """The places of one server in which costly reads run, and who waits for one. It belongs to the server's event loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, subject: str) -> AsyncIterator[None]:
        """Hold a place. Whoever waits gets one subject after the other, whatever the number of each one's reads."""
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait(subject)
        began = monotonic()
        try:
            yield
        finally:
            if self._waiting:
                asyncio.get_running_loop().call_later(REST * (monotonic() - began), self._pass_on)
            else:
                self._free += 1

    async def _wait(self, subject: str) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(subject, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()  # it was my turn just now
            else:
                self._forget(subject, mine)
            raise

    def _forget(self, subject: str, waiter: asyncio.Future[None]) -> None:
        own = self._waiting.get(subject, deque())
        if waiter in own:
            own.remove(waiter)
            if not own:
                del self._waiting[subject]

    def _pass_on(self) -> None:
        """Give a place to the subject whose turn it is; it comes last from then on."""
        while self._waiting:
            subject, own = self._waiting.popitem(last=False)
            waiter = own.popleft()
            if own:
                self._waiting[subject] = own
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1


def places_for(chosen: int, threads: int) -> int:
    """Return how many costly reads may run at a time: as chosen, 0 is half of the CPUs. Of two threads one is for others."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(chosen or cpus // 2, threads - 1))
