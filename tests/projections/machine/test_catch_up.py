"""Folding batch after batch: which errors park an event, and which stop the read model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg.errors import UndefinedColumn

from domain.story import StoryPublished
from projections.machine.batch import Batch
from projections.machine.catch_up import Folder
from projections.machine.fold_slots import FoldSlots
from projections.machine.parking import list_parked, retry
from projections.machine.store import position_of
from projections.registry import PROJECTIONS
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from tests.projections.folding import ReadModels


def test_a_table_without_a_column_stops_the_read_model_and_parks_nothing(read_models: ReadModels) -> None:
    """Code that does not fit the tables fails for every event: the error is raised, and no event is parked for it."""
    log = simulate(1, 200)
    projection = PROJECTIONS["stories"]
    connection = read_models.copy(["stories"]).connection
    connection.execute("ALTER TABLE stories DROP COLUMN title")
    folder = Folder(
        connection,
        projection,
        0,
        catch_up_to=0,
        next_batch=lambda _position, _seconds: None,
        goes_on=lambda: True,
        slots=FoldSlots(lambda: 1),
        gapless=False,
    )

    with pytest.raises(UndefinedColumn):
        folder.fold(Batch(0, log))
    assert list_parked(connection) == []
    assert position_of(connection, "stories")[0] == 0
    with pytest.raises(UndefinedColumn):
        retry(connection, projection, [next(one for one in log if isinstance(one.event, StoryPublished))])
