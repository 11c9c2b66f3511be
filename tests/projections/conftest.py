"""Read models over simulated logs, in a database of this test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.projections.folding import ReadModels

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def read_models(database: str) -> Iterator[ReadModels]:
    """Makes any number of copies of all read models, each in a schema of its own."""
    made = ReadModels(database)
    yield made
    made.close()
