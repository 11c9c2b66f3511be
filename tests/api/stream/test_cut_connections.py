"""Clients whose connections are cut at random bytes collect what the log has, each message once: both transports, both logs."""

from __future__ import annotations

import random
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pydantic import SecretStr

from api.processes import Embedded
from consumers.kafka.topics import ensure_topics
from messages.channels import FollowedMarkets, channel_of, wire_of
from projections.machine.log_source import decode
from tests.api.conftest import OPERATOR_KEY, Exchange, connected
from tests.api.stream.cutting import CHANNELS, COLLECTORS, CuttingProxy, Seen, rows_in, rows_of
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from eventsourcing.persistence import ApplicationRecorder

NO_LIMITS: dict[str, Any] = {
    "address_reads_per_second": 0,
    "address_costly_reads_per_second": 0,
    "stream_beat_ms": 300,
    "stream_owner_connections_max": 1_000,
}


def told_by(log: ApplicationRecorder, market_id: str) -> list[Seen]:
    """Return the messages that the log has of a market."""
    followed = FollowedMarkets()
    return [
        (message.position, channel, msgspec.json.decode(msgspec.json.encode(wire_of(message))))
        for recorded in decode(log.select_notifications(0, 100_000))
        for message in followed.follow(recorded)
        if message.market_id == market_id and (channel := channel_of(message)) in CHANNELS
    ]


@pytest.fixture(params=["postgres", "kafka"])
def of_each_log(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[Exchange]:
    """An exchange with its log in PostgreSQL, and one with its log in Kafka, without limits on reads."""
    chosen = {"dsn": database, "port": 0, "operator_key": SecretStr(OPERATOR_KEY), "log_level": "error", **NO_LIMITS}
    brokers = request.getfixturevalue("kafka") if request.param == "kafka" else "none"
    prefix: str = request.getfixturevalue("topic_prefix")
    settings = kafka_settings(tmp_path, brokers, prefix).model_copy(update={**chosen, "log": request.param})
    if request.param == "kafka":
        ensure_topics(settings)
    with Embedded(settings, one_process=True) as running:
        found = connected(running)
        yield found
        found.api.client.close()


def collected_through_cuts(exchange: Exchange, cuts: int, trade: Callable[[Exchange, dict[str, Any]], int]) -> None:
    """Trade while one client of each transport is cut so often, and compare both with the log.

    `trade` returns the last position of the market.
    """
    market = exchange.market()
    proxies = [CuttingProxy(exchange.running.url, random.Random(21 + n), cuts) for n in range(2)]  # noqa: S311
    with proxies[0], proxies[1], ThreadPoolExecutor(2) as pool:
        collectors = [
            COLLECTORS[transport](proxy.url, market["slug"], 0)
            for transport, proxy in zip(("sse", "ws"), proxies, strict=True)
        ]
        end: Future[int] = Future()
        collecting = [pool.submit(collector.collect, end, 300) for collector in collectors]
        end.set_result(trade(exchange, market))
        for each in collecting:
            each.result()
    told = told_by(exchange.running.dependencies.log, market["market_id"])
    assert told[-1][:2] == (end.result(), "lifecycle")
    for collector, proxy in zip(collectors, proxies, strict=True):
        assert collector.seen == told
        assert proxy.cuts_left == 0, collector.connections
    assert rows_in(told) == rows_of(exchange.api, market["slug"], end.result())


def trade(exchange: Exchange, market: dict[str, Any]) -> int:
    """Place 120 orders, then halt."""
    trader = exchange.trader()
    for number in range(120):
        trader.place(market["slug"], outcome=("Yes", "No")[number % 2], quantity="0.1")
    position: int = exchange.api.done(f"/markets/{market['slug']}/halt")["position"]
    return position


def test_each_message_comes_once_whatever_is_cut(of_each_log: Exchange) -> None:
    """About 20 cuts of each client; what it has then are the messages of the log, in order."""
    collected_through_cuts(of_each_log, 20, trade)
