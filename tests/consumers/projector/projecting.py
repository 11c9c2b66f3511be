"""Lets projectors work on the log of a test, and compares what they folded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consumers.projector.projector import Projector
from projections.machine.store import connect
from projections.registry import PROJECTIONS
from projections.verify import digest
from tests.projections.folding import Copy

if TYPE_CHECKING:
    from domain.events import Recorded
    from projections.machine.progress import Progress
    from projections.machine.projection import Projection
    from tests.projections.logs import Log

NAMES: Final = list(PROJECTIONS)
WAIT: Final = 60.0


def digest_of(connection: Any, projection: Projection) -> str:
    """Return the hash of one read model."""
    with connection.transaction():
        return digest(connection, projection)


def all_digests(dsn: str) -> dict[str, str]:
    """Return the hash of every live read model."""
    with connect(dsn) as connection, connection.transaction():
        return {projection.name: digest(connection, projection) for projection in PROJECTIONS.values()}


def expected_digests(dsn: str, events: list[Recorded]) -> dict[str, str]:
    """Return the hashes that a log gives when it is folded at once."""
    copy = Copy(dsn, "expected", PROJECTIONS.values()).fold(events, 5000)
    try:
        return copy.digests()
    finally:
        copy.connection.close()


def run(log: Log, database: str, progress: Progress, position: int, names: list[str] = NAMES) -> None:
    """Let a projector work until all of these read models have come to a position."""
    projector = Projector(log, database)
    projector.start()
    try:
        assert progress.wait(names, position, WAIT)
    finally:
        projector.stop()
