"""A log that was made anew, rolled back or cut is refused by the engine, on a real broker and a real PostgreSQL."""

import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from psycopg.sql import SQL, Identifier

from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import LogLost
from consumers.errors import EngineStopped
from consumers.gateway import LocalGateway
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.topics import ensure_topics
from consumers.lost_log import put_engine_files_aside
from consumers.wiring import open_log
from local.kafka import Broker
from local.postgres import create_database, drop_database
from messages.commands import dump_command, dump_record
from messages.replies import Reply
from settings import Settings
from tests.consumers.checks import check_log, reading, recorded
from tests.consumers.exchange_fixtures import Market, engine_over_kafka, open_market
from tests.consumers.processes import EngineProcess, kafka_settings


class Exchange:
    """An engine over the settings' log, and a market that it decides."""

    def __init__(self, settings: Settings) -> None:
        self._source = LocalCommandSource()
        self.engine = Engine(open_log(settings), self._source, folder=settings.home / "engine")
        self.gateway = LocalGateway(self._source, timeout_seconds=20)
        self.engine.start()
        self.engine.wait_until_ready(30)

    def trade(self, first: int, last: int, market: Market | None = None) -> tuple[Market, list[Reply]]:
        """Place orders with these numbers."""
        market = market or open_market(self.gateway.submit_blocking)
        return market, [self.gateway.submit_blocking(*market.buy(f"c-{n}")) for n in range(first, last)]


def traded(settings: Settings, first: int, last: int, market: Market | None = None) -> tuple[Market, list[Reply]]:
    """Start an engine, place orders, and stop it cleanly."""
    exchange = Exchange(settings)
    try:
        return exchange.trade(first, last, market)
    finally:
        exchange.engine.stop()


def files(settings: Settings) -> dict[str, bytes]:
    """Return what is kept beside the log, by name, without locks."""
    folder = settings.home / "engine"
    return {path.name: path.read_bytes() for path in folder.rglob("snapshot-*") if path.suffix != ".part"}


def refused(settings: Settings, match: str) -> None:
    """Check that an engine refuses the log, says what to do, and touches no snapshot."""
    before = files(settings)
    assert before
    with pytest.raises(LogLost, match=match) as refusal:
        Exchange(settings)
    assert "--accept-lost-log" in str(refusal.value)
    assert files(settings) == before


# --- Kafka


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path / "home", kafka, topic_prefix)


@pytest.fixture
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """A client that deletes topics."""
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka_brokers)) as client:
        yield client


def test_a_topic_deleted_while_all_is_down_is_refused_until_that_is_accepted(
    settings: Settings, admin: KafkaAdminClient
) -> None:
    """Accepting puts aside what was known; the snapshot stays, and the engine begins an empty log."""
    _, replies = traded(settings, 0, 5)
    admin.delete_topics([f"{settings.kafka_topic_prefix}events"])

    refused(settings, f"made anew.* up to position {replies[-1].position + 3}")  # a batch ends, a snapshot is told
    refused(settings, "made anew")
    kept = set(files(settings).items())
    put_engine_files_aside(settings)
    _, again = traded(settings, 0, 2)

    assert again[0].position < replies[-1].position
    assert kept <= set(files(settings).items())


def test_a_topic_made_anew_under_a_running_engine_stops_it(settings: Settings, admin: KafkaAdminClient) -> None:
    """The next append is never confirmed in the new topic."""
    exchange = Exchange(settings)
    market, _ = exchange.trade(0, 3)
    admin.delete_topics([f"{settings.kafka_topic_prefix}events"])
    with pytest.raises(EngineStopped):
        exchange.gateway.submit_blocking(*market.buy("c-3"))
    exchange.engine.stop()

    assert isinstance(exchange.engine.error, LogLost)


def test_a_log_without_its_head_is_refused(settings: Settings, admin: KafkaAdminClient) -> None:
    """DeleteRecords: the snapshot may be the last copy of the state, and stays as it is."""
    market, _ = traded(settings, 0, 5)
    traded(settings, 5, 8, market)
    admin.delete_records({TopicPartition(f"{settings.kafka_topic_prefix}events", 0): 6})

    refused(settings, "before offset 6 were deleted")
    with pytest.raises(LogLost, match="cannot be accepted"):
        put_engine_files_aside(settings)


@pytest.mark.parametrize("regrown", [False, True])
def test_a_restored_disk_is_refused(own_kafka: Broker, tmp_path: Path, *, regrown: bool) -> None:
    """The broker's disk of earlier: shorter, or grown again by another machine that did not know the lost end."""
    settings = kafka_settings(tmp_path / "home", own_kafka.bootstrap, "t.")
    market, _ = traded(settings, 0, 5)
    own_kafka.stop()
    shutil.copytree(own_kafka.folder / "data", tmp_path / "backup")
    own_kafka.start()
    traded(settings, 5, 9, market)
    own_kafka.stop()
    shutil.rmtree(own_kafka.folder / "data")
    shutil.copytree(tmp_path / "backup", own_kafka.folder / "data")
    own_kafka.start()
    if regrown:
        traded(kafka_settings(tmp_path / "other", own_kafka.bootstrap, "t."), 20, 40, market)

    refused(settings, "has lost events")
    kept = set(files(settings).items())
    put_engine_files_aside(settings)
    _, replies = traded(settings, 5, 7, market)
    assert kept <= set(files(settings).items())
    with reading(settings.model_copy(update={"home": tmp_path / "reader"})) as recorder:
        check_log(recorder, replies)


# --- PostgreSQL


def test_a_database_made_anew_is_refused(tmp_path: Path, postgres_dsn: str, database: str) -> None:
    """Dropped, and made again under the same name."""
    settings = Settings(home=tmp_path, dsn=database)
    traded(settings, 0, 5)
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    drop_database(postgres_dsn, str(name))
    create_database(postgres_dsn, str(name))

    refused(settings, "made anew")


@pytest.mark.parametrize("regrown", [False, True])
def test_a_table_restored_from_a_backup_is_refused(tmp_path: Path, database: str, *, regrown: bool) -> None:
    """The rows of earlier, put back; also after another machine has decided other orders on top of them."""
    settings = Settings(home=tmp_path / "home", dsn=database)
    table = Identifier("public", "log_0_events")
    market, _ = traded(settings, 0, 5)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(SQL("CREATE TABLE backup AS TABLE {}").format(table))
        traded(settings, 5, 9, market)
        session.execute(SQL("TRUNCATE {0}; INSERT INTO {0} SELECT * FROM backup").format(table))
        session.execute(
            SQL(
                "SELECT setval(pg_get_serial_sequence('public.log_0_events', 'notification_id'), max(notification_id)) FROM {}"
            ).format(table)
        )
    if regrown:
        traded(Settings(home=tmp_path / "other", dsn=database), 20, 40, market)

    refused(settings, "has lost events")
    put_engine_files_aside(settings)
    traded(settings, 5, 7, market)


def test_a_database_that_moved_whole_is_the_same_log(tmp_path: Path, postgres_dsn: str, database: str) -> None:
    """A copy with all its tables, on whatever server: the engine goes on with its snapshot."""
    settings = Settings(home=tmp_path, dsn=database)
    market, _ = traded(settings, 0, 5)
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    with psycopg.connect(postgres_dsn, autocommit=True) as session:
        session.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(f"{name}_copy"), Identifier(name)))
    drop_database(postgres_dsn, name)
    with psycopg.connect(postgres_dsn, autocommit=True) as session:
        session.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(f"{name}_copy"), Identifier(name)))

    traded(settings, 5, 6, market)


# --- the commands


def test_commands_in_a_topic_made_anew_are_all_decided(settings: Settings, admin: KafkaAdminClient) -> None:
    """Made anew while the engine is down: its offsets begin again, and none of its commands is passed over."""
    topic = f"{settings.kafka_topic_prefix}commands"
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings):
        market = open_market(gateway.submit_blocking)
        for number in range(9):
            gateway.submit_blocking(*market.buy(f"c-{number}"))
    admin.delete_topics([topic])
    ensure_topics(settings)
    with KafkaGateway(settings) as gateway:
        orders = [market.buy(f"c-{number}") for number in range(9, 36)]
        gateway._sender.write(topic, [dump_record([dump_command(*order)]) for order in orders], 10)
        with engine_over_kafka(settings):
            replies = [gateway.submit_blocking(*order) for order in orders]

    with reading(settings) as recorder:
        check_log(recorder, replies)
        found = [event for event in recorded(recorder) if event.digest is not None]
    assert [event.command_id for event in found[-27:]] == [command_id for command_id, _ in orders]


@pytest.mark.timeout(180)
def test_expired_commands_are_counted_and_told_once(
    settings: Settings, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    """Deleted by retention before they were read: a warning with their number, at the first start only."""
    topic = f"{settings.kafka_topic_prefix}commands"
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings):
        market = open_market(gateway.submit_blocking)
        found = admin.list_partition_offsets({TopicPartition(topic, 0): OffsetSpec.LATEST})
    read = found[TopicPartition(topic, 0)].offset
    with KafkaGateway(settings) as gateway:
        gateway._sender.write(topic, [dump_record([dump_command(*market.buy(f"c-{n}"))]) for n in range(5)], 10)
        admin.delete_records({TopicPartition(topic, 0): read + 3})
        printed = []
        for number in range(2):
            with EngineProcess(settings, tmp_path / str(number)) as engine:
                assert gateway.submit_blocking(*market.buy("c-4")).code is None
                engine.send(signal.SIGTERM)
                assert engine.wait() == 0
                printed.append([line for line in engine.output.splitlines() if "commands_" in line])

    assert [len(lines) for lines in printed] == [1, 0]
    assert "commands_expired" in printed[0][0]
    assert re.search(r"records\W+3\b", printed[0][0])
    assert "warning" in printed[0][0]
