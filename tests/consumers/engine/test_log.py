"""The engine's logs: the promises that all stores share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eventsourcing.persistence import Notification
from eventsourcing.popo import POPOApplicationRecorder

from consumers.engine.log import Fenced, InDoubt, Log, RecorderLog
from consumers.wiring import open_log
from settings import Settings
from tests.consumers.checks import events, everything

OpenLog = Callable[[], Log]


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
    """In order, with increasing positions, and with streams, versions, topics and the bytes of the states."""
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
    """From a position on, up to a limit."""
    log = open_one()
    everything(log)
    positions = list(log.begin(events("market-a", 1, 10)).result())

    found = log.read(positions[4], 3)

    assert positions[4:7] == [event.id for event in found]
    assert all(isinstance(event, Notification) for event in found)


def test_the_same_version_twice_is_never_in_the_log(open_one: OpenLog, request: pytest.FixtureRequest) -> None:
    """A writer with old knowledge cannot append: most stores check versions, Kafka fences by epochs."""
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
