"""Gateways: submit a command, await its one outcome. What else can come is in consumers/errors.py.

Gateway                 what callers know
├── LocalGateway        the engine is in this process
└── KafkaGateway        the engine is elsewhere; consumers/kafka/gateway.py
"""

import asyncio
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoResultError
from itertools import count
from typing import Protocol
from uuid import uuid4

from consumers.engine.command_source import LocalCommand, LocalSource, Waiter
from consumers.errors import Busy, EngineStopped, GatewayError, ReplyTimeout, Undecidable
from domain.money import Time
from domain.orders import PlaceOrder
from messages.commands import Command, InvalidCommand, QuoteOrder, check_command, digest_of, with_ids
from messages.replies import Reply

__all__ = ["Busy", "EngineStopped", "Gateway", "GatewayError", "LocalGateway", "ReplyTimeout", "Undecidable"]


class Gateway(Protocol):
    """The way to the engine. Ids of what a command creates are filled in, whatever stands in their fields."""

    async def submit(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Return the outcome of the command, a refusal included; the first one when the id came before.

        `at` is the sender's time, which counts where the engine's clock is the commands'.

        Raises:
            InvalidCommand: a field, or the id, breaks a limit; nothing was sent.
            Busy: it was not sent.
            ReplyTimeout: it was sent.
            Undecidable: an error of ours.
        """

    async def submit_all(
        self, commands: Sequence[tuple[str, Command]], at: Time | None = None
    ) -> list[Reply | InvalidCommand | GatewayError]:
        """Do as `submit` with several, in their order; return for each its outcome or what `submit` would raise."""

    async def quote(self, order: PlaceOrder, at: Time | None = None) -> Reply:
        """Return what the order would do now, in the form of its reply; nothing changes. Raises as `submit`."""

    def submit_blocking(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Do as `submit`, for threads without an event loop."""


class LocalGateway:
    """The way to an engine in this process."""

    def __init__(self, source: LocalSource, timeout_seconds: float = 10.0) -> None:
        """Queue in this source; wait so long for an outcome."""
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._quotes = (f"quote:{uuid4().hex}:{number}" for number in count())

    async def submit(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Return the outcome of the command."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._put(command_id, command, at, (loop, future))
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await future
        except TimeoutError:
            raise _unknown(command_id, self._timeout_seconds) from None

    async def submit_all(
        self, commands: Sequence[tuple[str, Command]], at: Time | None = None
    ) -> list[Reply | InvalidCommand | GatewayError]:
        """Return the outcome of each command."""
        return await gather_replies([self.submit(command_id, command, at) for command_id, command in commands])

    async def quote(self, order: PlaceOrder, at: Time | None = None) -> Reply:
        """Return what the order would do now."""
        return await self.submit(next(self._quotes), QuoteOrder(order), at)

    def submit_blocking(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Return the outcome of the command."""
        future: Future[Reply] = Future()
        self._put(command_id, command, at, (None, future))
        try:
            return future.result(self._timeout_seconds)
        except NoResultError:
            raise _unknown(command_id, self._timeout_seconds) from None

    def _put(self, command_id: str, command: Command, at: Time | None, waiter: Waiter) -> None:
        check_command(command_id, command)
        if self._source.full:
            raise Busy("too many commands wait for the engine")
        whole = with_ids(command_id, command)
        self._source.put(
            LocalCommand(command_id, whole, digest_of(whole), at, None, type(whole).__name__, waiter=waiter)
        )


async def gather_replies(replies: Sequence[Awaitable[Reply]]) -> list[Reply | InvalidCommand | GatewayError]:
    """Wait for several replies; return for each the reply or the gateway's refusal. Any other error is raised."""
    outcomes = await asyncio.gather(*replies, return_exceptions=True)
    found = [outcome for outcome in outcomes if isinstance(outcome, Reply | InvalidCommand | GatewayError)]
    if len(found) < len(outcomes):
        raise next(outcome for outcome in outcomes if not isinstance(outcome, Reply | InvalidCommand | GatewayError))
    return found


def _unknown(command_id: str, seconds: float) -> ReplyTimeout:
    return ReplyTimeout(f"no outcome of {command_id} within {seconds:g} s; the same id asks for it again")
