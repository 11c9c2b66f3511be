"""A trading service on a broker with TLS, logins and access rules: it trades for its own account, and can do nothing else."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from api import key_store
from consumers.engine.engine import Engine
from consumers.kafka.access_rules import access_rules, apply_access_rules
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.dead_letters import DeadLetters
from consumers.kafka.event_publisher import EventPublisher
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.heartbeats import KafkaHeartbeats
from consumers.kafka.log_settings import log_settings
from consumers.kafka.order_gate import OrderGate, Signer
from consumers.kafka.records import RecordReader
from consumers.kafka.topics import COMMANDS, EVENTS, FEED, HEARTBEATS, ORDERS, REPLIES, ensure_topics, topic_name
from consumers.wiring import open_log
from domain.account import DepositCash
from domain.orders import CancelOrders
from local.kafka import Broker
from local.processes import free_port
from messages.commands import dump_command, new_id
from messages.replies import Reply, parse_replies
from messages.signed_orders import hash_of
from migrations import migrate
from settings import Settings, environment
from tests.api.command_line import tidings
from tests.consumers.checks import command_ids, eventually, reading
from tests.consumers.exchange_fixtures import open_market
from tests.consumers.kafka.test_connection_check import CERTIFICATE, KEY_AND_CERTIFICATE
from tests.consumers.processes import EngineProcess
from tidings_client.kafka import KafkaClient, NoReplyError, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "tdg_a-secret-of-the-tests"  # noqa: S105  it guards nothing
PARTS = ("admin", "engine", "api", "orders", "feed", "service")


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Settings]]:
    """A function that returns the settings of a part, on a broker that knows all parts and gives none any right yet."""
    folder = tmp_path_factory.mktemp("kafka")
    (folder / "both.pem").write_text(KEY_AND_CERTIFICATE)
    (folder / "ca.pem").write_text(CERTIFICATE)
    ports = {protocol: free_port() for protocol in ("PLAINTEXT", "SASL_SSL", "CONTROLLER")}
    users = " ".join(f'user_{part}="secret-of-{part}"' for part in PARTS)
    broker = Broker(
        folder,
        port=ports["PLAINTEXT"],
        properties={
            "listeners": ",".join(f"{protocol}://127.0.0.1:{port}" for protocol, port in ports.items()),
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule "
            f"required {users};",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "both.pem"),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin;User:ANONYMOUS",  # the latter: the node itself
        },
    )
    broker.controller_port = ports["CONTROLLER"]

    def settings(part: str) -> Settings:
        return Settings(
            home=folder / part,
            log="kafka",
            kafka_brokers=f"127.0.0.1:{ports['SASL_SSL']}",
            kafka_replication=1,
            kafka_security_protocol="SASL_SSL",
            kafka_sasl_mechanism="PLAIN",
            kafka_username=part,
            kafka_password=SecretStr(f"secret-of-{part}"),
            kafka_ca_file=folder / "ca.pem",
        )

    with broker:
        ensure_topics(settings("admin"))
        apply_access_rules(settings("admin"), access_rules(settings("admin"), {}))
        yield settings


@pytest.fixture(scope="module")
def running(login: Callable[[str], Settings]) -> Iterator[tuple[KafkaGateway, dict[str, Signer]]]:
    """Engine, API, feed and gate, each with the rights of its own part; the way of the API, and the keys that may sign."""
    keys: dict[str, Signer] = {}
    engine = Engine(
        open_log(login("engine")),
        KafkaCommandSource(login("engine")),
        heartbeats=KafkaHeartbeats(login("engine")),
    )
    engine.start()
    engine.wait_until_ready(60)
    gate = OrderGate(login("orders"), keys.get)
    thread = threading.Thread(target=gate.run)
    thread.start()
    with EventPublisher(login("feed")) as feed, KafkaGateway(login("api"), http=True, timeout_seconds=30) as api:
        yield api, keys
        assert feed.error is None
    gate.request_stop()
    thread.join()
    engine.stop()
    assert engine.error is None


def sent(settings: Settings, *records: tuple[str, bytes, Any]) -> list[str | None]:
    """Write records (topic, value, headers), and return for each the name of the broker's error, None if it has it."""
    told: dict[int, str | None] = {}
    producer = Producer(log_settings(settings).rdkafka_client() | {"message.timeout.ms": 10_000, "max.in.flight": 1})
    for number, (topic, value, headers) in enumerate(records):

        def note(error: Any, _: object, number: int = number) -> None:
            told[number] = error and error.name()

        producer.produce(topic_name(settings, topic), value, partition=0, headers=headers, on_delivery=note)
    producer.flush(30)
    return [told[number] for number in range(len(records))]


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def test_a_service_trades_for_its_own_account_and_nothing_else(
    login: Callable[[str], Settings], running: tuple[KafkaGateway, dict[str, Signer]]
) -> None:
    """Its signed order is decided and its reply comes; everything that is signed wrongly, or for others, is a dead letter."""
    api, keys = running
    market = open_market(api.submit_blocking, accounts=2)
    ada, bob = market.accounts
    keys["key_ada"] = Signer(hash_of(SECRET), ada)
    service = login("service")
    order_id, order = market.buy("1")
    value = dump_command(order_id, order, reply_to="desk")
    cancel = dump_command(f"{ada}:orders:1", CancelOrders(ada), reply_to="desk")

    def signed(text: bytes, key_id: str = "key_ada", secret: str = SECRET, late: int = 0) -> tuple[bytes, Any]:
        return text, sign(text, key_id, secret, now() - timedelta(seconds=late))

    victims_id, victims = market.buy("2", account=1)
    refused: dict[str, tuple[bytes, Any]] = {
        "for another account": signed(dump_command(victims_id, victims)),
        "does not fit": (value, sign(cancel, "key_ada", SECRET, now())),
        "signature does not": signed(cancel, secret="wrong"),  # noqa: S106
        "names no key": signed(value, key_id="key_bob"),
        "too far": signed(value, late=120),
        "is missing": (value, None),
        "may not send DepositCash": signed(dump_command(f"{ada}:orders:2", DepositCash(ada, 5))),
        "must begin with": signed(dump_command("OpenAccount:first", CancelOrders(ada))),
        "not one of the key's": signed(value.replace(order_id.encode(), victims_id.encode())),
        "stands twice": (value, [*sign(value, "key_ada", SECRET, now()), ("time", b"x")]),
        "malformed": signed(b"nonsense"),
        "object": signed(b"["),
    }
    with closing(RecordReader(service, topic_name(service, REPLIES), 0, may_skip=True)) as reader:
        reader.seek_to_end()
        records = (*refused.values(), signed(value), signed(value), signed(cancel))
        assert set(sent(service, *[(ORDERS, *record) for record in records])) == {None}
        replies: list[Reply] = []

        def came() -> bool:
            for record in reader.take(100, 0.5):
                replies.extend(parse_replies(record.value() or b"[]"))
            return {order_id, f"{ada}:orders:1"} <= {reply.command_id for reply in replies}

        assert eventually(came, 30)
    assert {reply.code for reply in replies if reply.command_id == order_id} == {None}

    with DeadLetters(login("admin")) as letters:
        found = [each.letter.reason for each in letters.open()]
    assert len(found) == len(refused)
    for part, reason in zip(refused, found, strict=True):
        assert part.split()[0] in reason, (part, reason)
    with reading(login("engine")) as recorder:
        ids = [each for each in command_ids(recorder) if not each.startswith("setup:")]
    assert ids == [order_id, f"{ada}:orders:1"]
    assert bob not in " ".join(ids)


def test_the_client_signs_for_its_account(
    login: Callable[[str], Settings], running: tuple[KafkaGateway, dict[str, Signer]]
) -> None:
    """With the key it trades, and sent again it is the same order; with another key there is no reply."""
    api, keys = running
    market = open_market(api.submit_blocking, accounts=2)
    ada, bob = market.accounts
    keys["key_ada"] = Signer(hash_of(SECRET), ada)
    config = log_settings(login("service")).rdkafka_client()
    order = {
        "account_id": ada, "market_id": market.market_id, "client_order_id": "signed", "outcome": "Yes", "side": "buy",
        "type": "market", "spend": "1",
    }  # fmt: skip
    with KafkaClient(config, key_id="key_ada", secret=SECRET) as client:
        first = client.submit("PlaceOrder", order)
        again = client.submit("PlaceOrder", order)
        canceled = client.submit("CancelOrders", {"account_id": ada}, f"{ada}:orders:signed")
        with pytest.raises(NoReplyError):
            client.submit("PlaceOrder", order | {"account_id": bob}, timeout_seconds=2)

    assert (first.code, canceled.code) == (None, None)
    assert again == first


@pytest.mark.parametrize(
    ("part", "topics"),
    [
        ("service", (COMMANDS, EVENTS, REPLIES, FEED, HEARTBEATS, "dead-letters")),
        ("api", (EVENTS, REPLIES, FEED, HEARTBEATS, ORDERS, "dead-letters")),
        ("feed", (COMMANDS, EVENTS, REPLIES, HEARTBEATS, ORDERS, "dead-letters")),
        ("orders", (EVENTS, REPLIES, FEED, HEARTBEATS, ORDERS)),
        ("engine", (COMMANDS, ORDERS, FEED)),
    ],
)
def test_no_part_writes_where_it_need_not(
    login: Callable[[str], Settings],
    running: tuple[KafkaGateway, dict[str, Signer]],
    part: str,
    topics: tuple[str, ...],
) -> None:
    """The broker refuses each of them."""
    assert running
    errors = sent(login(part), *[(topic, b"x", None) for topic in topics])
    assert set(errors) == {"TOPIC_AUTHORIZATION_FAILED"}, dict(zip(topics, errors, strict=True))


def test_the_command_line_makes_the_rules_with_which_the_gate_runs(
    login: Callable[[str], Settings], database: str, tmp_path: Path
) -> None:
    """`topics create --acls` prints and makes them; with them alone `tidings orders` passes a trader's signed order on."""
    mine = {"kafka_topic_prefix": "apart.", "dsn": database, "home": tmp_path, "log_level": "error"}
    admin, service, gate = (login(part).model_copy(update=mine) for part in ("admin", "service", "orders"))
    wrong = tidings(admin, "topics", "create", "--acls", "--principal", "desk=User:desk")
    assert (wrong.returncode, "'desk' is no part of the exchange" in wrong.stderr) == (2, True)
    made = tidings(admin, "topics", "create", "--acls", "--principal", "engine=User:motor")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.splitlines() == [str(rule) for rule in access_rules(admin, {"engine": "User:motor"})]

    account = new_id("ac", "ada")
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection)
        secret, key = key_store.create(connection, key_store.NewKey(("trader",), account))
    assert secret is not None
    value = dump_command(f"{account}:orders:1", CancelOrders(account))
    process = EngineProcess(gate, tmp_path / "gate.log", command="orders", environment=environment(gate))
    with process, closing(RecordReader(admin, topic_name(admin, COMMANDS), 0, may_skip=True)) as reader:
        reader.seek_to_end()
        records = [(ORDERS, b"junk", None), (ORDERS, value, sign(value, key.key_id, secret, now()))]
        assert sent(service, *records) == [None, None]
        assert sent(service, (COMMANDS, value, None)) == ["TOPIC_AUTHORIZATION_FAILED"]
        passed: list[bytes | None] = []
        assert eventually(lambda: passed.extend(each.value() for each in reader.take(10, 0.5)) or passed, 20), (
            process.output
        )
        assert len(passed) == 1
        assert account.encode() in (passed[0] or b"")
        process.send(SIGTERM)
        assert process.wait() == 0, process.output
    with DeadLetters(admin) as letters:
        assert len(list(letters.open())) == 1
