"""The engine's loop on the in-memory recorder: doubt, errors of ours, stopping, payouts over many batches."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, cast

import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.engine.batch import BatchLimits
from consumers.engine.command_source import LocalCommand, LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import RecorderLog
from consumers.engine.runner import EngineFailedError
from consumers.errors import EngineStopped, Undecidable
from consumers.gateway import LocalGateway
from domain import settlement
from domain.market import CloseMarket, DetermineMarket, Evidence, FinalizeMarket, Payout
from domain.orders import SplitSets
from messages.commands import AdvanceTime
from messages.replies import Reply
from tests.consumers.checks import check_log, command_ids, recorded
from tests.consumers.exchange_fixtures import MICRO, open_market, running

# --- doubt


class UnsureRecorder(POPOApplicationRecorder):
    """A recorder whose inserts fail as told: `lost` before the events are in the log, `late` after."""

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
def test_whatever_appends_fail_every_command_has_one_reply(faults: list[str]) -> None:
    """Lost or late, in any order: all callers get replies, each command is in the log once, and a replay agrees."""
    recorder = UnsureRecorder()
    with running(recorder) as (engine, gateway, _):
        market = open_market(gateway.submit_blocking)
        recorder.faults = faults

        async def trade() -> list[Reply]:
            orders = [market.buy(f"c-{i}", i % 3, spend=1000 + i) for i in range(40)]
            return await asyncio.gather(*[gateway.submit(*order) for order in orders])

        replies = asyncio.run(trade())

    found = command_ids(recorder)
    assert len(found) == len(set(found)) == 7 + 40
    assert check_log(recorder, replies).state_hash() == engine.exchange.state_hash()


def test_writing_by_somebody_else_is_noticed(recorder: POPOApplicationRecorder) -> None:
    """Another writer's events make the next append fail; the engine takes over again and then knows them."""
    with running(recorder) as (_, gateway, _):
        market = open_market(gateway.submit_blocking)
        with running(recorder) as (_, other, _):
            first = other.submit_blocking(*market.buy("c-1"))
        assert first == gateway.submit_blocking(*market.buy("c-1"))
        second = gateway.submit_blocking(*market.buy("c-2"))

    assert second.position > first.position
    assert len(command_ids(recorder)) == len(set(command_ids(recorder)))


def test_a_command_that_the_engine_fails_on_is_put_aside(recorder: POPOApplicationRecorder) -> None:
    """An error of ours on one command: it alone gets no reply, its sender is told, the others are decided."""
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

    assert command_id not in command_ids(recorder)


class UnreadableRecorder(POPOApplicationRecorder):
    """A log with an event that no version of ours wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.insert_events([StoredEvent("market-x", 1, "Nonsense.v1", b"{}")])


def test_a_log_that_cannot_be_read_stops_the_engine() -> None:
    """No event is skipped: after a few tries the engine ends with the reason, and callers are told."""
    source = LocalCommandSource()
    engine = Engine(RecorderLog(UnreadableRecorder()), source)
    engine.start()

    with pytest.raises(EngineFailedError, match="Nonsense"):
        engine.wait_until_ready(10)
    engine.stop()
    with pytest.raises(EngineStopped):
        LocalGateway(source).submit_blocking("cli:1", AdvanceTime())


def test_stopping_releases_whoever_waits(recorder: POPOApplicationRecorder) -> None:
    """A command that no engine will decide any more fails at once, not at its deadline."""
    source = LocalCommandSource()
    engine = Engine(RecorderLog(recorder), source)
    future: Future[Reply] = Future()
    source.put(LocalCommand("cli:1", AdvanceTime(), "00", waiter=(None, future)))
    engine.stop()
    engine.run()

    with pytest.raises(EngineStopped):
        future.result(10)


# --- one command over many batches


def test_paying_many_holders_is_one_command_over_many_batches(
    recorder: POPOApplicationRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply comes when all are paid and has the last position; sent again, even after a restart, it is the same."""
    monkeypatch.setattr(settlement, "STEP", 7)  # instead of the hundreds of holders that a step pays
    payouts = (Payout("Yes", MICRO),)

    def settle(gateway: LocalGateway, market_id: str) -> Reply:
        return gateway.submit_blocking("op:final", FinalizeMarket(market_id))

    with running(recorder, limits=BatchLimits(events_max=20)) as (_, gateway, _):
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
    """A recorder that calls back after a number of appends."""

    def __init__(self) -> None:
        super().__init__()
        self.countdown = -1
        self.call: Callable[[], None] = lambda: None

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Insert, or fail for ever."""
        if self.countdown == 0:
            self.call()
            raise IntegrityError("away")
        self.countdown -= 1
        return super().insert_events(stored_events, **kwargs)


@pytest.mark.parametrize("appends", range(3))
def test_a_payout_that_was_cut_off_is_finished_at_the_next_start(appends: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine ended between two batches of one finalize: the next one first pays the rest, each holder once."""
    monkeypatch.setattr(settlement, "STEP", 7)
    recorder = StoppingRecorder()
    source = LocalCommandSource()
    engine = Engine(RecorderLog(recorder), source, limits=BatchLimits(events_max=20))
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
