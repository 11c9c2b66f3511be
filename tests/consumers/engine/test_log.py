"""The engine's logs: what all stores promise alike, and what PostgreSQL's lock adds."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from eventsourcing.persistence import Notification, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from consumers.engine.log import EventBatch, Fenced, InDoubt, Log, RecorderLog
from consumers.engine.postgres_log import PostgresLog, postgres_recorder, table_name
from consumers.wiring import open_log, open_recorder
from settings import Settings

OpenLog = Callable[[], Log]


def events(stream: str, first: int, count: int) -> list[StoredEvent]:
    """Return so many events of a stream, from a version on."""
    return [StoredEvent(stream, first + i, "T.v1", b'{"n":%d}' % i) for i in range(count)]


def everything(log: Log) -> list[tuple[int, str, int, str, bytes]]:
    """Take the log over and return what is in it."""
    found: list[tuple[int, str, int, str, bytes]] = []

    def add(chunk: EventBatch) -> None:
        found.extend((n, *row[:3], bytes(row[3])) for n, row in zip(chunk.positions, chunk.rows, strict=True))

    log.take_over(add)
    return found


@pytest.fixture(params=["memory", "postgres", "kafka"])
def open_one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenLog]:
    """A function that opens the same log again and again, on each store."""
    opened: list[Log] = []
    if request.param == "memory":
        recorder = POPOApplicationRecorder()

        def make() -> Log:
            return RecorderLog(recorder)
    elif request.param == "postgres":
        dsn = request.getfixturevalue("database")

        def make() -> Log:
            return open_log(Settings(home=tmp_path, dsn=dsn))
    else:
        settings = Settings(
            home=tmp_path,
            log="kafka",
            kafka_brokers=request.getfixturevalue("kafka"),
            kafka_replication=1,
            kafka_topic_prefix=request.getfixturevalue("topic_prefix"),
        )

        def make() -> Log:
            return open_log(settings)

    def open_another() -> Log:
        opened.append(make())
        return opened[-1]

    yield open_another
    for log in opened:
        log.close()


def test_what_was_appended_is_read_at_the_next_take_over(open_one: OpenLog) -> None:
    """In order, with positions that increase, streams, versions, topics and the bytes of the state."""
    log = open_one()
    assert everything(log) == []
    first = list(log.begin(events("market-ä", 1, 3)).result())
    second = list(log.begin([*events("market-ä", 4, 1), *events("account-b", 1, 2)]).result())
    log.close()

    found = everything(open_one())

    assert first + second == sorted(first + second) == [event[0] for event in found]
    assert [event[1:3] for event in found] == [
        ("market-ä", 1),
        ("market-ä", 2),
        ("market-ä", 3),
        ("market-ä", 4),
        ("account-b", 1),
        ("account-b", 2),
    ]
    assert found[2][3:] == ("T.v1", b'{"n":2}')


def test_old_events_are_read_by_position(open_one: OpenLog) -> None:
    """From a position on, so many at most."""
    log = open_one()
    everything(log)
    positions = list(log.begin(events("market-a", 1, 10)).result())

    found = log.read(positions[4], 3)

    assert positions[4:7] == [event.id for event in found]
    assert all(isinstance(event, Notification) for event in found)


def test_the_same_version_twice_is_never_in_the_log(open_one: OpenLog, request: pytest.FixtureRequest) -> None:
    """A writer whose knowledge is old cannot append on the stores that check versions; Kafka fences by epochs instead."""
    if "kafka" in request.node.name:
        old, new = open_one(), open_one()
        everything(old)
        everything(new)
        new.begin(events("market-a", 1, 1)).result()
        with pytest.raises(Fenced):
            old.begin(events("market-a", 1, 1)).result()
    else:
        log = open_one()
        everything(log)
        log.begin(events("market-a", 1, 1)).result()
        with pytest.raises(InDoubt):
            log.begin(events("market-a", 1, 1)).result()

    again = open_one() if "kafka" in request.node.name else log
    assert len(everything(again)) == 1


# --- PostgreSQL


def test_a_second_engine_is_refused(database: str) -> None:
    """While one holds the partition's lock another cannot take over, is told why, and can as soon as the first is gone."""
    first, second = PostgresLog(database), PostgresLog(database)
    everything(first)

    with pytest.raises(Fenced, match="another engine is running: it holds the lock of partition 0"):
        everything(second)

    first.close()
    assert everything(second) == []
    second.close()


def test_another_partition_has_a_lock_and_a_table_of_its_own(database: str) -> None:
    """Two engines of two partitions do not meet."""
    zero, one = PostgresLog(database, 0), PostgresLog(database, 1)
    everything(zero)
    everything(one)
    zero.begin(events("market-a", 1, 1))
    one.begin(events("market-a", 1, 1))

    assert [len(zero.read(1, 10)), len(one.read(1, 10))] == [1, 1]
    zero.close()
    one.close()


def test_a_lost_session_is_in_doubt_and_can_be_taken_over_again(database: str) -> None:
    """The server ends the session: the append fails, nothing of it is there, and the log goes on after a take-over."""
    log = PostgresLog(database)
    everything(log)
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    with pytest.raises(InDoubt):
        log.begin(events("market-a", 1, 1))
    assert everything(log) == []
    log.begin(events("market-a", 1, 1))
    assert len(everything(log)) == 1
    log.close()


def test_the_library_reads_and_follows_what_our_insert_wrote(database: str, tmp_path: Path) -> None:
    """Our faster insert fills the library's own table, and wakes its subscriptions."""
    log = PostgresLog(database)
    everything(log)
    with open_recorder(Settings(home=tmp_path, dsn=database)) as recorder:
        with recorder.subscribe(gt=0) as subscription:
            positions = list(log.begin(events("market-a", 1, 2)).result())
            arrived = [next(subscription), next(subscription)]

        assert positions == [event.id for event in arrived]
        assert [event.state for event in recorder.select_events("market-a")] == [b'{"n":0}', b'{"n":1}']
        assert recorder.max_notification_id() == positions[-1]
    log.close()


def test_processes_may_start_at_once(database: str) -> None:
    """Several that find no table make it once, and none of them fails."""

    def last_position(_: int) -> int | None:
        with postgres_recorder(database, 0) as recorder:
            return recorder.max_notification_id()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(last_position, range(8))) == [None] * 8


def test_a_dsn_may_say_more_than_the_library_has_settings_for(database: str) -> None:
    """Options of a DSN reach the library's connections too."""
    with (
        postgres_recorder(f"{database} application_name=tidings-test", 0) as recorder,
        recorder.datastore.get_connection() as connection,  # type: ignore[attr-defined]
    ):
        name = connection.execute("SHOW application_name").fetchone()

    assert name == {"application_name": "tidings-test"}
    assert table_name(0) == "log_0_events"
