"""The timeline: from times to positions, and from positions to times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projections import timeline
from projections.reading import read
from tests.projections.simulation import START, simulate

if TYPE_CHECKING:
    from tests.projections.folding import ReadModels


def test_a_time_is_the_last_position_at_or_before_it(read_models: ReadModels) -> None:
    """`time` finds the last event of its microsecond, or the last one before it; before the first there is nothing."""
    log = simulate(1, 200)
    copy = read_models.copy().fold(log, 64)
    for recorded in log[:: len(log) // 40]:
        for time in (recorded.time, recorded.time - 1, recorded.time + 1):
            expected = max((other.position for other in log if other.time <= time), default=0)

            with read(copy.connection, "stories", time=time) as as_of:
                assert expected == as_of.position
        expected_time = log[recorded.position - 1].time
        assert expected_time == timeline.time_of(copy.connection, recorded.position)
    assert timeline.position_at(copy.connection, START - 1) == 0
    assert timeline.time_of(copy.connection, 0) == 0
