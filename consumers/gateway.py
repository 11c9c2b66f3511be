"""Gateways: submit a command, await its reply. The errors that can come instead are in consumers/errors.py.

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

from consumers.engine.command_source import LocalCommand, LocalCommandSource, Waiter
from consumers.errors import Busy, EngineStopped, GatewayError, ReplyTimeout, Undecidable
from domain.money import Time
from domain.orders import PlaceOrder
from messages.commands import Command, InvalidCommand, QuoteOrder, body_and_digest, check_command, with_ids
from messages.replies import Reply

__all__ = ["Busy", "EngineStopped", "Gateway", "GatewayError", "LocalGateway", "ReplyTimeout", "Undecidable"]


class Gateway(Protocol):
    """The way to the engine. The gateway sets the ids of all that a command creates, whatever its fields hold."""

    @property
    def under_way(self) -> int:
        """The number of commands that have no reply yet."""

    async def submit(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Return the reply to the command; a refusal is a reply too. A repeated command gets the reply of the first time.

        `at` is the sender's time. It counts only where the engine takes its time from the commands.

        Raises:
            InvalidCommand: a field or the id breaks a limit; the command was not sent.
            Busy: the command was not sent.
            ReplyTimeout: the command was sent.
            Undecidable: the engine failed on the command, an error of ours.
        """

    async def submit_all(
        self, commands: Sequence[tuple[str, Command]], at: Time | None = None
    ) -> list[Reply | InvalidCommand | GatewayError]:
        """Submit several commands; return for each its reply, or the error that `submit` would raise.

        They are decided in their order, whatever fails on the way. Either all find room in the queue, or all are Busy.
        """

    async def quote(self, order: PlaceOrder, at: Time | None = None) -> Reply:
        """Return what the order would do now, as its reply; changes nothing. Raises as `submit`."""

    def submit_blocking(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Submit from a thread without an event loop. Returns and raises as `submit`."""


class LocalGateway:
    """The way to an engine in this process."""

    def __init__(self, source: LocalCommandSource, timeout_seconds: float = 10.0) -> None:
        """Queue commands in this source; wait at most `timeout_seconds` for a reply."""
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._quotes = (f"quote:{uuid4().hex}:{number}" for number in count())

    @property
    def under_way(self) -> int:
        """The number of commands that have no reply yet."""
        return self._source.under_way

    async def submit(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Return the reply to the command."""
        self._check_room(1)
        return await self._reply(command_id, self._queued(command_id, command, at))

    async def submit_all(
        self, commands: Sequence[tuple[str, Command]], at: Time | None = None
    ) -> list[Reply | InvalidCommand | GatewayError]:
        """Return the reply to each command."""
        try:
            self._check_room(len(commands))
        except Busy as busy:
            return [busy] * len(commands)
        futures = [(command_id, self._queued(command_id, command, at)) for command_id, command in commands]
        return await gather_replies([self._reply(command_id, future) for command_id, future in futures])

    async def quote(self, order: PlaceOrder, at: Time | None = None) -> Reply:
        """Return what the order would do now."""
        return await self.submit(next(self._quotes), QuoteOrder(order), at)

    def submit_blocking(self, command_id: str, command: Command, at: Time | None = None) -> Reply:
        """Return the reply to the command."""
        self._check_room(1)
        future: Future[Reply] = Future()
        self._put(command_id, command, at, (None, future))
        try:
            return future.result(self._timeout_seconds)
        except NoResultError:
            raise _timed_out(command_id, self._timeout_seconds) from None

    def _check_room(self, commands: int) -> None:
        if not self._source.has_room(commands):
            raise Busy("too many commands wait for the engine")

    def _queued(self, command_id: str, command: Command, at: Time | None) -> asyncio.Future[Reply]:
        """Queue a command; return the future of its reply, or of the error that kept it from being queued."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        try:
            self._put(command_id, command, at, (loop, future))
        except (InvalidCommand, GatewayError) as error:
            future.set_exception(error)
        return future

    async def _reply(self, command_id: str, future: asyncio.Future[Reply]) -> Reply:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await future
        except TimeoutError:
            raise _timed_out(command_id, self._timeout_seconds) from None

    def _put(self, command_id: str, command: Command, at: Time | None, waiter: Waiter) -> None:
        check_command(command_id, command)
        whole = with_ids(command_id, command)
        body, digest = body_and_digest(whole)
        self._source.put(LocalCommand(command_id, whole, digest, at, None, type(whole).__name__, body, waiter=waiter))


async def gather_replies(replies: Sequence[Awaitable[Reply]]) -> list[Reply | InvalidCommand | GatewayError]:
    """Wait for several replies; return for each the reply or the gateway's refusal. Any other error is raised."""
    found: list[Reply | InvalidCommand | GatewayError] = []
    for each in await asyncio.gather(*replies, return_exceptions=True):
        if not isinstance(each, Reply | InvalidCommand | GatewayError):
            raise each
        found.append(each)
    return found


def _timed_out(command_id: str, seconds: float) -> ReplyTimeout:
    return ReplyTimeout(f"no reply to {command_id} within {seconds:g} s; sending it again with the same id is harmless")
