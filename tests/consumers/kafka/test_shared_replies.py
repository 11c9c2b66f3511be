"""The one reader of replies of a process: no record ends it silently."""

from __future__ import annotations

from contextlib import closing
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

import consumers.kafka.shared_replies
from consumers.kafka.shared_replies import LaneReplies, SharedReplies
from consumers.kafka.topics import REPLIES, ensure_topics, topic_name
from tests.consumers.kafka_contract import STRANGER
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import Message

    from settings import Settings


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker; its topics exist."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(settings)
    return settings


def reply_with(settings: Settings, *engines: bytes) -> None:
    """Write records for all receivers, of which each says that an engine has sent it."""
    producer = Producer({"bootstrap.servers": settings.kafka_brokers})
    for number, engine in enumerate(engines):
        producer.produce(
            topic_name(settings, REPLIES), b"%d" % number, headers=[(STRANGER, b""), ("partition", engine)]
        )
    assert producer.flush(20) == 0


def taken(lane: LaneReplies) -> list[Message]:
    """Return the first records that come."""
    deadline, found = monotonic() + 20, list(lane.take(10, 0.5))
    while not found and monotonic() < deadline:
        found = list(lane.take(10, 0.5))
    return found


def test_a_record_that_does_not_say_its_engine_is_skipped(settings: Settings) -> None:
    """Whoever may write to the topic cannot end the reader of all lanes."""
    with closing(SharedReplies(settings)) as replies:
        lane = replies.of(b"0.me", 0)
        replies.start()
        reply_with(settings, b"odd", b"\xff", b"1", b"0")
        assert [record.value() for record in taken(lane)] == [b"3"]


def test_an_error_of_ours_reaches_every_lane(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were there, and those that come later: none waits for replies that nobody reads."""

    def fail(_: object) -> int:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(consumers.kafka.shared_replies, "engine_of", fail)
    with closing(SharedReplies(settings)) as replies:
        lanes = [replies.of(b"0.me", 0), replies.of(b"0.you", 0)]
        replies.start()
        reply_with(settings, b"0")
        for lane in lanes:
            with pytest.raises(RuntimeError, match="reader of replies has stopped: a mistake"):
                taken(lane)
        with pytest.raises(RuntimeError, match="a mistake"):
            replies.of(b"0.late", 0).take(1, 0.1)
