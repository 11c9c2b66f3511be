"""The recorders of one process share their connections to Kafka, and do not disturb each other."""

from __future__ import annotations

import gc
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

import confluent_kafka
import psutil
import pytest

from eventsourcing_kafka import InDoubt, KafkaApplicationRecorder, Settings, ensure_topic
from eventsourcing_kafka.clients import Connections, new_client
from eventsourcing_kafka.library import ProgrammingError
from local.processes import polls
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDERS = 10


@pytest.fixture
def of_others() -> set[object]:
    """What the recorders of other tests still share: those that only a destructor closes are closed now."""
    gc.collect()
    return set(Connections._all)


@pytest.fixture
def recorders(settings: Settings) -> Iterator[list[KafkaApplicationRecorder]]:
    """Ten recorders with a log each."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(KafkaApplicationRecorder(log))) for log in logs(settings)]


def logs(settings: Settings) -> list[Settings]:
    """Return the settings of a log for each of ten recorders."""
    return [settings.for_topic(f"{settings.topic}-{number}") for number in range(RECORDERS)]


def work(recorder: KafkaApplicationRecorder, versions: range) -> None:
    """Insert and read."""
    for version in versions:
        recorder.insert_events([stored("a", version, "Made", b"{}")])
        assert len(recorder.select_events("a", gt=version - 1)) == 1
        assert recorder.max_notification_id() == version + 1


def count_threads_and_descriptors(settings: Settings) -> None:
    """Claim how many threads and descriptors ten recorders take in a process that has nothing else."""
    process = psutil.Process()
    opened = [KafkaApplicationRecorder(each) for each in logs(settings)]
    threads, descriptors = process.num_threads(), process.num_fds()

    for recorder in opened:
        work(recorder, range(2))

    assert process.num_threads() - threads <= 15
    # Four of each recorder are its index and the file beside it.
    assert process.num_fds() - descriptors <= 4 * RECORDERS + 25

    with ThreadPoolExecutor(RECORDERS) as pool:
        list(pool.map(lambda recorder: work(recorder, range(2, 30)), opened))

    assert process.num_threads() - threads <= 15 + 3 * 6  # librdkafka has up to six threads for a consumer
    for recorder in opened:
        recorder.close()
    for _ in polls(10):  # threads of the pool and of librdkafka end a moment later
        if process.num_threads() <= threads:
            break
    assert process.num_threads() <= threads
    assert process.num_fds() <= descriptors
    assert not Connections._all


def test_ten_recorders_have_few_threads_and_descriptors(settings: Settings) -> None:
    """One after the other they need one producer and one consumer, together at most four consumers. Before: 111 threads.

    A process of its own counts, because clients of other tests may begin or end threads here at any moment.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        alone.submit(count_threads_and_descriptors, settings).result(timeout=60)


def test_nobody_waits_for_the_acknowledgements_of_others(recorders: list[KafkaApplicationRecorder]) -> None:
    """Ten threads wait for one producer. Whose acknowledgement comes, goes on, whoever polled for it."""
    for recorder in recorders:
        work(recorder, range(1))
    begun = monotonic()
    with ThreadPoolExecutor(RECORDERS) as pool:
        list(pool.map(lambda recorder: work(recorder, range(1, 41)), recorders))

    assert monotonic() - begun < 20  # 400 appends; one that is missed waits five seconds


def test_after_an_error_others_go_on_and_the_next_gets_a_new_producer(
    settings: Settings, of_others: set[object]
) -> None:
    """Nobody who begins after an error gets the producer that had it; those who have it keep it."""
    connections = Connections.join(settings)
    first, second = connections.producer(), connections.producer()
    told: list[bool] = []
    first.produce("no topic of any broker!", b"x", partition=0, on_delivery=lambda error, _: told.append(error is None))
    for _ in polls(10):
        first.poll(0.1)
        if told:
            break
    assert told == [False]
    third = connections.producer()
    second.produce(settings.topic, b"x", partition=0, on_delivery=lambda error, _: told.append(error is None))
    for _ in polls(10):
        second.poll(0.1)
        if len(told) > 1:
            break

    assert told[1:] == [True]
    assert second.reused
    assert not third.reused
    assert third._shared is not second._shared
    for lease in (first, second, third):
        lease.close()
    connections.leave()
    assert Connections._all.keys() == of_others


def test_a_record_in_flight_is_void_after_its_producer_is_given_back(settings: Settings) -> None:
    """The recorder that gave up claims again, with new connections, while another one goes on with the old ones."""
    settings = replace(settings, append_timeout=1.0)
    other = settings.for_topic(f"{settings.topic}-other")
    ensure_topic(other)
    with closing(KafkaApplicationRecorder(settings)) as one, closing(KafkaApplicationRecorder(other)) as two:
        work(one, range(1))
        work(two, range(1))
        shared = one.writer._producer._client._shared  # type: ignore[union-attr]
        stuck = threading.Event()
        shared.client = _Deaf(shared.client, stuck)
        stuck.set()
        with pytest.raises(InDoubt):
            one.insert_events([stored("a", 1, "Made", b"{}")])
        stuck.clear()
        shared.client = shared.client.client
        work(two, range(1, 2))
        found = [event.originator_version for event in one.select_events("a")]
        one.insert_events([stored("a", found[-1] + 1, "Made", b"{}")])

        assert one.writer._producer._client._shared is not shared  # type: ignore[union-attr]
        assert [n.originator_version for n in one.select_notifications(1, 10)] == list(range(found[-1] + 2))


class _Deaf:
    """A producer whose acknowledgements do not come while `stuck` is set."""

    def __init__(self, client: confluent_kafka.Producer, stuck: threading.Event) -> None:
        self.client = client
        self._stuck = stuck

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    def poll(self, seconds: float) -> None:
        if self._stuck.is_set():
            threading.Event().wait(seconds)
        else:
            self.client.poll(seconds)


def test_settings_that_do_not_fit_are_refused() -> None:
    """Before anything connects, with what librdkafka says about them."""
    settings = Settings(bootstrap_servers="127.0.0.1:1", security_protocol="SSL", ssl_cafile="absent.pem")

    with pytest.raises(ProgrammingError, match=r"cannot be used: .*ssl\.ca\.location failed"):
        new_client(confluent_kafka.Producer, settings.rdkafka_producer())
