"""Webhooks of a whole exchange with a receiver on loopback: all arrives, in order, signed, whatever fails on the way."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from api.processes import HttpProcess, start_webhooks
from api.projecting import start_projector
from consumers.kafka.topics import ensure_topics
from consumers.run_engine import make_engine
from consumers.webhooks import worker
from consumers.webhooks.shared import THREADS
from consumers.webhooks.store import CHANNEL
from consumers.wiring import open_recorder
from local.postgres import create_database, drop_database
from local.processes import free_port, polls
from settings import Settings, environment
from tests.api.conftest import OPERATOR_KEY, connected, start
from tests.consumers.processes import kafka_settings
from tests.consumers.webhooks.receiver import Receiver, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api.conftest import Exchange, Trader


@pytest.fixture(scope="module")
def exchange(postgres_dsn: str, run_folder: Path) -> Iterator[Exchange]:
    """An exchange that may send to this machine."""
    name = f"hooks_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    dsn = make_conninfo(postgres_dsn, dbname=name)
    with start(dsn, run_folder, webhook_private_addresses=True, log_level="error") as running:
        found = connected(running)
        yield found
        found.api.client.close()
    drop_database(postgres_dsn, name)


@pytest.fixture
def receiver(exchange: Exchange) -> Iterator[Receiver]:
    """A receiver that does not listen yet; all webhooks are removed after the test."""
    yield Receiver(free_port())
    for each in exchange.api.data("/webhooks"):
        exchange.api.send("DELETE", f"/webhooks/{each['webhook_id']}")


def register(exchange: Exchange, receiver: Receiver, **wanted: Any) -> str:
    """Register the receiver; return the id of the webhook."""
    made = exchange.api.done("/webhooks", {"url": receiver.url, **wanted})
    receiver.secrets.append(made["secret"])
    return str(made["webhook_id"])


def webhook(exchange: Exchange, webhook_id: str) -> dict[str, Any]:
    """Return a webhook as it is shown."""
    return dict(exchange.api.data(f"/webhooks/{webhook_id}"))


def wait_for(exchange: Exchange, webhook_id: str, status: str) -> dict[str, Any]:
    """Wait until a webhook has this status, and return it."""
    for _ in polls(30):
        if (found := webhook(exchange, webhook_id))["status"] == status:
            return found
    raise AssertionError(found)


def trade(exchange: Exchange, trader: Trader, markets: list[str], rounds: int) -> list[int]:
    """Buy and sell in turn in each market; return the positions of the trades."""
    before, sides = exchange.head(), ["buy", "sell"]
    for number in range(rounds):
        for each in markets:
            last = trader.place(each, side=sides[number % 2])["position"]
    found = [
        row["position"]
        for each in markets
        for row in exchange.api.data(f"/markets/{each}/trades", limit=1000, min_position=last)
        if row["position"] > before
    ]
    assert len(found) == rounds * len(markets)
    return sorted(found)


def test_all_arrives_in_order_though_the_receiver_is_away(exchange: Exchange, receiver: Receiver) -> None:
    """It is away at first, fails now and then, and is away again. Nothing is missing, and no id changes."""
    hook = register(exchange, receiver, lifecycle=True, min_cost="0")
    trader = exchange.trader()
    markets = [exchange.market()["market_id"] for _ in range(3)]
    expected = trade(exchange, trader, markets, 4)
    failing = wait_for(exchange, hook, "failing")
    assert failing["last_error"]
    assert failing["next_attempt_at"]
    seen: set[str] = set()

    def fail_first(found: Any) -> int:
        """Every fifth position fails when it first arrives."""
        first = found.webhook_id not in seen
        seen.add(found.webhook_id)
        return 503 if first and found.position % 5 == 0 else 200

    receiver.answer = fail_first
    with listening(receiver):
        receiver.wait_for(lambda: set(expected) <= set(receiver.positions()))
    expected += trade(exchange, trader, markets, 4)
    wait_for(exchange, hook, "failing")
    with listening(receiver):
        expected += trade(exchange, trader, markets, 4)
        exchange.api.done(f"/webhooks/{hook}/enable")
        receiver.wait_for(lambda: set(expected) <= set(receiver.positions()))
        done = wait_for(exchange, hook, "active")
    receiver.check_order()
    told = {each.position: each for each in receiver.received}
    rows = exchange.api.data("/trades", limit=1000)
    assert {row["position"] for row in rows} <= told.keys()
    for row in rows:
        bodies = [
            each["data"] for each in told[row["position"]].body["data"]["messages"] if each["channel"] == "trades"
        ]
        assert (row["cost"], row["price_after"]) in [(each["cost"], each["price_after"]) for each in bodies]
    drafted = [each for each in receiver.received if each.body["type"] == "MarketDrafted"]
    assert {each.market_id for each in drafted} >= set(markets)
    assert (done["last_error"], done["failing_since"]) == (None, None)


def test_fills_of_an_account_arrive(exchange: Exchange, receiver: Receiver) -> None:
    """Its own as a taker, and that of an order that rested; nothing of anybody else."""
    maker, taker = exchange.trader(), exchange.trader()
    market = exchange.market()["market_id"]
    register(exchange, receiver, fills_of=maker.name)
    with listening(receiver):
        first = maker.place(market)
        resting = maker.place(market, type="limit", side="sell", limit_price="0.52", quantity="0.5")
        taker.place(market, quantity="20")
        last = maker.place(market, side="sell", quantity="0.5")

        def told() -> list[tuple[str, str]]:
            messages = [each["data"] for found in receiver.received for each in found.body["data"]["messages"]]
            assert {each["account_id"] for each in messages} <= {maker.account_id}
            return [(each["type"], each["order_id"]) for each in messages]

        receiver.wait_for(lambda: ("OrderPlaced", last["order_id"]) in told())
    assert told() == [
        ("OrderPlaced", first["order_id"]),
        ("TradeSettled", resting["order_id"]),
        ("OrderPlaced", last["order_id"]),
    ]


def test_both_secrets_sign_after_a_rotation(exchange: Exchange, receiver: Receiver) -> None:
    """So a receiver can change to the new one without losing anything."""
    hook = register(exchange, receiver, min_cost="0")
    receiver.secrets.append(exchange.api.done(f"/webhooks/{hook}/rotate-secret")["secret"])
    with listening(receiver):
        (position,) = trade(exchange, exchange.trader(), [exchange.market()["market_id"]], 1)
        receiver.wait_for(lambda: receiver.positions() == [position])


@pytest.mark.parametrize("skip", [False, True])
def test_a_webhook_is_disabled_after_a_day_and_can_be_enabled(
    exchange: Exchange, receiver: Receiver, *, skip: bool
) -> None:
    """It then continues where it was, or, if it should skip that, with what happens next."""
    hook = register(exchange, receiver, min_cost="0")
    market, trader = exchange.market()["market_id"], exchange.trader()
    missed = trade(exchange, trader, [market], 3)
    wait_for(exchange, hook, "failing")
    with psycopg.connect(str(exchange.running.settings.dsn), autocommit=True) as connection:
        connection.execute(
            "UPDATE public.webhooks SET failing_since = now() - interval '24 hours', next_attempt_at = now(); "
            f"NOTIFY {CHANNEL}"
        )
    disabled = wait_for(exchange, hook, "disabled")
    assert disabled["delivered_position"] < missed[0]
    with listening(receiver):
        enabled = exchange.api.done(f"/webhooks/{hook}/enable", {"skip": skip})
        assert enabled["status"] == "active"
        expected = ([] if skip else missed) + trade(exchange, trader, [market], 1)
        receiver.wait_for(lambda: expected[-1] in receiver.positions())
    assert receiver.positions() == expected


def test_a_test_message_arrives_whatever_the_status(exchange: Exchange, receiver: Receiver) -> None:
    """Signed as all others, each with an id of its own. It says why it did not arrive, and changes nothing."""
    hook = register(exchange, receiver, min_cost="999999999")
    receiver.secrets.append(exchange.api.done(f"/webhooks/{hook}/rotate-secret")["secret"])
    away = exchange.api.done(f"/webhooks/{hook}/ping")
    assert not away["delivered"]
    assert away["error"]
    with listening(receiver):
        assert exchange.api.done(f"/webhooks/{hook}/ping") == {"webhook_id": hook, "delivered": True, "error": None}
        receiver.answer = lambda _: 410
        gone = exchange.api.done(f"/webhooks/{hook}/ping")
        assert (gone["delivered"], gone["error"]) == (False, "the receiver answered 410")
        found = webhook(exchange, hook)
        assert (found["status"], found["last_error"], found["delivered_at"]) == ("active", None, None)
        with psycopg.connect(str(exchange.running.settings.dsn), autocommit=True) as connection:
            connection.execute("UPDATE public.webhooks SET disabled_at = now()")
        receiver.answer = lambda _: 204
        assert exchange.api.done(f"/webhooks/{hook}/ping")["delivered"]
    assert webhook(exchange, hook)["status"] == "disabled"
    assert receiver.problems == []
    assert len({each.webhook_id for each in receiver.received + receiver.refused}) == 3
    assert {each.body["type"] for each in receiver.received} == {"Ping"}
    assert receiver.received[0].body["data"] == {"position": None, "market_id": None, "messages": []}


def test_gone_is_gone(exchange: Exchange, receiver: Receiver) -> None:
    """A receiver that answers 410 wants nothing any more; a removed webhook is told nothing."""
    hook, other = register(exchange, receiver, min_cost="0"), Receiver(free_port())
    removed = register(exchange, other, min_cost="0")
    exchange.api.send("DELETE", f"/webhooks/{removed}")
    receiver.answer = lambda _: 410
    with listening(receiver), listening(other):
        trade(exchange, exchange.trader(), [exchange.market()["market_id"]], 2)
        assert wait_for(exchange, hook, "disabled")["last_error"] == "the receiver answered 410"
    assert len(receiver.refused) == 1
    assert not other.received


def test_another_log_disables_a_webhook(exchange: Exchange, receiver: Receiver) -> None:
    """Its place means nothing there. Enabled again, it continues at the end."""
    hook = register(exchange, receiver, min_cost="0")
    with psycopg.connect(str(exchange.running.settings.dsn), autocommit=True) as connection:
        connection.execute(f"UPDATE public.webhooks SET log = 'another'; NOTIFY {CHANNEL}")
    with listening(receiver):
        assert wait_for(exchange, hook, "disabled")["last_error"] == "the log was made anew"
        exchange.api.done(f"/webhooks/{hook}/enable")
        (position,) = trade(exchange, exchange.trader(), [exchange.market()["market_id"]], 1)
        receiver.wait_for(lambda: receiver.positions() == [position])


def test_metrics_tell_of_webhooks(exchange: Exchange, receiver: Receiver) -> None:
    """How many deliveries arrived and failed, how far it is, and whether it fails."""
    hook = register(exchange, receiver, min_cost="0")
    with listening(receiver):
        (position,) = trade(exchange, exchange.trader(), [exchange.market()["market_id"]], 1)
        receiver.wait_for(lambda: receiver.positions() == [position])
        for _ in polls(10):
            lines = exchange.api.client.get("/metrics", headers=exchange.api.headers).text.splitlines()
            if f'tidings_webhook_delivered_total{{webhook="{hook}"}} 1.0' in lines:
                break
    assert f'tidings_webhook_disabled{{webhook="{hook}"}} 0.0' in lines
    assert any(line.startswith(f'tidings_webhook_position{{webhook="{hook}"}}') for line in lines)


def test_many_webhooks_share_threads_and_connections(exchange: Exchange, receiver: Receiver) -> None:
    """Twenty of them are told of a trade, by as many threads and database connections as one."""

    def used() -> tuple[int, int]:
        with psycopg.connect(str(exchange.running.settings.dsn)) as connection:
            ours = "datname = current_database() AND application_name = 'tidings webhooks'"
            row = connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {ours}")
            threads = sum(each.name.startswith("webhook") for each in threading.enumerate())
            return threads, int(row.fetchone()[0])  # type: ignore[index]

    before = used()
    for _ in range(20):
        exchange.api.done("/webhooks", {"url": receiver.url, "min_cost": "0"})
    with listening(receiver):
        trade(exchange, exchange.trader(), [exchange.market()["market_id"]], 1)
        receiver.wait_for(lambda: len({each.webhook_id for each in receiver.received}) == 20)
        most = used()
    assert most[0] - before[0] <= THREADS + 1, "those that ask, and one that follows the log"
    assert most[1] <= THREADS


def test_it_goes_on_when_its_connection_was_lost(exchange: Exchange, receiver: Receiver) -> None:
    """All that was begun with the old connection ends, and is begun again with the next one."""
    register(exchange, receiver, min_cost="0")
    before = set(exchange.running._webhooks.workers.values())
    with psycopg.connect(str(exchange.running.settings.dsn), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM "
            "pg_database WHERE datname = current_database()) AND ((classid::int8 << 32) | objid::int8) = "
            "hashtextextended('tidings webhooks', 0)"
        )
    with listening(receiver):
        (position,) = trade(exchange, exchange.trader(), [exchange.market()["market_id"]], 1)
        receiver.wait_for(lambda: receiver.positions() == [position])
        assert any(before.isdisjoint(exchange.running._webhooks.workers.values()) for _ in polls(10))
    assert exchange.running.problem() is None


def test_an_error_of_ours_ends_the_process(
    exchange: Exchange, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be tried again for ever, and nobody would hear of it."""
    assert exchange.running.problem() is None
    monkeypatch.setattr(worker, "delivery_of", lambda *_: 1 / 0)
    sender = exchange.running._webhooks
    register(exchange, receiver, min_cost="0")
    trade(exchange, exchange.trader(), [exchange.market()["market_id"]], 1)
    try:
        assert any(exchange.running.problem() is not None for _ in polls(30))
        assert exchange.running.problem() == "webhooks stopped: ZeroDivisionError: division by zero"
    finally:  # others use this exchange
        sender.stop()
        exchange.running._webhooks = start_webhooks(
            exchange.running.settings, exchange.running.dependencies.log, exchange.running._stack
        )


def test_it_sends_with_the_log_in_kafka(kafka: str, topic_prefix: str, database: str, tmp_path: Path) -> None:
    """The same where engine, projector, server and sender are apart. A second sender waits, and takes over."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix).model_copy(
        update={
            "dsn": database,
            "port": 0,
            "operator_key": SecretStr(OPERATOR_KEY),
            "webhook_private_addresses": True,
            "withdrawal_hold_seconds": 0,
        }
    )
    ensure_topics(settings)
    receiver = Receiver(free_port())
    with ExitStack() as stack:
        engine = make_engine(settings)
        engine.start()
        stack.callback(engine.stop)
        start_projector(settings, stack)
        exchange = connected(stack.enter_context(HttpProcess(settings)))
        stack.callback(exchange.api.client.close)
        engine.wait_until_ready(60)
        recorder = stack.enter_context(open_recorder(settings))
        with ExitStack() as first_stack, listening(receiver):
            first = start_webhooks(settings, recorder, first_stack)
            register(exchange, receiver, lifecycle=True, min_cost="0")
            markets, trader = [exchange.market()["market_id"] for _ in range(2)], exchange.trader()
            expected = trade(exchange, trader, markets, 3)
            receiver.wait_for(lambda: set(expected) <= set(receiver.positions()))
            second = start_webhooks(settings, recorder, stack)
            first_stack.close()
            expected += trade(exchange, trader, markets, 3)
            receiver.wait_for(lambda: set(expected) <= set(receiver.positions()))
    assert not first.workers
    assert second.connected
    receiver.check_order()
    assert sum(each.body["type"] == "MarketDrafted" for each in receiver.received) >= len(markets)


@contextmanager
def sender(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """`tidings webhooks` as a process."""
    process = subprocess.Popen([sys.executable, "-m", "api", "webhooks"], env=environment(settings))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_sender_is_killed(database: str, server_folder: Path) -> None:
    """`kill -9` in the midst of its deliveries: the next process goes on, in order, and what comes twice has one id."""
    receiver, killed = Receiver(free_port()), threading.Event()
    with start(database, server_folder, webhook_private_addresses=True, log_level="error") as running:
        exchange = connected(running)
        register(exchange, receiver, min_cost="0")
        markets = [exchange.market()["market_id"] for _ in range(4)]
        expected = trade(exchange, exchange.trader(), markets, 40)
        exchange.api.client.close()
        settings = running.settings.model_copy(update={"ops_port": free_port()})

    def hang(_: Any) -> int:
        """Take 70 deliveries; keep the first sender waiting for an answer to all others."""
        if len(receiver.received) < 70 or killed.is_set():
            return 200
        killed.wait(60)
        return 500

    receiver.answer = hang
    with listening(receiver):
        with sender(settings) as first:
            receiver.wait_for(lambda: len(receiver.received) >= 70)
            first.kill()
        before = len(receiver.positions())
        killed.set()
        with sender(settings) as second:
            receiver.wait_for(lambda: len(receiver.positions()) == len(expected))
            metrics = httpx.get(f"http://127.0.0.1:{settings.ops_port}/metrics").text
            assert httpx.get(f"http://127.0.0.1:{settings.ops_port}/readyz").status_code == 200
            second.terminate()
            assert second.wait(30) == 0
    assert 70 <= before < len(expected)
    assert "tidings_webhook_delivered_total" in metrics
    assert sorted(receiver.positions()) == expected
    assert len(receiver.received) > len(expected), "what the first one had not noted comes again"
    receiver.check_order()
