"""A log that an exchange leaves when it decides commands as they come over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from domain.exchange import Entry, Exchange
from domain.money import MICRO, Time
from domain.orders import PlaceOrder
from messages.commands import (
    AdvanceTime,
    InvalidCommand,
    QuoteOrder,
    check_command,
    dump_command,
    order_command_id,
    parse_command,
)
from messages.original_commands import original_command
from messages.stored import from_stored, to_stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from domain.commands import Command
    from domain.events import Recorded
    from messages.commands import Submitted

START: Final[Time] = 1_700_000_000 * MICRO


class DecidedLog:
    """An exchange that decides commands as they come over the wire, and the log that it leaves, read from its bytes."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.time = START
        self.log: list[Recorded] = []
        self.sent: dict[str, Submitted] = {}

    def send(self, command: Command, name: str = "", wait: int = 1) -> str:
        """Decide a command and return its id; `name` is its id, `wait` the microseconds since the command before."""
        command_id = name or f"c{len(self.sent)}"
        if isinstance(command, PlaceOrder):
            command_id = order_command_id(command.account_id, command.client_order_id)
        check_command(command_id, command)
        self.decide(parse_command(dump_command(command_id, command)), self.time + wait)
        return command_id

    def decide(self, submitted: Submitted, time: Time) -> None:
        """Decide a command at a time, with what is due before it and unfinished after it."""
        self.time = time
        self._step()
        command, command_id = submitted.command, submitted.command_id
        assert not isinstance(command, InvalidCommand | AdvanceTime | QuoteOrder), "those do not reach the exchange"
        self.sent[command_id] = submitted
        self._append(self.exchange.handle(command, time, command_id, submitted.body), command_id, submitted.digest)
        self._step()

    def _step(self) -> None:
        while (step := self.exchange.step(self.time)) is not None:
            self._append(step[1], step[0], None)

    def _append(self, entries: Iterable[Entry], command_id: str, digest: str | None) -> None:
        for entry in entries:
            stored = to_stored(entry, self.time, command_id, digest)
            self.log.append(from_stored(len(self.log) + 1, stored))
            digest = None

    def events(self, command_id: str) -> list[Recorded]:
        """The events of a command."""
        return [recorded for recorded in self.log if recorded.command_id == command_id]

    def check(self) -> None:
        """Every command that was sent is found in the log again, equal in every field, with its digest."""
        by_id: dict[str, list[Recorded]] = {}
        for recorded in self.log:
            by_id.setdefault(recorded.command_id, []).append(recorded)
        assert set(self.sent) == {command_id for command_id in by_id if not command_id.startswith("due:")}
        for command_id, sent in self.sent.items():
            events = by_id[command_id]
            expected = replace(sent, at=events[0].time)
            assert expected == original_command(events)
            assert sent.digest == events[0].digest
