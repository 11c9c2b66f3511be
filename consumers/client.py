"""The client for other services: submit a command as JSON and await its reply, whatever happens in between.

    from consumers.client import Client

    with Client(settings) as client:
        reply = client.submit("PlaceOrder", {"account_id": ..., "market_id": ..., "client_order_id": "7", ...})
        reply = await client.submit_async("DepositCash", {"account_id": ..., "amount": "10.000000"}, "payroll:10:ac_1")

The sender chooses the id of each command. A sender that does not know what became of a command, even after a restart,
sends it again with the same id and the same fields, and gets the reply. The client does so by itself until its deadline.
"""

import asyncio
from collections.abc import Mapping
from threading import Event
from time import monotonic
from typing import Any, Final, Self

from consumers.errors import Busy, EngineStopped, ReplyTimeout
from consumers.kafka.gateway import KafkaGateway
from domain.money import Time
from messages.commands import COMMANDS, Command, InvalidCommand, command_of, order_command_id
from messages.replies import Reply
from settings import Settings

__all__ = ["Busy", "Client", "EngineStopped", "InvalidCommand", "Reply", "ReplyTimeout"]

TIMEOUT_SECONDS: Final = 60.0
"""The time that `submit` tries by default."""


class Client:
    """A connection to the engine, for any number of threads and event loops. A context manager.

    It needs only the rights to write the topic `commands` and to read the topic `replies`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Take these settings, by default those of the environment (`TIDINGS_KAFKA_...`). Nothing is connected yet."""
        self._gateway = KafkaGateway(settings or Settings(), check_topics=False)
        self._closed = Event()

    def __enter__(self) -> Self:
        """Connect. Raises OperationalError when no broker answers."""
        self._gateway.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect. Callers that still wait get EngineStopped."""
        self._closed.set()
        self._gateway.close()

    def submit(
        self,
        command_type: str,
        data: Mapping[str, Any],
        command_id: str | None = None,
        *,
        at: Time | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Reply:
        """Return the reply to a command; a refusal is a reply too, with a `code`.

        Args:
            command_type: for example `PlaceOrder`; docs/schemas/commands has all of them.
            data: the command's fields, as the schema says.
            command_id: makes a repetition harmless. Leave it out for an order, whose id follows from its account and
                `client_order_id`.
            at: the sender's time in microseconds; only where the engine takes its time from the commands.
            timeout_seconds: the time that it tries: the engine may be down, behind, or in the middle of a take-over.

        Raises:
            InvalidCommand: a field breaks its schema, or the id is missing; the command was not sent.
            Busy: it could not be sent by the deadline; `retry_after_seconds` says when to try again.
            ReplyTimeout: it was sent and has no reply by the deadline. The same call gets the reply later.
        """
        command_id, command = _command(command_type, data, command_id)
        deadline = monotonic() + timeout_seconds
        while True:
            left = max(deadline - monotonic(), 0.0)
            try:
                return self._gateway.submit_blocking(command_id, command, at, timeout_seconds=left)
            except EngineStopped:
                raise
            except Busy as busy:
                if not _is_time_left(busy, deadline):
                    raise
                self._closed.wait(busy.retry_after_seconds)

    async def submit_async(
        self,
        command_type: str,
        data: Mapping[str, Any],
        command_id: str | None = None,
        *,
        at: Time | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Reply:
        """Submit without blocking the event loop. Takes, returns and raises as `submit`."""
        command_id, command = _command(command_type, data, command_id)
        deadline = monotonic() + timeout_seconds
        while True:
            left = max(deadline - monotonic(), 0.0)
            try:
                return await self._gateway.submit(command_id, command, at, timeout_seconds=left)
            except EngineStopped:
                raise
            except Busy as busy:
                if not _is_time_left(busy, deadline):
                    raise
                await asyncio.sleep(busy.retry_after_seconds)


def _is_time_left(busy: Busy, deadline: float) -> bool:
    return monotonic() + busy.retry_after_seconds < deadline


def _command(command_type: str, data: Mapping[str, Any], command_id: str | None) -> tuple[str, Command]:
    if command_type not in COMMANDS:
        raise InvalidCommand("type", "is not the name of a command")
    if command_id is None:
        if command_type != "PlaceOrder":
            raise InvalidCommand("command_id", "is missing: choose one that stays the same when this is sent again")
        command_id = order_command_id(str(data.get("account_id")), str(data.get("client_order_id")))
    return command_id, command_of(command_type, command_id, data)
