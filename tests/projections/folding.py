"""Folds a log into schemas of one database, and compares them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from projections.dashboards import roles
from projections.machine.advance import advance
from projections.machine.batch import Batch
from projections.machine.store import connect, ensure, schema_of
from projections.machine.workspace import Workspace
from projections.registry import projections_of
from projections.verify import digest, row_differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import Connection

    from domain.events import Recorded
    from projections.machine.projection import Projection


class Copy:
    """All read models (or some) in one schema."""

    def __init__(self, dsn: str, schema: str, projections: Iterable[Projection]) -> None:
        self.projections = list(projections)
        self.connection: Connection[Any] = connect(dsn, schema)
        ensure(self.connection, self.projections, 0, schema, roles)
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not in the database, as a new process does."""
        self.workspaces = {projection.name: Workspace(projection.tables) for projection in self.projections}

    def fold(self, log: Sequence[Recorded], size: int, together: int = 1) -> Copy:
        """Fold a log in batches of this size, `together` batches in one transaction."""
        batches = [Batch(0, log[start : start + size]) for start in range(0, len(log), size)]
        for start in range(0, len(batches), together):
            for projection in self.projections:
                workspace = self.workspaces[projection.name]
                advance(self.connection, projection, workspace, batches[start : start + together])
        return self

    def digests(self) -> dict[str, str]:
        """Return the hash of each read model."""
        with self.connection.transaction():
            return {projection.name: digest(self.connection, projection) for projection in self.projections}


class ReadModels:
    """Copies of the read models."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._numbers = count(1)
        self._copies: list[Copy] = []

    def copy(self, names: Iterable[str] | None = None, partitions: int = 1) -> Copy:
        """Return a new, empty copy, of a log with so many partitions."""
        known = projections_of(partitions)
        chosen = known.values() if names is None else [known[name] for name in names]
        copy = Copy(self.dsn, f"copy{next(self._numbers)}", chosen)
        self._copies.append(copy)
        return copy

    def partitions(self, logs: Sequence[Sequence[Recorded]]) -> None:
        """Fold the logs of several partitions, each into the schema of its read models."""
        for partition, log in enumerate(logs):
            copy = Copy(self.dsn, schema_of(partition), projections_of(len(logs)).values()).fold(log, 5000)
            self._copies.append(copy)

    def close(self) -> None:
        """Close all connections."""
        for copy in self._copies:
            copy.connection.close()


def assert_same(expected: Copy, found: Copy) -> None:
    """Name the first row in which two copies differ."""
    for projection in expected.projections:
        with expected.connection.transaction(), found.connection.transaction():
            assert not list(row_differences(expected.connection, found.connection, projection))
    assert expected.digests() == found.digests()
