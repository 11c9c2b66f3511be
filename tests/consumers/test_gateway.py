"""The gateway to an engine in the same process."""

import asyncio

from consumers.engine.command_source import LocalCommandSource
from consumers.errors import Busy, ReplyTimeout
from consumers.gateway import LocalGateway
from messages.commands import AdvanceTime, InvalidCommand


def test_a_batch_finds_room_as_a_whole() -> None:
    """In their order, or none of them."""
    source = LocalCommandSource(commands_max=5)
    gateway = LocalGateway(source, timeout_seconds=0.1)
    batch = [(f"t:{i}", AdvanceTime()) for i in range(4)]

    assert [type(each) for each in asyncio.run(gateway.submit_all(batch))] == [ReplyTimeout] * 4
    assert [type(each) for each in asyncio.run(gateway.submit_all(batch))] == [Busy] * 4
    assert [each.command_id for group in source.take(10, 0.0) for each in group.commands] == [each for each, _ in batch]


def test_an_invalid_command_of_a_batch_is_refused_alone() -> None:
    """The others are queued."""
    source = LocalCommandSource()
    batch = [("t:1", AdvanceTime()), ("due:2", AdvanceTime()), ("t:3", AdvanceTime())]

    replies = asyncio.run(LocalGateway(source, timeout_seconds=0.1).submit_all(batch))

    assert [type(each) for each in replies] == [ReplyTimeout, InvalidCommand, ReplyTimeout]
    assert [each.command_id for group in source.take(10, 0.0) for each in group.commands] == ["t:1", "t:3"]
