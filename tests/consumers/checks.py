"""What must hold of a log after whatever happened to those who wrote it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from eventsourcing.persistence import ApplicationRecorder

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


def recorded(recorder: ApplicationRecorder) -> list[Recorded]:
    """Return all that is in the log, in order."""
    events: list[Recorded] = []
    while found := recorder.select_notifications((events[-1].position if events else 0) + 1, READ):
        events += [from_stored(event.id, event) for event in found]
    return events


def check_log(recorder: ApplicationRecorder, told: Iterable[Reply]) -> Exchange:
    """Compare the log with what clients were told, and return its state.

    Every command stands there once; what a client was told is what its events say, at the position told; versions of each
    stream are 1, 2, 3, ...; the ledger sums to zero.
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
