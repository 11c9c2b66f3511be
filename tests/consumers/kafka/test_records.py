"""Records by librdkafka: a reader whose offset is gone, and a sender without a broker."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest
from eventsourcing.persistence import OperationalError

from consumers.kafka.records import RecordReader, RecordSender
from consumers.kafka.topics import ensure_topics, topic_name
from local.processes import free_port
from settings import Settings
from tests.consumers.processes import kafka_settings


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """A log of its own on the shared broker."""
    made = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(made)
    return made


@pytest.mark.parametrize("may_skip", [True, False])
def test_an_offset_that_is_gone(settings: Settings, may_skip: bool) -> None:
    """It is an error where everything must be read; a reader that may skip goes on with the records that come."""
    topic = topic_name(settings, "replies")
    with (
        closing(RecordReader(settings, topic, 0, may_skip=may_skip)) as reader,
        closing(RecordSender(settings)) as sender,
    ):
        sender.write(topic, [b"[]"], 10)
        reader.seek(1000)
        if not may_skip:
            with pytest.raises(OperationalError, match="cannot be read"):
                reader.take(10, 10)
            return
        found: list[bytes | None] = []
        deadline = monotonic() + 20
        while not found and monotonic() < deadline:
            sender.write(topic, [b"[ ]"], 10)
            found += [record.value() for record in reader.take(10, 0.2)]
        assert found[0] == b"[ ]"


def test_a_wait_for_records_is_ended_from_another_thread(settings: Settings) -> None:
    """At once, whether it has begun or not; the next one is a wait again."""
    with closing(RecordReader(settings, topic_name(settings, "replies"), 0)) as reader, ThreadPoolExecutor() as threads:
        reader.seek_to_end()
        before = monotonic()
        waiting = threads.submit(reader.take, 10, 20)
        sleep(0.3)
        reader.wake()
        assert waiting.result() == ()
        reader.wake()
        assert reader.take(10, 20) == ()
        assert monotonic() - before < 5
        assert reader.take(10, 0.2) == ()
        assert monotonic() - before > 0.5


def test_nobody_answers(settings: Settings) -> None:
    """Writing ends with an error, in its own time."""
    nowhere = settings.model_copy(update={"kafka_brokers": f"127.0.0.1:{free_port()}"})
    with closing(RecordSender(nowhere, give_up_seconds=0.5)) as sender:
        before = monotonic()
        with pytest.raises(OperationalError):
            sender.write("topic", [b"value"], 2)
        assert monotonic() - before < 2
