"""The cost of an append compared with a bare `send().get()`, and the speed of reading a log again.

    python -m bench append [--bootstrap HOST:PORT] [--appends N] [--events N]

Without `--bootstrap`, a broker is started on this machine. A bare send uses kafka-python's own producer, with the same
settings and the same bytes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from kafka import KafkaProducer

from bench.parts import show
from eventsourcing_kafka import Checkpoint, Reader, Settings, Writer, ensure_topic
from eventsourcing_kafka.protocol import encode_batch
from local.kafka import Broker

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS: Final = {
    f"{name}_{size}_{figure}": f"{what} of {count}: {meaning}"
    for size, count in ((1, "one event"), (500, "500 events"))
    for name, what in (("bare", "a bare `send().get()`"), ("append", "`Writer.append`"))
    for figure, meaning in (
        ("p50_ms", "median in milliseconds"),
        ("p99_ms", "99th percentile in milliseconds"),
        ("cpu_ms", "CPU of this process in milliseconds"),
    )
} | {
    "replay_raw_events_per_s": "events per second when the log is read again, as batches",
    "replay_events_per_s": "the same, with a `Notification` for each event",
    "take_over_ms": "milliseconds to claim a log that has been read to its end",
}

STATE = json.dumps({"command_id": "order:alice:4711", "time": 1764000000000000, "data": {"text": "x" * 180}}).encode()


def events(count: int, version: int) -> list[StoredEvent]:
    """Return a batch like those of an exchange: many aggregates, about 250 bytes of JSON per event."""
    return [StoredEvent(f"account-{i % 97}", version + i, "OrderPlaced.v1", STATE) for i in range(count)]


def measured(name: str, count: int, work: Callable[[int], object]) -> dict[str, float]:
    """Time `count` calls after a warm-up of a tenth as many. Print and return the figures."""
    for i in range(count // 10):
        work(i)
    times = []
    cpu = process_time()
    for i in range(count):
        start = perf_counter()
        work(i)
        times.append((perf_counter() - start) * 1000)
    cpu = (process_time() - cpu) * 1000 / count
    cuts = quantiles(times, n=100)
    figures = {f"{name}_p50_ms": cuts[49], f"{name}_p99_ms": cuts[98], f"{name}_cpu_ms": cpu}
    print("  ".join(f"{key} {value:7.3f}" for key, value in figures.items()))
    return figures


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--appends", type=int, default=1000)
    parser.add_argument("--events", type=int, default=1_000_000, help="events in the log that is read again")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        bootstrap = arguments.bootstrap
        if not bootstrap:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            bootstrap = stack.enter_context(Broker(Path(folder))).bootstrap
        settings = Settings(bootstrap_servers=bootstrap, topic=f"bench-{uuid4().hex}", replication_factor=1)
        ensure_topic(settings)
        reader = stack.enter_context(Reader(settings))
        writer = stack.enter_context(Writer.take_over(reader))
        bare = settings.for_topic(f"bench-{uuid4().hex}")
        ensure_topic(bare)
        producer = KafkaProducer(
            bootstrap_servers=bare.bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            max_request_size=8 * 1024 * 1024,
        )
        for size in (1, 500):
            batch = events(size, 1)
            value = encode_batch("w" * 32, 1, 1, batch)
            print(f"a batch of {size} events, {len(value)} bytes")
            figures |= measured(
                f"bare_{size}",
                arguments.appends,
                lambda _, value=value: producer.send(bare.topic, value=value, partition=0).get(5),  # type: ignore[misc]
            )
            figures |= measured(f"append_{size}", arguments.appends, lambda _, batch=batch: writer.append(batch))  # type: ignore[misc]
        producer.close()
        while writer.checkpoint.next <= arguments.events:
            writer.append(events(500, 1))
        end = writer.checkpoint.offset
        for name, count in (
            ("replay_raw_events_per_s", lambda batch: len(batch.events)),
            ("replay_events_per_s", lambda batch: len(batch.notifications())),
        ):
            start = perf_counter()
            with Reader(settings) as again:
                read = sum(map(count, again.read_to(end)))
            figures[name] = read / (perf_counter() - start)
            print(f"{name} {figures[name]:,.0f} ({read:,} events in {end:,} records)")
        start = perf_counter()
        with Reader(settings, Checkpoint(*writer.checkpoint)) as standby, Writer.take_over(standby):
            figures["take_over_ms"] = (perf_counter() - start) * 1000
        print(f"take_over_ms {figures['take_over_ms']:.1f}")
    show({key: round(value, 3) for key, value in figures.items()}, KEYS)


if __name__ == "__main__":
    main()
