"""Logs of random commands, as an engine would have left them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from consumers.simulation.random_commands import RandomCommands
from domain.exchange import Exchange
from messages.commands import InvalidCommand, Submitted, dump_command, parse_command
from tests.messages.decided_log import DecidedLog

if TYPE_CHECKING:
    from domain.money import Time


class CrashingLog(DecidedLog):
    """A log whose engine dies now and then before it appends a step: the next one does it when the next command comes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._fate = Random(seed)  # noqa: S311  a simulation, no secret
        self._is_before_command = False
        self.crashes = 0

    def decide(self, submitted: Submitted, time: Time) -> None:
        """Decide a command; often the clock has ticked since the last one."""
        if self._fate.random() < 0.5:
            self.time = (self.time + time) // 2
            self._step()
        self._is_before_command = True
        super().decide(submitted, time)

    def _step(self) -> None:
        may_die, self._is_before_command = not self._is_before_command, False
        while (step := self.exchange.step(self.time)) is not None:
            if may_die and self._fate.random() < 0.5:
                self.crashes += 1
                self.exchange = self._replayed()
                return
            self._append(step[1], step[0], None)

    def _replayed(self) -> Exchange:
        exchange = Exchange()
        exchange.hold_seconds = self.exchange.hold_seconds
        for one in self.log:
            exchange.apply(one.event, stream=one.stream, version=one.version, time=one.time, command_id=one.command_id)
        return exchange


def random_log(seed: int, commands: int, hold_seconds: int = 0, *, crashes: bool = False) -> DecidedLog:
    """The log of random commands, as they come over the wire."""
    log = CrashingLog(seed) if crashes else DecidedLog()
    random = RandomCommands(Random(seed), lifecycle=0.06)  # noqa: S311  a simulation, no secret
    log.exchange.hold_seconds = hold_seconds
    for _ in range(commands):
        time, command_id, command = random.next_command(log.exchange)
        submitted = parse_command(dump_command(command_id, command))
        if not isinstance(submitted.command, InvalidCommand):
            log.decide(submitted, time)
    return log
