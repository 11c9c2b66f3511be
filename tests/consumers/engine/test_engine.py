"""The engine on the library's in-memory recorder: outcomes, repetition, doubt, time, batches."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, cast

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.engine.command_source import LocalCommand, LocalSource
from consumers.engine.engine import Engine, EngineFailedError, Limits
from consumers.engine.log import RecorderLog
from consumers.errors import EngineStopped, Undecidable
from consumers.gateway import LocalGateway
from domain import settlement
from domain.account import DepositCash
from domain.market import CloseMarket, DetermineMarket, Evidence, FinalizeMarket, Payout
from domain.orders import SplitSets
from domain.partition import CommandRejected, CommandsRead
from messages.commands import AdvanceTime, InvalidCommand, digest_of
from messages.replies import Reply
from tests.consumers.checks import check_log, recorded
from tests.consumers.exchange_fixtures import MICRO, START, TickingClock, open_market


@contextmanager
def running(recorder: POPOApplicationRecorder, **options: Any) -> Iterator[tuple[Engine, LocalGateway, LocalSource]]:
    """Run an engine over the recorder, with a gateway to it."""
    source = LocalSource()
    engine = Engine(RecorderLog(recorder), source, **options)
    engine.start()
    try:
        engine.wait_until_ready(10)
        yield engine, LocalGateway(source, timeout_seconds=10), source
    finally:
        engine.stop()


def outcomes(recorder: POPOApplicationRecorder) -> list[str]:
    """Return the ids of the commands in the log, each as often as it has a first event."""
    return [event.command_id for event in recorded(recorder) if event.digest is not None]


@pytest.fixture
def recorder() -> POPOApplicationRecorder:
    """An empty log."""
    return POPOApplicationRecorder()


# --- outcomes


def test_an_order_is_answered_with_its_place_in_the_log(recorder: POPOApplicationRecorder) -> None:
    """The reply's position is that of the command's last event, and its events bear the command's id."""
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


def test_answered_commands_leave_nothing_for_the_garbage_collector(recorder: POPOApplicationRecorder) -> None:
    """What a batch made is freed when it is answered: 10,000s of objects in cycles would stop the engine now and then."""
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
    """The last event of the log says it, and it counts the commands of the source."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        gateway.submit_blocking(*market.buy("c-1"))

    last = recorded(recorder)[-1].event
    assert CommandsRead("local", 9) == last


def test_a_refusal_is_an_event(recorder: POPOApplicationRecorder) -> None:
    """A refused command has its outcome in the log, and its sender gets the numbers that decided it."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        reply = gateway.submit_blocking(*market.buy("c-1", spend=2_000 * MICRO))

    event = recorded(recorder)[reply.position - 1].event
    assert isinstance(event, CommandRejected)
    assert (reply.code, event.code) == ("INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS")
    assert reply.details["available"] == "1000.000000"


def test_an_invalid_command_is_refused_before_it_is_sent(recorder: POPOApplicationRecorder) -> None:
    """A gateway holds what Python code hands over to the limits of the wire."""
    with running(recorder) as (_, gateway, _), pytest.raises(InvalidCommand):
        gateway.submit_blocking("cli:1", DepositCash("ac_1", -5))


def test_an_invalid_command_that_came_over_a_wire_is_a_recorded_rejection(recorder: POPOApplicationRecorder) -> None:
    """A source that parsed a command and found a bad field hands that on; its outcome is a rejection in the log."""
    with running(recorder) as (_, _, source):
        future: Future[Reply] = Future()
        invalid = InvalidCommand("amount", "must be a string")
        source.put(LocalCommand("svc:1", invalid, "00", None, None, "DepositCash", waiter=(None, future)))
        reply = future.result(10)

    event = recorded(recorder)[reply.position - 1].event
    assert CommandRejected("DepositCash", invalid.code, "amount must be a string", {"field": "amount"}) == event
    assert (reply.code, reply.details) == ("INVALID_FIELD", {"field": "amount"})


# --- the same command again


def test_the_same_command_has_one_outcome_for_ever(recorder: POPOApplicationRecorder) -> None:
    """Again at once, and again after a restart that knows nothing but the log: the first reply, and no new event."""
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


def test_repetitions_inside_one_batch_share_one_outcome(recorder: POPOApplicationRecorder) -> None:
    """Sent many times before any was answered: one outcome, told to each; another body among them is refused."""
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
    assert outcomes(recorder).count("order:" + market.accounts[0] + ":c-1") == 1


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


# --- doubt


class UnsureRecorder(POPOApplicationRecorder):
    """A recorder whose inserts fail as told: `lost` before, `late` after the events are in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Insert the events, or fail, or both."""
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "lost":
            raise OperationalError("the connection broke before the commit")
        positions = super().insert_events(stored_events, **kwargs)
        if fault == "late":
            raise OperationalError("the connection broke after the commit")
        return positions


@given(st.lists(st.sampled_from(["", "lost", "late"]), max_size=30))
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_appends_fail_every_command_has_one_outcome(faults: list[str]) -> None:
    """Lost or late, in any order: all callers are answered, each command is once in the log, and replay agrees."""
    recorder = UnsureRecorder()
    with running(recorder) as (engine, gateway, _):
        market = open_market(gateway.submit_blocking)
        recorder.faults = faults

        async def trade() -> list[Reply]:
            orders = [market.buy(f"c-{i}", i % 3, spend=1000 + i) for i in range(40)]
            return await asyncio.gather(*[gateway.submit(*order) for order in orders])

        replies = asyncio.run(trade())

    found = outcomes(recorder)
    assert len(found) == len(set(found)) == 7 + 40
    assert check_log(recorder, replies).state_hash() == engine.exchange.state_hash()


def test_writing_by_somebody_else_is_noticed(recorder: POPOApplicationRecorder) -> None:
    """Another writer's events make the next append fail; the engine takes over again, and knows them then."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        with running(recorder) as (_, other, _):
            first = other.submit_blocking(*market.buy("c-1"))
        assert first == gateway.submit_blocking(*market.buy("c-1"))
        second = gateway.submit_blocking(*market.buy("c-2"))

    assert second.position > first.position
    assert len(outcomes(recorder)) == len(set(outcomes(recorder)))


def test_a_command_that_the_engine_fails_on_is_put_aside(recorder: POPOApplicationRecorder) -> None:
    """An error of ours on one command: it alone has no outcome, its sender is told, the others are decided."""
    with running(recorder) as (engine, gateway, source):
        market = open_market(gateway.submit_blocking)
        command_id, order = market.buy("c-1")
        broken = replace(order, spend=cast("Any", "much"))
        future: Future[Reply] = Future()
        source.put(LocalCommand(command_id, broken, "00", None, None, "PlaceOrder", waiter=(None, future)))
        after = gateway.submit_blocking(*market.buy("c-2"))

        with pytest.raises(Undecidable):
            future.result(10)
        assert after.code is None
        assert engine.error is None

    assert command_id not in outcomes(recorder)


class UnreadableRecorder(POPOApplicationRecorder):
    """A log in which something stands that no version of ours wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.insert_events([StoredEvent("market-x", 1, "Nonsense.v1", b"{}")])


def test_a_log_that_cannot_be_read_stops_the_engine() -> None:
    """Nothing is skipped: after a few tries the engine ends with the reason, and callers are told."""
    source = LocalSource()
    engine = Engine(RecorderLog(UnreadableRecorder()), source)
    engine.start()

    with pytest.raises(EngineFailedError, match="Nonsense"):
        engine.wait_until_ready(10)
    engine.stop()
    with pytest.raises(EngineStopped):
        LocalGateway(source).submit_blocking("cli:1", AdvanceTime())


def test_stopping_lets_go_whoever_waits(recorder: POPOApplicationRecorder) -> None:
    """A command that nobody will decide any more fails at once, not at its deadline."""
    source = LocalSource()
    engine = Engine(RecorderLog(recorder), source)
    future: Future[Reply] = Future()
    source.put(LocalCommand("cli:1", AdvanceTime(), "00", waiter=(None, future)))
    engine.stop()
    engine.run()

    with pytest.raises(EngineStopped):
        future.result(10)


# --- time


def test_a_market_closes_by_itself(recorder: POPOApplicationRecorder) -> None:
    """At its close_time, without any command; the events bear ids of their own."""
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
    """With `clock=command` an order happens when its sender says, and what is due by then happens before."""
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
    """Limits split what came together; every part ends with CommandsRead, and nothing is lost."""
    inserted: list[int] = []

    class Counting(POPOApplicationRecorder):
        """Notes how many events each append has."""

        def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
            """Insert and note."""
            inserted.append(len(stored_events))
            assert stored_events[-1].topic == "CommandsRead.v1"
            return super().insert_events(stored_events, **kwargs)

    counting = Counting()
    with running(counting, limits=Limits(commands_max=100, events_max=10)) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        inserted.clear()

        async def trade() -> list[Reply]:
            return await asyncio.gather(*[gateway.submit(*market.buy(f"c-{i}", i % 3)) for i in range(60)])

        replies = asyncio.run(trade())

    assert all(reply.code is None for reply in replies)
    assert max(inserted) <= 10
    assert sum(inserted) - len(inserted) == 120


def test_paying_many_holders_is_one_command_over_many_batches(
    recorder: POPOApplicationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply comes when all are paid, with the last position; asked again, also after a restart, it is the same."""
    monkeypatch.setattr(settlement, "STEP", 7)  # instead of the hundreds of holders that a step pays
    payouts = (Payout("Yes", MICRO),)

    def settle(gateway: LocalGateway, market_id: str) -> Reply:
        return gateway.submit_blocking("op:final", FinalizeMarket(market_id))

    with running(recorder, limits=Limits(events_max=20)) as (_, gateway, _):
        market = open_market(gateway.submit_blocking, accounts=30)
        for number, account in enumerate(market.accounts):
            gateway.submit_blocking(f"op:split:{number}", SplitSets(account, market.market_id, MICRO))
        gateway.submit_blocking("op:close", CloseMarket(market.market_id))
        gateway.submit_blocking("op:determine", DetermineMarket(market.market_id, payouts, Evidence("Seen.")))
        first = settle(gateway, market.market_id)
        assert first == settle(gateway, market.market_id)
    with running(recorder) as (_, gateway, _):
        assert first == settle(gateway, market.market_id)

    events = [event for event in recorded(recorder) if event.command_id == "op:final"]
    assert first.position == events[-1].position
    assert len([event for event in events if event.event.TOPIC == "PayoutPaid.v1"]) == 30
    assert events[-1].event.TOPIC == "MarketSettled.v1"
    assert events[-1].position - events[0].position > len(events)  # ends of batches lie between
    assert first.result["status"] == "finalized"


class StoppingRecorder(POPOApplicationRecorder):
    """A recorder that calls back after so many appends."""

    def __init__(self) -> None:
        super().__init__()
        self.countdown = -1
        self.call: Callable[[], None] = lambda: None

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Insert, or be away for ever."""
        if self.countdown == 0:
            self.call()
            raise IntegrityError("away")
        self.countdown -= 1
        return super().insert_events(stored_events, **kwargs)


@pytest.mark.parametrize("appends", range(3))
def test_a_payout_that_was_cut_off_is_finished_at_the_next_start(appends: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended between two batches of one finalize: the next engine pays the rest before anything else, each once."""
    monkeypatch.setattr(settlement, "STEP", 7)
    recorder = StoppingRecorder()
    source = LocalSource()
    engine = Engine(RecorderLog(recorder), source, limits=Limits(events_max=20))
    engine.start()
    gateway = LocalGateway(source, timeout_seconds=10)
    market = open_market(gateway.submit_blocking, accounts=30)
    for number, account in enumerate(market.accounts):
        gateway.submit_blocking(f"op:split:{number}", SplitSets(account, market.market_id, MICRO))
    gateway.submit_blocking("op:close", CloseMarket(market.market_id))
    payouts = (Payout("Yes", MICRO),)
    gateway.submit_blocking("op:determine", DetermineMarket(market.market_id, payouts, Evidence("Seen.")))
    recorder.countdown, recorder.call = appends, engine._stopping.set
    with pytest.raises(EngineStopped):
        gateway.submit_blocking("op:final", FinalizeMarket(market.market_id))
    engine.stop()
    recorder.countdown = -1

    with running(recorder) as (_, again, _):
        reply = again.submit_blocking("op:final", FinalizeMarket(market.market_id))

    paid = [event.event for event in recorded(recorder) if event.event.TOPIC == "PayoutPaid.v1"]
    assert len(paid) == 30
    assert reply.result["status"] == "finalized"
    check_log(recorder, [reply])
