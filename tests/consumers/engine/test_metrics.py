"""The engine's numbers for Prometheus: they agree with what the engine did."""

from __future__ import annotations

import threading
from time import time_ns
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from consumers.engine.metrics import EngineCollector
from consumers.run_engine import missing
from domain.partition import CommandRejected
from tests.consumers.checks import eventually, recorded
from tests.consumers.exchange_fixtures import MICRO, open_market, running

if TYPE_CHECKING:
    import pytest
    from eventsourcing.popo import POPOApplicationRecorder


def test_the_numbers_are_those_of_the_log(recorder: POPOApplicationRecorder) -> None:
    """Accepted, refused by code and repeated commands add up; events are counted, each append is timed."""
    registry = CollectorRegistry()
    with running(recorder) as (engine, gateway, _):
        registry.register(EngineCollector(engine))
        assert registry.get_sample_value("tidings_engine_state", {"state": "serving"}) == 1
        market = open_market(gateway.submit_blocking)
        before = registry.get_sample_value("tidings_engine_accepted_total") or 0
        for order in ("c-1", "c-2", "c-1"):
            gateway.submit_blocking(*market.buy(order))
        gateway.submit_blocking(*market.buy("c-3", spend=MICRO * 10**9))
        position = engine.position
        value = registry.get_sample_value
        refusals = [event.event.code for event in recorded(recorder) if isinstance(event.event, CommandRejected)]

        assert value("tidings_engine_accepted_total") == before + 2
        assert value("tidings_engine_duplicates_total") == 1
        assert len(refusals) == 1
        assert value("tidings_engine_refused_total", {"code": refusals[0]}) == 1
        assert value("tidings_engine_events_total") == value("tidings_engine_position") == position
        batches = value("tidings_engine_append_seconds_count")
        assert batches
        assert value("tidings_engine_batch_commands_count") == batches
        assert value("tidings_engine_batch_commands_bucket", {"le": "1.0"}) == batches, "each command came alone"
        assert value("tidings_engine_take_overs_total") == 1

    assert registry.get_sample_value("tidings_engine_state", {"state": "stopped"}) == 1


def test_a_stuck_engine_is_not_ready(recorder: POPOApplicationRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not say so itself: another thread asks, and the state in its numbers stays "serving"."""
    monkeypatch.setattr("consumers.run_engine.STUCK_SECONDS", 2.5)
    may_go_on = threading.Event()
    may_go_on.set()

    def clock() -> int:
        may_go_on.wait(60)
        return time_ns() // 1000

    with running(recorder, clock=clock) as (engine, _, _):
        assert missing(engine) == []
        may_go_on.clear()
        assert eventually(lambda: missing(engine) == ["engine is stuck"])
        assert engine.measures.state == "serving"
        may_go_on.set()
        assert eventually(lambda: missing(engine) == [])
