"""The feed: the log again, one record an event, without a gap whatever interrupts it."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from consumers.engine.engine import Engine
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.event_publisher import EventPublisher, key_of
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.topics import ensure_topics
from consumers.wiring import open_log
from domain.events import Recorded
from eventsourcing_kafka import LogRolledBack
from messages.events import public_event
from settings import Settings
from tests.consumers.checks import reading, recorded
from tests.consumers.exchange_fixtures import Market, open_market
from tests.consumers.processes import kafka_settings


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


@pytest.fixture
def market(settings: Settings) -> Iterator[tuple[KafkaGateway, Market]]:
    """A running engine, the way to it, and a market."""
    engine = Engine(open_log(settings), KafkaCommandSource(settings))
    engine.start()
    engine.wait_until_ready(30)
    with KafkaGateway(settings) as gateway:
        yield gateway, open_market(gateway.submit_blocking)
    engine.stop()


def log_of(settings: Settings) -> list[Recorded]:
    """Return all events of the log."""
    with reading(settings) as recorder:
        return recorded(recorder)


def feed_until(settings: Settings, position: int) -> None:
    """Run a feed until its topic holds this position."""
    with EventPublisher(settings) as feed:
        assert feed.wait_for(position, 60)


def records_of(settings: Settings) -> list[Any]:
    """Return all records of the feed."""
    topic = TopicPartition(f"{settings.kafka_topic_prefix}feed", 0)
    with consuming(settings) as consumer:
        consumer.assign([topic])
        end = consumer.end_offsets([topic])[topic]
        consumer.seek_to_beginning(topic)
        records: list[Any] = []
        while not records or records[-1].offset < end - 1:
            records += consumer.poll(timeout_ms=10_000)[topic]
    return records


@contextmanager
def consuming(settings: Settings) -> Iterator[Any]:
    """Give a consumer, and close it."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka_brokers, group_id=None)
    try:
        yield consumer
    finally:
        consumer.close()


def positions(records: Sequence[Any]) -> list[int]:
    """Return the position of each record, as its header says."""
    return [int(dict(record.headers)["position"]) for record in records]


def test_it_has_one_record_an_event(settings: Settings, market: tuple[KafkaGateway, Market]) -> None:
    """In the order of the log: value as in /v1/events, key of market or account, position, type and time in headers."""
    gateway, traded = market
    gateway.submit_blocking(*traded.buy("c-1"))
    gateway.submit_blocking(*traded.buy("c-2", spend=10_000_000_000))  # refused
    log = log_of(settings)

    feed_until(settings, log[-1].position)
    records = records_of(settings)

    assert [msgspec.json.encode(public_event(event)) for event in log] == [record.value for record in records]
    assert [key_of(event).encode() for event in log] == [record.key for record in records]
    for event, record in zip(log, records, strict=True):
        public, headers = public_event(event), dict(record.headers)
        assert str(event.position).encode() == headers["position"]
        assert (public["type"], public["time"]) == (headers["type"].decode(), headers["time"].decode())
    keys = {public_event(event)["type"]: key_of(event) for event in log}
    assert (traded.market_id, traded.accounts[0]) == (keys["OrderPlaced"], keys["TradeSettled"])
    assert keys["CommandRejected"] in {traded.market_id, traded.accounts[0]}


def test_it_goes_on_where_it_stopped(settings: Settings, market: tuple[KafkaGateway, Market]) -> None:
    """Stopped and started again and again, it neither repeats an event nor leaves one out."""
    gateway, traded = market
    for number in range(4):
        gateway.submit_blocking(*traded.buy(f"c-{number}"))
        feed_until(settings, log_of(settings)[-1].position)

    assert [event.position for event in log_of(settings)] == positions(records_of(settings))


def test_it_goes_on_in_the_middle_of_a_batch(settings: Settings, market: tuple[KafkaGateway, Market]) -> None:
    """Killed when part of a batch had arrived: it sends the rest, then the events that follow."""
    gateway, traded = market
    gateway.submit_blocking(*traded.buy("c-1"))
    log = log_of(settings)
    whole = EventPublisher(settings)
    feed_until(settings, log[0].position)
    assert positions(records_of(settings))[-1] == log[-1].position
    cut = records_of(settings)[-2]  # the batch's last record but one, as the last one that arrived
    producer = KafkaProducer(bootstrap_servers=settings.kafka_brokers)
    producer.send(cut.topic, cut.value, cut.key, cut.headers, cut.partition).get(timeout=10)
    producer.close()
    assert whole._last()[0] == log[-1].position - 1

    gateway.submit_blocking(*traded.buy("c-2"))
    after = log_of(settings)
    feed_until(settings, after[-1].position)

    expected = [event.position for event in log] + list(range(log[-1].position - 1, after[-1].position + 1))
    assert expected == positions(records_of(settings))


def test_it_reads_a_copied_log_from_its_beginning(settings: Settings, market: tuple[KafkaGateway, Market]) -> None:
    """After a copy the log has other offsets; the positions still go on without a gap."""
    gateway, traded = market
    feed_until(settings, log_of(settings)[-1].position)
    last = records_of(settings)[-1]
    moved = dict(last.headers)["checkpoint"].replace(b"[", b"[9", 1)  # another offset
    headers = [(name, moved if name == "checkpoint" else value) for name, value in last.headers]
    producer = KafkaProducer(bootstrap_servers=settings.kafka_brokers)
    producer.send(last.topic, last.value, last.key, headers, last.partition).get(timeout=10)
    producer.close()

    gateway.submit_blocking(*traded.buy("c-1"))
    after = log_of(settings)
    feed_until(settings, after[-1].position)

    seen = positions(records_of(settings))
    assert sorted({*seen}) == [event.position for event in after]
    assert len(seen) == len(after) + 1  # the record repeated here


@pytest.mark.parametrize("lost", ["all", "other events"])
def test_it_refuses_a_log_that_lost_what_the_feed_holds(
    settings: Settings, market: tuple[KafkaGateway, Market], lost: str
) -> None:
    """The topic was made anew, and is empty, or has other events at these positions: the feed holds what it held."""
    gateway, traded = market
    gateway.submit_blocking(*traded.buy("c-1"))
    feed_until(settings, log_of(settings)[-1].position)
    before = positions(records_of(settings))
    with reading(settings) as recorder:
        stored = recorder.select_notifications(1, 1_000)
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka_brokers)) as admin:
        admin.delete_topics([f"{settings.kafka_topic_prefix}events"])
    ensure_topics(settings)
    if lost == "other events":
        with closing(open_log(settings)) as log:
            log.take_over(lambda _: None)
            log.begin(
                [StoredEvent(e.originator_id, e.originator_version, e.topic, e.state) for e in reversed(stored)]
            ).result()

    with EventPublisher(settings) as feed:
        assert not feed.wait_for(before[-1] + 1, 60)

    assert isinstance(feed.error, LogRolledBack)
    assert before == positions(records_of(settings))


@pytest.mark.timeout(120)
def test_two_publishers_leave_no_gap(settings: Settings, market: tuple[KafkaGateway, Market]) -> None:
    """Two that run at once repeat events; the first record of each position still comes in order."""
    gateway, traded = market
    with EventPublisher(settings) as one, EventPublisher(settings) as other:
        for number in range(20):
            gateway.submit_blocking(*traded.buy(f"c-{number}"))
        last = log_of(settings)[-1].position
        assert one.wait_for(last, 60)
        assert other.wait_for(last, 60)

    firsts = list(dict.fromkeys(positions(records_of(settings))))
    assert list(range(1, last + 1)) == firsts
