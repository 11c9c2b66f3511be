"""Checks of a log: what must hold whatever happened to its writers."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from eventsourcing.persistence import ApplicationRecorder, StoredEvent

from consumers.engine.log import EventBatch, Log
from consumers.wiring import open_recorder
from domain.events import Recorded
from domain.exchange import Exchange
from messages.replies import Reply, reply_of
from messages.stored import from_stored
from settings import Settings

READ = 5_000


@contextmanager
def reading(settings: Settings) -> Iterator[ApplicationRecorder]:
    """Open the log in Kafka for reading, and close it."""
    with open_recorder(settings) as recorder:
        yield recorder


def eventually(is_so: Callable[[], bool], seconds: float = 20) -> bool:
    """Return whether something comes true in time."""
    until = monotonic() + seconds
    while not is_so():
        if monotonic() > until:
            return False
        sleep(0.05)
    return True


def recorded(recorder: ApplicationRecorder) -> list[Recorded]:
    """Return all that is in the log, in order."""
    events: list[Recorded] = []
    while found := recorder.select_notifications((events[-1].position if events else 0) + 1, READ):
        events += [from_stored(event.id, event) for event in found]
    return events


def events(stream: str, first: int, count: int) -> list[StoredEvent]:
    """Return a number of events of a stream, from a version on."""
    return [StoredEvent(stream, first + i, "T.v1", b'{"n":%d}' % i) for i in range(count)]


def everything(log: Log) -> list[tuple[int, str, int, str, bytes]]:
    """Take the log over and return what is in it."""
    found: list[tuple[int, str, int, str, bytes]] = []

    def add(batch: EventBatch) -> None:
        found.extend((n, *row[:3], bytes(row[3])) for n, row in zip(batch.positions, batch.rows, strict=True))

    log.take_over(add)
    return found


def command_ids(recorder: ApplicationRecorder) -> list[str]:
    """Return the ids of the commands in the log, each as often as it has a first event."""
    return [event.command_id for event in recorded(recorder) if event.digest is not None]


def check_log(recorder: ApplicationRecorder, told: Iterable[Reply]) -> Exchange:
    """Compare the log with the replies that clients got, and return its state.

    Every command is in the log once. Each reply is what the command's events say, at the reply's position. The versions of
    each stream are 1, 2, 3, .... The ledger sums to zero.
    """
    exchange = Exchange()
    events: dict[str, list[Recorded]] = {}
    versions: dict[str, int] = {}
    firsts: set[str] = set()
    for event in recorded(recorder):
        exchange.apply(
            event.event, stream=event.stream, version=event.version, time=event.time, command_id=event.command_id
        )
        assert event.version == versions.get(event.stream, 0) + 1, f"a version of {event.stream} is missing or doubled"
        versions[event.stream] = event.version
        events.setdefault(event.command_id, []).append(event)
        if event.digest is not None:
            assert event.command_id not in firsts, f"{event.command_id} happened twice"
            firsts.add(event.command_id)
    for reply in told:
        assert reply.command_id in firsts, f"{reply.command_id} was acknowledged and is missing"
        assert reply == reply_of(events[reply.command_id])
    assert exchange.ledger.total() == 0
    return exchange
