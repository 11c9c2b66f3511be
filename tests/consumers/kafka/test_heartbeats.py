"""Heartbeats: as many as somebody listens to."""

from contextlib import closing
from pathlib import Path

import pytest

from consumers.kafka import heartbeats
from consumers.kafka.heartbeats import ALONE_SECONDS, SECONDS, SILENCE_SECONDS, KafkaHeartbeats
from tests.consumers.checks import eventually
from tests.consumers.processes import kafka_settings


def test_a_writer_without_a_standby_sends_fewer(
    tmp_path: Path, kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the first heartbeat of a standby it takes up the pace that keeps the standby waiting."""
    assert 2 * ALONE_SECONDS < SILENCE_SECONDS
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
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
