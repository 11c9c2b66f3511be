"""Requests that wait: they hold nothing that another request needs, and they end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import SecretStr

from api.processes import HttpProcess
from api.projecting import start_projector
from consumers.engine.postgres_log import postgres_recorder
from consumers.kafka.topics import ensure_topics
from consumers.run_engine import make_engine
from local.processes import polls
from projections.machine.store import connect
from tests.api.conftest import OPERATOR_KEY, connected, start
from tests.api.http.slow_requests import MAX, NEVER, QUICK, Served, Waiting, serve
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.api.conftest import Exchange
    from tests.eventsourcing_kafka.own_threads import OwnThreads

SOONER = 25.0  # seconds; a wait takes 30, so what had to wait for one is later


@pytest.fixture
def served(database: str, tmp_path: Path) -> Iterator[Served]:
    """A server on which 3 requests of each crowd may wait."""
    with postgres_recorder(database, 0) as log, serve(log, database, tmp_path) as served:
        yield served


def test_nobody_waits_for_those_who_wait(
    own_threads: OwnThreads, begin: Callable[[str, Path], Exchange], database: str, tmp_path: Path
) -> None:
    """Beside more waiting reads than there are threads and connections, every other request is quick."""
    exchange = begin(database, tmp_path)
    trader, market = exchange.trader(), exchange.market()
    threads = len(own_threads.running())
    waiting = [Waiting.begin(exchange.running.url) for _ in range(100)]
    began = time.monotonic()

    exchange.api.done(f"/accounts/{trader.account_id}/deposits", {"amount": "1"})
    position = trader.place(market["market_id"])["position"]
    for path in ("/markets", f"/accounts/{trader.account_id}", "/leaderboard"):
        exchange.api.data(path, min_position=position)
    exchange.api.data("/events")
    assert exchange.api.client.get("/readyz").status_code == 200

    assert time.monotonic() - began < SOONER
    assert len(own_threads.running()) < threads + 50  # a few of the pool of 40
    for each in waiting:
        each.connection.close()


def test_nobody_waits_with_the_log_in_kafka(kafka: str, topic_prefix: str, database: str, tmp_path: Path) -> None:
    """The same where engine, projector and server are apart."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix).model_copy(
        update={"dsn": database, "port": 0, "operator_key": SecretStr(OPERATOR_KEY)}
    )
    ensure_topics(settings)
    with ExitStack() as stack:
        engine = make_engine(settings)
        engine.start()
        stack.callback(engine.stop)
        start_projector(settings, stack)
        api = connected(stack.enter_context(HttpProcess(settings))).api
        stack.callback(api.client.close)
        engine.wait_until_ready(60)
        account = api.done("/accounts", {"name": "ada"})["account_id"]
        waiting = [Waiting.begin(str(api.client.base_url)) for _ in range(100)]
        began = time.monotonic()

        position = api.done(f"/accounts/{account}/deposits", {"amount": "1"})["position"]
        assert api.data(f"/accounts/{account}", min_position=position)["available"] == "1.000000"
        assert len(api.data("/events", min_position=position)) >= 2
        assert api.client.get("/readyz").status_code == 200

        assert time.monotonic() - began < SOONER
        for each in waiting:
            each.connection.close()


def test_all_who_wait_are_woken(served: Served) -> None:
    """As soon as the read model has the position, and not before."""
    late, soon = Waiting.begin(served.url, 8), [Waiting.begin(served.url, 7) for _ in range(2)]
    served.wait_for(3)

    served.move(7)

    assert ["200 OK" in each.answer() for each in soon] == [True, True]
    assert served.waits() == 1
    served.move(8)
    assert "200 OK" in late.answer()
    assert served.waits() == 0


def test_waits_are_bounded_by_crowd(served: Served) -> None:
    """Beyond the bound a read is refused at once; reads with a key have a bound of their own."""
    waiting = [Waiting.begin(served.url) for _ in range(MAX)]
    served.wait_for(MAX)

    refused = httpx.get(f"{served.url}/v1/markets", params={"min_position": NEVER})
    unhurried = httpx.get(f"{served.url}/v1/markets", params={"min_position": NEVER, "wait_ms": 0})
    with_key = Waiting.begin(served.url, key=served.key)
    served.wait_for(MAX + 1)

    assert (refused.status_code, refused.json()["code"]) == (503, "TOO_MANY_WAITS")
    assert (refused.json()["details"], refused.headers["retry-after"]) == ({"waits_max": MAX}, "1")
    assert unhurried.json()["code"] == "NOT_YET_PROJECTED"
    assert httpx.get(f"{served.url}/v1/markets").status_code == 200
    for each in [*waiting, with_key]:
        each.connection.close()


def test_who_hangs_up_waits_no_more(served: Served) -> None:
    """The place is free for the next one."""
    waiting = [Waiting.begin(served.url) for _ in range(MAX)]
    served.wait_for(MAX)

    waiting[0].connection.close()

    served.wait_for(MAX - 1)
    waiting[0] = Waiting.begin(served.url)
    served.wait_for(MAX)
    for each in waiting:
        each.connection.close()
    served.wait_for(0)
    gone = f'route="/v1/markets",status="499"}} {MAX + 1}.0'
    assert any(
        gone in httpx.get(f"{served.url}/metrics", headers={"authorization": f"Bearer {served.key}"}).text
        for _ in polls(QUICK)
    )


def test_the_time_in_a_queue_counts(served: Served) -> None:
    """A request that had to queue for a connection first waits less for its position."""
    with served.pool.connection(), served.pool.connection():
        began = time.monotonic()
        waiting = Waiting.begin(served.url, key=served.key, wait_ms=2_000)
        time.sleep(2)  # its key cannot be looked up yet

    assert "NOT_YET_PROJECTED" in waiting.answer()
    assert 2 <= time.monotonic() - began < 3.5


def test_a_server_that_stops_does_not_wait(database: str, tmp_path: Path) -> None:
    """Waiting reads are answered at once, so that the server need not wait for them."""
    with start(database, tmp_path) as running:
        waiting = [Waiting.begin(running.url) for _ in range(3)]
        progress = running.dependencies.progress
        assert any(len(set().union(*progress._waits.values())) == len(waiting) for _ in polls(QUICK))
        began = time.monotonic()
    took = time.monotonic() - began

    assert ["NOT_YET_PROJECTED" in each.answer() for each in waiting] == [True] * len(waiting)
    assert took < 8  # `stop_ms` is 10 s


def test_a_write_beyond_the_bound_answers_at_once(database: str, tmp_path: Path) -> None:
    """It is done, so it is not refused: 202 with its position, although the read model does not show it yet."""
    with start(database, tmp_path, waits_max=0) as running, connect(database) as stalling:
        api = connected(running).api
        account = api.post("/accounts", {"name": "ada"}).json()["account_id"]
        stalling.execute("BEGIN; LOCK TABLE projection_positions IN SHARE MODE")  # no read model gets on
        began = time.monotonic()

        answer = api.post(f"/accounts/{account}/deposits", {"amount": "1"})
        read = api.get("/accounts", min_position=answer.json()["position"])

        assert time.monotonic() - began < 4  # a write waits 5 s for its read model
        stalling.execute("ROLLBACK")
        api.client.close()

    assert (answer.status_code, answer.json()["position"] > 0) == (202, True)
    assert (read.status_code, read.json()["code"]) == (503, "TOO_MANY_WAITS")
