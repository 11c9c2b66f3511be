"""Heartbeats on a real broker: who takes over, and when; as many as somebody listens to."""

from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from consumers.kafka import heartbeats
from consumers.kafka.heartbeats import ALONE_SECONDS, CLAIM_SECONDS, SECONDS, SILENCE_SECONDS, KafkaHeartbeats
from settings import Settings
from tests.consumers.checks import eventually
from tests.consumers.processes import kafka_settings


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


def claim(standby: KafkaHeartbeats) -> float:
    """Wait until this standby claims the log; return the time."""
    while not standby.is_my_turn(0, log_grew=False):
        sleep(0.02)
    return monotonic()


def test_a_standby_waits_for_another_one_that_takes_over(settings: Settings) -> None:
    """A slow take-over is not disturbed by a second one. If it fails, the second one follows soon."""
    with closing(KafkaHeartbeats(settings)) as first, closing(KafkaHeartbeats(settings)) as second:
        first.stand_by()
        second.stand_by()
        claimed = claim(first)  # and is silent from now on

        waited = claim(second) - claimed

    assert SILENCE_SECONDS + CLAIM_SECONDS <= waited < 2 * (SILENCE_SECONDS + CLAIM_SECONDS)


def test_a_writer_without_a_standby_sends_fewer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first heartbeat of a standby it takes up the pace that keeps the standby waiting."""
    assert 2 * ALONE_SECONDS < SILENCE_SECONDS
    monkeypatch.setattr(heartbeats, "HEARD_SECONDS", 0.5)
    with closing(KafkaHeartbeats(settings)) as writer, closing(KafkaHeartbeats(settings)) as standby:

        def writes_every(seconds: float, *, watched: bool) -> bool:
            if watched:
                assert not standby.is_my_turn(0, log_grew=False)
            assert not writer.must_end(0)
            return writer.seconds == seconds

        writer.hold(1, 0)
        assert writes_every(ALONE_SECONDS, watched=False)
        standby.stand_by()
        assert eventually(lambda: writes_every(SECONDS, watched=True))
        assert eventually(lambda: writes_every(ALONE_SECONDS, watched=False))
