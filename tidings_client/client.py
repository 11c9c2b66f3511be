"""`Client` and `AsyncClient`: the same calls, over a blocking and over an awaiting transport of httpx.

    with Client("http://127.0.0.1:8000", key) as client:
        order = client.place_order(market_id="combat", outcome="Yes", side="buy", type="market", spend="25")
        print(order.status, client.get_market("combat").data.odds)

A call is sent again until it has an answer: while the connection breaks, and on 429 and 503, with growing pauses. A write
keeps its `Idempotency-Key` or `client_order_id` meanwhile, so it has one effect. Reads wait until the read models show this
client's own last write.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpx

from tidings_client.call import AwaitingClient, BlockingClient
from tidings_client.calls import Calls
from tidings_client.conversation import Session, conversation
from tidings_client.streams import Follower

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from tidings_client.call import Call
    from tidings_client.models import Event
    from tidings_client.streams import Message

T = TypeVar("T")

DEFAULT_CHANNELS: Final = ("trades", "prices", "lifecycle")
"""What everybody may see."""

_LOG_PAGE: Final = 1000
"""The events of one page of the log."""


class _Common(Calls):
    def __init__(
        self, url: str, key: str | None = None, *, retry_seconds: float | None = None, wait_for_server: bool = True
    ) -> None:
        """Prepare a client; nothing is connected yet.

        Args:
            url: the exchange, such as `http://127.0.0.1:8000`.
            key: an API key; None for what is public.
            retry_seconds: the time for which a call is sent again; None: as long as it takes.
            wait_for_server: False gives up at once while no server has ever answered.

        Raises:
            ValueError: the URL or the key cannot be one.
        """
        self._session = Session.of(url, key, retry_seconds, is_patient=wait_for_server)

    @property
    def url(self) -> str:
        """The URL of the exchange."""
        return str(self._session.url)

    @property
    def position(self) -> int:
        """The position of this client's last write, 0 before the first: its reads wait for it."""
        return self._session.position

    @position.setter
    def position(self, position: int) -> None:
        """Let reads wait for this position, for example one that another program has told."""
        self._session.position = position


class Client(_Common, BlockingClient):
    """A blocking client of one exchange, for one thread at a time. A context manager."""

    def __init__(
        self, url: str, key: str | None = None, *, retry_seconds: float | None = None, wait_for_server: bool = True
    ) -> None:
        super().__init__(url, key, retry_seconds=retry_seconds, wait_for_server=wait_for_server)
        self._http = httpx.Client()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Send a call until it has an answer, and return it. Raises UnreachableError and ApiError."""
        steps = conversation(self._session, call)
        step = next(steps)
        while True:
            came: httpx.Response | httpx.TransportError | None = None
            if isinstance(step, httpx.Request):
                try:
                    came = self._http.send(step)
                except httpx.TransportError as error:
                    came = error
            else:
                time.sleep(step)
            try:
                step = steps.send(came)
            except StopIteration as done:
                found: T = done.value
                return found

    def events(self, after: int = 0, **filters: Any) -> Generator[Event]:
        """Yield every event of the log after this position, to its end; `filters` as for `list_events`."""
        while True:
            last = after
            for event in self.list_events(after=after, page_size=_LOG_PAGE, **filters):
                yield event
                last = event.position
            if last == after:
                return
            after = last

    def stream(
        self,
        channels: Sequence[str] = DEFAULT_CHANNELS,
        *,
        markets: Sequence[str] = (),
        after: str | int | None = None,
        conflate: bool = False,
    ) -> Generator[Message]:
        """Yield what happens, without end, each message once, through every interruption.

        Args:
            channels: any of `trades`, `prices`, `lifecycle`, `orders`, `events`, `progress`.
            markets: ids or slugs, at most 100; all markets without one.
            after: the `id` of the last message that is done, 0 for the whole log; None begins now.
            conflate: of prices only the newest.

        Raises:
            StreamResetError: the log is another one.
            ApiError: the exchange refuses the stream, for example because the key has ended.
            UnreachableError: nobody answers within `retry_seconds`.
        """
        follower = Follower(self._session, channels, markets, after, conflate=conflate)
        while True:
            try:
                with closing(self._http.send(follower.request(), stream=True)) as response:
                    if follower.accepts(response):
                        for chunk in response.iter_bytes():
                            yield from follower.take(chunk)
                        pause = follower.pause_after_end()
                    else:
                        response.read()
                        pause = follower.pause(response)
            except httpx.TransportError as error:
                pause = follower.pause_after_end(error)
            time.sleep(pause)


class AsyncClient(_Common, AwaitingClient):
    """A client of one exchange for one event loop: the calls of `Client`, awaited. An asynchronous context manager."""

    def __init__(
        self, url: str, key: str | None = None, *, retry_seconds: float | None = None, wait_for_server: bool = True
    ) -> None:
        super().__init__(url, key, retry_seconds=retry_seconds, wait_for_server=wait_for_server)
        self._http = httpx.AsyncClient()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send a call until it has an answer, and return it. Raises UnreachableError and ApiError."""
        steps = conversation(self._session, call)
        step = next(steps)
        while True:
            came: httpx.Response | httpx.TransportError | None = None
            if isinstance(step, httpx.Request):
                try:
                    came = await self._http.send(step)
                except httpx.TransportError as error:
                    came = error
            else:
                await asyncio.sleep(step)
            try:
                step = steps.send(came)
            except StopIteration as done:
                found: T = done.value
                return found

    async def events(self, after: int = 0, **filters: Any) -> AsyncGenerator[Event]:
        """Yield every event of the log after this position, to its end; `filters` as for `list_events`."""
        while True:
            last = after
            async for event in self.list_events(after=after, page_size=_LOG_PAGE, **filters):
                yield event
                last = event.position
            if last == after:
                return
            after = last

    async def stream(
        self,
        channels: Sequence[str] = DEFAULT_CHANNELS,
        *,
        markets: Sequence[str] = (),
        after: str | int | None = None,
        conflate: bool = False,
    ) -> AsyncGenerator[Message]:
        """Yield what happens, without end, each message once. Takes and raises as `Client.stream`.

        Whoever leaves the loop early ends the stream with `contextlib.aclosing`.
        """
        follower = Follower(self._session, channels, markets, after, conflate=conflate)
        while True:
            try:
                response = await self._http.send(follower.request(), stream=True)
                async with aclosing(response):
                    if follower.accepts(response):
                        async for chunk in response.aiter_bytes():
                            for message in follower.take(chunk):
                                yield message
                        pause = follower.pause_after_end()
                    else:
                        await response.aread()
                        pause = follower.pause(response)
            except httpx.TransportError as error:
                pause = follower.pause_after_end(error)
            await asyncio.sleep(pause)
