"""A log in memory, and what tells how far the read models have folded it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from projections.machine.progress import Progress
from tests.projections.logs import Log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def log() -> Log:
    """An empty log."""
    return Log()


@pytest.fixture
def progress(database: str) -> Iterator[Progress]:
    """Tells how far the read models are."""
    listening = Progress(database)
    listening.start()
    yield listening
    listening.stop()
