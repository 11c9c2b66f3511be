"""Requests that wait for read models: futures of the event loop, bounded in number and in time.

A wait holds no thread and no database connection. The listener of `projections.machine.progress` wakes it; it ends at its
deadline, when its client disconnects, and when the server stops.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import ClientDisconnect

from api.http.errors import ApiError
from projections.reading import needs_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.types import Receive

    from projections.machine.progress import Progress
    from projections.reading import Need

Crowd = Literal["anonymous", "keys", "writes"]
"""Who waits: reads without a key, reads with one, writes. Each crowd has its own bound: none can crowd out another."""


class Waits:
    """The waits of one server. All methods but `end` belong to its event loop."""

    def __init__(self, progress: Progress, waits_max: int) -> None:
        """Allow each crowd this many waits at a time."""
        self._progress = progress
        self._waits_max = waits_max
        self._waiting: defaultdict[Crowd, set[asyncio.Future[bool]]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = False
        self.told = 0
        """The highest position that this server has named in a reply: whoever got it may ask for what it made."""

    def is_followed(self) -> bool:
        """Return whether the positions of the read models are still followed, so that waits can end."""
        return self._progress.running

    def position(self, needs: Iterable[Need]) -> int:
        """Return the last known position that all of these read models have reached."""
        return self._progress.position(needs_of(needs))

    async def reached(
        self, request: Request | None, crowd: Crowd, needs: Iterable[Need], position: int, deadline: float
    ) -> bool:
        """Wait until these read models have folded the position; return whether they did by the deadline (`monotonic`).

        Without a request the wait does not end when a client leaves.

        Raises:
            ApiError: TOO_MANY_WAITS, when as many of the crowd wait as may.
            ClientDisconnect: nobody waits for the answer any more.
        """
        names = needs_of(needs)
        if self._progress.position(names) >= position:
            return True
        seconds = deadline - monotonic()
        if seconds <= 0 or self._ended:
            return False
        waiting = self._waiting[crowd]
        if len(waiting) >= self._waits_max:
            raise ApiError(
                "TOO_MANY_WAITS",
                "too many requests wait for the read models",
                {"waits_max": self._waits_max},
                retry_after_seconds=1,
            )
        self._loop = asyncio.get_running_loop()
        with self._progress.waiting(names, position) as found:
            future = asyncio.wrap_future(found)
            waiting.add(future)
            try:
                if request is None:
                    await asyncio.wait([future], timeout=seconds)
                    return future.done() and not future.cancelled() and future.result()
                return await _result_unless_gone(future, request.scope["tidings.receive"], seconds)
            finally:
                waiting.discard(future)

    def end(self) -> None:
        """End all waits, and let none begin, from any thread: what they wait for counts as not reached."""
        self._ended = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._cancel_all)

    def _cancel_all(self) -> None:
        for waiting in self._waiting.values():
            for future in waiting:
                future.cancel()


async def _result_unless_gone(future: asyncio.Future[bool], receive: Receive, seconds: float) -> bool:
    """Return the result of the future, False when it is late or canceled; raises ClientDisconnect."""
    gone = asyncio.ensure_future(disconnected(receive))
    either: set[asyncio.Future[Any]] = {future, gone}
    try:
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if future.done():
        return not future.cancelled() and future.result()
    if gone.done():
        raise ClientDisconnect
    return False


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected. The rest of a body is passed over."""
    while (await receive())["type"] != "http.disconnect":
        pass
