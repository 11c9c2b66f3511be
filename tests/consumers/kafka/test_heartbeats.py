"""Heartbeats on a real broker: who takes over, and when."""

from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from consumers.kafka.heartbeats import CLAIM_SECONDS, SILENCE_SECONDS, KafkaHeartbeats
from settings import Settings
from tests.consumers.processes import kafka_settings


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


def claim(heartbeats: KafkaHeartbeats) -> float:
    """Wait until this standby claims the log; return the time."""
    while not heartbeats.is_my_turn(0, log_grew=False):
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
