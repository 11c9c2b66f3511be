"""Projectors of several partitions on one database: each partition has a schema of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from consumers.projector.projector import Projector
from projections.machine.progress import Progress
from projections.machine.store import connect, schema_of
from projections.registry import projections_of
from projections.verify import digest
from tests.consumers.projector.projecting import WAIT
from tests.domain.partitions.three import PARTITIONS, Both
from tests.projections.folding import Copy
from tests.projections.logs import Log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.events import Recorded

KNOWN = projections_of(PARTITIONS)


def digests(dsn: str, schema: str) -> dict[str, str]:
    """Return the hash of each read model in a schema."""
    with connect(dsn, schema) as connection, connection.transaction():
        return {name: digest(connection, projection) for name, projection in KNOWN.items()}


def expected(dsn: str, partition: int, events: Sequence[Recorded]) -> dict[str, str]:
    """Return the hashes that a log gives when it is folded alone."""
    copy = Copy(dsn, f"expected_{partition}", KNOWN.values()).fold(events, 5000)
    try:
        return copy.digests()
    finally:
        copy.connection.close()


def test_partitions_do_not_touch_each_other(database: str) -> None:
    """Two processes fold three partitions at once on one database; the rows of each are those of its log alone."""
    histories = Both(3).run(250).three.logs
    with ExitStack() as stack:
        followed = []
        for partition, events in enumerate(histories):
            log, schema = Log(), schema_of(partition)
            log.write(events[: len(events) // 2])
            for _ in range(2):
                projector = Projector(log, database, KNOWN, schema=schema)
                projector.start()
                stack.callback(projector.stop)
            progress = Progress(database, schema=schema)
            progress.start()
            stack.callback(progress.stop)
            followed.append((log, progress))
        for (log, progress), events in zip(followed, histories, strict=True):
            assert progress.wait(KNOWN, len(events) // 2, WAIT)
            log.write(events[len(events) // 2 :])
        for (_, progress), events in zip(followed, histories, strict=True):
            assert progress.wait(KNOWN, len(events), WAIT)

    for partition, events in enumerate(histories):
        assert digests(database, schema_of(partition)) == expected(database, partition, events)
