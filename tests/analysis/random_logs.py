"""Logs of random commands, as an engine would have left them."""

from __future__ import annotations

from random import Random

from consumers.simulation.random_commands import RandomCommands
from messages.commands import InvalidCommand, dump_command, parse_command
from tests.messages.decided_log import DecidedLog


def random_log(seed: int, commands: int, hold_seconds: int = 0) -> DecidedLog:
    """The log of random commands, as they come over the wire."""
    log, random = DecidedLog(), RandomCommands(Random(seed), lifecycle=0.06)  # noqa: S311  a simulation, no secret
    log.exchange.hold_seconds = hold_seconds
    for _ in range(commands):
        time, command_id, command = random.next_command(log.exchange)
        submitted = parse_command(dump_command(command_id, command))
        if not isinstance(submitted.command, InvalidCommand):
            log.decide(submitted, time)
    return log
