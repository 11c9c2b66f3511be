"""Engines whose wall clock is set forward or back while they run: nothing waits by it."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from consumers.kafka.gateway import KafkaGateway
from messages.commands import AdvanceTime
from settings import Settings
from tests.consumers.checks import reading, recorded
from tests.consumers.processes import EngineProcess, kafka_settings
from tests.stepped_clock import SteppedClock, has_compiler


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


@pytest.fixture
def clock(tmp_path: Path) -> SteppedClock:
    """The clock of the engine that is tested."""
    if not has_compiler():
        pytest.skip("no C compiler")
    return SteppedClock(tmp_path / "clock")


def seconds_until(condition: Callable[[], bool], limit: float) -> float:
    """Wait until the condition holds; return how many seconds that took."""
    began = monotonic()
    while not condition():
        assert monotonic() < began + limit, f"not within {limit} s"
        sleep(0.02)
    return monotonic() - began


def test_a_standby_whose_clock_was_set_back_takes_over_in_time(
    settings: Settings, clock: SteppedClock, tmp_path: Path
) -> None:
    """By a minute, while nothing comes from the log. It waited a minute longer than it should, for each wait."""
    with EngineProcess(settings, tmp_path / "first.txt") as first, KafkaGateway(settings, retry_seconds=0.5) as gateway:
        gateway.submit_blocking("t:1", AdvanceTime())
        standby = EngineProcess(settings, tmp_path / "second.txt", "--standby", environment=clock.environment)
        with standby as second:
            seconds_until(lambda: "standby_started" in second.output, 20)
            sleep(0.3)  # it follows the log by now, and the log says nothing
            clock.step(-60)
            first.kill()
            seconds_until(lambda: "log_taken_over" in second.output, 5)
            gateway.submit_blocking("t:2", AdvanceTime(), timeout_seconds=5)


def keeps_its_log(settings: Settings, clock: SteppedClock, folder: Path) -> bool:
    """Step the clock of an engine three times; return whether its standby has left it the log."""
    engine = EngineProcess(settings, folder / "first.txt", environment=clock.environment)
    with engine as first, KafkaGateway(settings, retry_seconds=0.5) as gateway:
        assert gateway.submit_blocking("t:0", AdvanceTime(), timeout_seconds=20).code is None
        with EngineProcess(settings, folder / "second.txt", "--standby") as second:
            seconds_until(lambda: "standby_started" in second.output, 20)
            for number, step in enumerate([-60, 3600, -3600], 1):
                sleep(0.3)  # it waits for commands by now
                clock.step(step)
                sleep(1.5)  # longer than a standby is patient
                assert gateway.submit_blocking(f"t:{number}", AdvanceTime(), timeout_seconds=5).code is None
            return "log_taken_over" not in second.output and first.output.count("log_taken_over") == 1


def test_an_engine_whose_clock_is_set_back_and_forward_keeps_the_log(
    settings: Settings, clock: SteppedClock, tmp_path: Path
) -> None:
    """It answers at once, its standby does not take over, and no event is older than the one before it.

    A machine that starves the engine for 0.7 s lets the standby take over, too, but not three times one after another.
    """
    clock.step(7200)  # the broker refused records from a sender that is an hour ahead

    assert any(keeps_its_log(settings, clock, tmp_path) for _ in range(3))

    with reading(settings) as recorder:
        times = [event.time for event in recorded(recorder)]
    assert times == sorted(times)
