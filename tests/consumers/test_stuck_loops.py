"""`/readyz` of the operations port: feed, gate of orders and webhooks notice that their loop is stuck, and that it is not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from eventsourcing.popo import POPOApplicationRecorder

import eventsourcing_kafka as es_kafka
from consumers.kafka import event_publisher, order_gate
from consumers.kafka.event_publisher import EventPublisher
from consumers.kafka.order_gate import OrderGate
from consumers.kafka.records import RecordReader
from consumers.kafka.topics import ensure_topics
from consumers.ops_server import ops_server
from consumers.webhooks import store, webhooks
from consumers.webhooks.webhooks import Webhooks
from settings import Settings
from tests.consumers.checks import eventually
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any, str], None]]:
    """A function that makes a method hang, until the test ends."""
    ended = threading.Event()

    def make(owner: Any, name: str) -> None:
        monkeypatch.setattr(owner, name, lambda *_: ended.wait(30) and [])

    yield make
    ended.set()


def check(missing: Callable[[], list[str]], make_stuck: Callable[[], None], said: str) -> None:
    """Check that it becomes ready, and then says that it is stuck."""
    with ops_server(Settings(ops_port=0), missing) as url, httpx.Client(base_url=url or "") as client:
        assert eventually(lambda: client.get("/readyz").status_code == 200, 30), client.get("/readyz").text
        make_stuck()
        assert eventually(lambda: client.get("/readyz").json().get("missing") == [said], 30)
        assert client.get("/readyz").status_code == 503


@pytest.fixture
def topics(kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    """Settings with topics of their own."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(settings)
    return settings


def test_the_feed(topics: Settings, monkeypatch: pytest.MonkeyPatch, block: Callable[[Any, str], None]) -> None:
    """It reads the log all the time."""
    monkeypatch.setattr(event_publisher, "STUCK_SECONDS", 1.0)
    publisher = EventPublisher(topics)
    thread = threading.Thread(target=publisher.run, daemon=True)
    thread.start()
    check(publisher.missing, lambda: block(es_kafka.Reader, "read"), "feed is stuck")
    publisher.request_stop()


def test_the_gate_of_orders(
    topics: Settings, monkeypatch: pytest.MonkeyPatch, block: Callable[[Any, str], None]
) -> None:
    """It looks for records all the time."""
    monkeypatch.setattr(order_gate, "STUCK_SECONDS", 1.0)
    gate = OrderGate(topics, lambda _: None)
    thread = threading.Thread(target=gate.run, daemon=True)
    thread.start()
    check(gate.missing, lambda: block(RecordReader, "take"), "orders are stuck")
    gate.request_stop()


def test_webhooks(database: str, monkeypatch: pytest.MonkeyPatch, block: Callable[[Any, str], None]) -> None:
    """Their event loop looks for changes again and again."""
    monkeypatch.setattr(webhooks, "STUCK_SECONDS", 0.5)
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.2)
    sender = Webhooks(POPOApplicationRecorder(), database, private=False)
    sender.start()
    check(sender.missing, lambda: block(store, "every"), "webhooks are stuck")
