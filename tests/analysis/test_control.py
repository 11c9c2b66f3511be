"""Recorded commands decided again leave the recorded events, whatever was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from analysis.control import Control, ControlError
from analysis.recovered import recovered_commands
from analysis.world import World
from domain.events import Recorded
from domain.market import MarketHalted
from domain.partition import CommandRejected, CommandsRead
from domain.values import NO_JSON
from tests.analysis.random_logs import CrashingLog, random_log

if TYPE_CHECKING:
    from tests.messages.decided_log import DecidedLog


def control(events: list[Recorded]) -> World:
    """Decide all commands of a log again."""
    world = World(is_recorded=True)
    again = Control(world)
    equal = [recorded for recovered in recovered_commands(events) for recorded in again.decide(recovered)]
    assert equal == [recorded for recorded in events if type(recorded.event) is not CommandsRead]
    return world


def check(log: DecidedLog) -> None:
    """Every command is proved to be the one that was sent, and decided again it leaves the same events and state."""
    sent = dict(log.sent)
    for recovered in recovered_commands(log.log):
        if recovered.certainty == "none":
            assert recovered.command_id.startswith("due:")
            continue
        expected = replace(sent.pop(recovered.command_id), at=recovered.time)
        assert (recovered.certainty, recovered.submitted) == ("exact", expected)
    assert not sent
    world = control(log.log)
    if not log.exchange.unfinished:
        assert world.exchange.state_hash() == log.exchange.state_hash()


@pytest.mark.parametrize(("seed", "hold_seconds"), [(1, 0), (2, 3_600)])
def test_random_logs_are_decided_again_alike(seed: int, hold_seconds: int) -> None:
    """With refusals, expiries, closings, disputes, corrections and voids; also where payouts cannot be withdrawn at once."""
    check(random_log(seed, 1_000, hold_seconds))


@pytest.mark.parametrize(("seed", "commands"), [(6, 500), (111, 600)])
def test_what_an_engine_left_to_the_next_one_is_decided_again_alike(seed: int, commands: int) -> None:
    """Payments that a crash interrupted were made later, after other things had fallen due; so was one of two that were due."""
    log = random_log(seed, commands, 3_600 * (seed % 2) * 2, crashes=True)
    assert isinstance(log, CrashingLog)
    assert log.crashes > 10

    check(log)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(50))
def test_fifty_random_logs_are_decided_again_alike(seed: int) -> None:
    """The same, fifty times."""
    check(random_log(100 + seed, 4_000, 3_600 * (seed % 3), crashes=seed % 2 == 1))


def test_a_difference_is_found_at_its_command() -> None:
    """An event that the rules would not have made, one that is missing, and one too many."""
    log = random_log(3, 200).log
    place = next(number for number, recorded in enumerate(log) if number > 100 and recorded.digest is None)
    odd = replace(log[place], event=MarketHalted("mk_odd"))

    for changed in (
        [*log[:place], odd, *log[place + 1 :]],
        log[:place] + log[place + 1 :],
        [*log[:place], odd, *log[place:]],
    ):
        with pytest.raises(ControlError) as raised:
            control(changed)
        assert raised.value.recorded.command_id in {log[place].command_id, log[place + 1].command_id}


def test_bookkeeping_belongs_to_no_command() -> None:
    """Events that say how far commands are read may stand anywhere, also within the events of one command."""
    log = random_log(4, 300)
    between = [
        one
        for recorded in log.log
        for one in (recorded, Recorded(recorded.position, "partition-0", 1, recorded.time, "", CommandsRead("x", 1)))
    ]

    assert control(between).exchange.state_hash() == log.exchange.state_hash()


def test_a_refused_command_without_its_body_is_lost_and_refused_again() -> None:
    """It changed nothing, so the control run stays equal."""
    log = random_log(5, 300)
    without = [
        replace(recorded, event=replace(recorded.event, body=NO_JSON))
        if isinstance(recorded.event, CommandRejected)
        else recorded
        for recorded in log.log
    ]

    lost = [one for one in recovered_commands(without) if one.certainty == "lost"]

    assert {one.submitted for one in lost} == {None}
    assert len(lost) == sum(isinstance(recorded.event, CommandRejected) for recorded in log.log) > 10
    assert {one.type for one in lost} <= {sent.type for sent in log.sent.values()}
    assert control(without).exchange.state_hash() == log.exchange.state_hash()
