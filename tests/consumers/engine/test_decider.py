"""Deciding commands, seen through an engine on the in-memory recorder: replies, repetition, quotes, time, batches."""

import asyncio
import gc
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from msgspec import structs
from msgspec.structs import replace

from consumers.engine.batch import BatchLimits
from consumers.engine.command_source import LocalCommand
from domain.account import DepositCash
from domain.market import CloseMarket
from domain.orders import CancelOrders
from domain.partition import CommandRejected, CommandsRead
from messages.commands import AdvanceTime, InvalidCommand, parse_command, with_ids
from messages.original_commands import original_command
from messages.replies import Reply
from tests.consumers.checks import command_ids, recorded
from tests.consumers.exchange_fixtures import MICRO, START, TickingClock, open_market, running
from tests.messages.digest import digest_of

# --- replies


def test_a_reply_has_the_position_of_the_command_in_the_log(recorder: POPOApplicationRecorder) -> None:
    """The reply's position is that of the command's last event; all its events bear the command's id."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        command_id, order = market.buy("c-1")
        reply = gateway.submit_blocking(command_id, order)

    events = [event for event in recorded(recorder) if event.command_id == command_id]
    assert reply.position == events[-1].position
    assert [event.event.TOPIC for event in events] == ["TradeSettled.v1", "OrderPlaced.v1"]
    assert events[0].digest == digest_of(order)
    assert events[1].digest is None
    assert reply.result["status"] == "filled"


def test_decided_commands_leave_nothing_for_the_garbage_collector(recorder: POPOApplicationRecorder) -> None:
    """The objects of a batch are freed with its replies: tens of thousands in cycles would stop the engine now and then."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        gc.collect()
        gc.disable()
        try:
            for i in range(100):
                gateway.submit_blocking(*market.buy(f"c-{i % 90}"))
            assert gc.collect() < 100
        finally:
            gc.enable()


def test_every_batch_ends_with_how_far_the_commands_are_read(recorder: POPOApplicationRecorder) -> None:
    """The last event of the log says so; it counts the commands of the source."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        gateway.submit_blocking(*market.buy("c-1"))

    last = recorded(recorder)[-1].event
    assert CommandsRead("local", 9) == last


def test_a_refusal_is_an_event(recorder: POPOApplicationRecorder) -> None:
    """A refusal is in the log, and the sender gets the numbers that decided it."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        reply = gateway.submit_blocking(*market.buy("c-1", spend=2_000 * MICRO))

    event = recorded(recorder)[reply.position - 1].event
    assert isinstance(event, CommandRejected)
    assert (reply.code, event.code) == ("INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS")
    assert reply.details["available"] == "1000.000000"


def test_an_invalid_command_is_refused_before_it_is_sent(recorder: POPOApplicationRecorder) -> None:
    """A gateway checks commands from Python code against the limits of the wire."""
    with running(recorder) as (_, gateway, _), pytest.raises(InvalidCommand):
        gateway.submit_blocking("cli:1", DepositCash("ac_1", -5))


def test_an_invalid_command_from_a_wire_is_a_recorded_rejection(recorder: POPOApplicationRecorder) -> None:
    """A source that found a bad field in a command passes that on; the log has a rejection."""
    with running(recorder) as (_, _, source):
        future: Future[Reply] = Future()
        invalid = InvalidCommand("amount", "must be a string")
        source.put(LocalCommand("svc:1", invalid, "00", None, None, "DepositCash", waiter=(None, future)))
        reply = future.result(10)

    event = recorded(recorder)[reply.position - 1].event
    assert CommandRejected("DepositCash", invalid.code, "amount must be a string", {"field": "amount"}) == event
    assert (reply.code, reply.details) == ("INVALID_FIELD", {"field": "amount"})


def test_every_command_is_in_the_log(recorder: POPOApplicationRecorder) -> None:
    """Accepted, refused, without effect, invalid, of a timer: each comes back from its events, which stand in many batches."""
    future: Future[Reply] = Future()
    with running(recorder, limits=BatchLimits(events_max=12)) as (_, gateway, source):
        market = open_market(gateway.submit_blocking)
        orders = [market.buy(f"c-{i}", i % 3, spend=MICRO * 10 ** (i % 5)) for i in range(20)]
        others = [("t:1", AdvanceTime()), ("x:1", CancelOrders(market.accounts[0])), ("x:2", CloseMarket("mk_no"))]

        async def crowd() -> None:
            await asyncio.gather(*[gateway.submit(command_id, command) for command_id, command in (*orders, *others)])

        asyncio.run(crowd())
        invalid = parse_command(
            b'{"command_id":"svc:1","type":"DepositCash","data":{"account_id": "ac_1", "amount": 5}}'
        )
        source.put(LocalCommand(**structs.asdict(invalid), waiter=(None, future)))
        future.result(10)

    by_id: dict[str, list[Any]] = {}
    for event in recorded(recorder):
        by_id.setdefault(event.command_id, []).append(event)
    found = {command_id: original_command(events) for command_id, events in by_id.items() if command_id}
    assert all(each is not None and each.digest == by_id[name][0].digest for name, each in found.items())
    for command_id, command in (*orders, *others):
        assert getattr(found[command_id], "command", None) == with_ids(command_id, command)
    assert str(getattr(found["svc:1"], "command", None)) == str(invalid.command)
    codes = [
        event.event.code for events in by_id.values() for event in events if isinstance(event.event, CommandRejected)
    ]
    assert sorted(codes) == ["INSUFFICIENT_FUNDS"] * 8 + ["INVALID_FIELD", "MARKET_NOT_FOUND"]


# --- the same command again


def test_the_same_command_has_one_reply_for_ever(recorder: POPOApplicationRecorder) -> None:
    """Sent again at once, and after a restart that knows only the log: the first reply, and no new event."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        first = gateway.submit_blocking(*market.buy("c-1"))
        refused = gateway.submit_blocking(*market.buy("c-2", spend=2_000 * MICRO))
        length = len(recorded(recorder))
        assert first == gateway.submit_blocking(*market.buy("c-1"))
    with running(recorder) as (_, gateway, _):
        assert first == gateway.submit_blocking(*market.buy("c-1"))
        assert refused == gateway.submit_blocking(*market.buy("c-2", spend=2_000 * MICRO))

    assert length == len(recorded(recorder))


def test_another_command_with_a_used_id_is_refused_and_leaves_no_trace(recorder: POPOApplicationRecorder) -> None:
    """Also after a restart."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        first = gateway.submit_blocking(*market.buy("c-1"))
        length = len(recorded(recorder))
        reused = gateway.submit_blocking(*market.buy("c-1", spend=7))
    with running(recorder) as (_, gateway, _):
        again = gateway.submit_blocking(*market.buy("c-1", spend=7))

    assert ("COMMAND_ID_REUSED", first.position) == (reused.code, reused.position)
    assert reused == again
    assert length == len(recorded(recorder))


def test_repetitions_inside_one_batch_share_one_reply(recorder: POPOApplicationRecorder) -> None:
    """Sent many times before the first reply: all get one reply; another command with the same id is refused."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)

        async def crowd() -> list[Reply]:
            same = [gateway.submit(*market.buy("c-1")) for _ in range(20)]
            other = gateway.submit(*market.buy("c-1", spend=7))
            return await asyncio.gather(*same, other)

        *same, other = asyncio.run(crowd())

    assert len(set(map(repr, same))) == 1
    assert same[0].code is None
    assert ("COMMAND_ID_REUSED", same[0].position) == (other.code, other.position)
    assert command_ids(recorder).count("order:" + market.accounts[0] + ":c-1") == 1


def test_a_quote_tells_what_the_next_order_does_and_changes_nothing(recorder: POPOApplicationRecorder) -> None:
    """The quote's numbers are the order's, and the log is as long as before."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        _, order = market.buy("c-1", spend=10 * MICRO)
        length = len(recorded(recorder))
        quote = asyncio.run(gateway.quote(order))
        assert length == len(recorded(recorder))
        reply = gateway.submit_blocking(*market.buy("c-1", spend=10 * MICRO))
        refused = asyncio.run(gateway.quote(replace(order, outcome="Perhaps")))

    numbers = ("filled_quantity", "average_price", "cost", "fee", "fills", "prices", "status")
    assert [reply.result[name] for name in numbers] == [quote.result[name] for name in numbers]
    assert quote.position == length
    assert refused.code == "UNKNOWN_OUTCOME"


# --- time


def test_a_market_closes_by_itself(recorder: POPOApplicationRecorder) -> None:
    """At its close_time, without any command; the event bears an id of its own."""
    clock = TickingClock()
    with running(recorder, clock=clock) as (engine, gateway, source):
        market = open_market(gateway.submit_blocking, close_time=START + 60 * MICRO)
        clock.now = START + 60 * MICRO
        source.wake()
        late = gateway.submit_blocking(*market.buy("c-1"))
        assert engine.position >= late.position

    closed = next(event for event in recorded(recorder) if event.event.TOPIC == "MarketClosed.v1")
    assert closed.command_id == f"due:close:{market.market_id}:{START + 60 * MICRO}"
    assert closed.digest is None
    assert late.code == "MARKET_NOT_ACTIVE"
    assert closed.position < late.position


def test_time_never_runs_backwards(recorder: POPOApplicationRecorder) -> None:
    """A clock that is set back, also over a restart, does not move the log's time back."""
    clock = TickingClock()
    with running(recorder, clock=clock) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
    clock.now = START - 3600 * MICRO
    with running(recorder, clock=clock) as (_, gateway, _):
        reply = gateway.submit_blocking(*market.buy("c-1"))

    assert reply.time == START


def test_commands_bring_their_time_when_the_clock_is_theirs(recorder: POPOApplicationRecorder) -> None:
    """With `clock=command` an order happens at its sender's time, after whatever is due by then."""
    with running(recorder, clock="command") as (_, gateway, _):
        market = open_market(
            lambda command_id, command: gateway.submit_blocking(command_id, command, START),
            close_time=START + 60 * MICRO,
        )
        early = gateway.submit_blocking(*market.buy("c-1"), at=START + 59 * MICRO)
        gateway.submit_blocking("timer:1", AdvanceTime(), at=START + 60 * MICRO)
        late = gateway.submit_blocking(*market.buy("c-2"), at=START + 61 * MICRO)

    assert (early.code, early.time) == (None, START + 59 * MICRO)
    assert (late.code, late.time) == ("MARKET_NOT_ACTIVE", START + 61 * MICRO)
    assert len([event for event in recorded(recorder) if event.event.TOPIC == "MarketClosed.v1"]) == 1


# --- batches


def test_small_batches_hold_all_and_each_says_how_far_it_read() -> None:
    """Limits split commands that came together into batches; each ends with CommandsRead, and nothing is lost."""
    inserted: list[int] = []

    class Counting(POPOApplicationRecorder):
        """Notes how many events each append has."""

        def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
            """Insert and note."""
            inserted.append(len(stored_events))
            assert stored_events[-1].topic == "CommandsRead.v1"
            return super().insert_events(stored_events, **kwargs)

    counting = Counting()
    with running(counting, limits=BatchLimits(commands_max=100, events_max=10)) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        inserted.clear()

        async def trade() -> list[Reply]:
            return await asyncio.gather(*[gateway.submit(*market.buy(f"c-{i}", i % 3)) for i in range(60)])

        replies = asyncio.run(trade())

    assert all(reply.code is None for reply in replies)
    assert max(inserted) <= 10
    assert sum(inserted) - len(inserted) == 120
