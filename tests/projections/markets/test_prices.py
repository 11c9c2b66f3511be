"""Price histories: against every tick of a simulated log, thinned by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from projections.markets import listing, prices
from projections.reading import read
from projections.times import MINUTE
from tests.projections.simulation import HOUR, START, Simulation

if TYPE_CHECKING:
    from tests.projections.folding import Copy, ReadModels


@pytest.fixture
def copy(read_models: ReadModels) -> Copy:
    """A dense log: several ticks to a minute."""
    return read_models.copy(("markets", "timeline")).fold(Simulation(5, pace=20_000_000).run(500), 5000)


def thinned(ticks: list[prices.Tick], fidelity: int) -> list[prices.Tick]:
    """Return the last tick of each interval."""
    step = fidelity * MINUTE
    return [*{tick.time // step: tick for tick in ticks}.values()]


@pytest.mark.parametrize("fidelity", [0, 1, 7, 60])
def test_histories_in_pages_are_the_thinned_ticks(copy: Copy, fidelity: int) -> None:
    """Pages of any limit, of one outcome or of all, together are each outcome's last tick of each interval."""
    with read(copy.connection, prices.histories) as as_of:
        for market in listing.newest(copy.connection, as_of):
            every = range(len(market.outcomes))
            start, end = START + HOUR // 2, as_of.time - HOUR // 3
            ticks = prices.histories(copy.connection, as_of, market.market_id, every).ticks
            inside = [[tick for tick in each if start <= tick.time < end] for each in ticks]
            expected = [thinned(each, fidelity) if fidelity else each for each in inside]
            for outcomes in (every, [1]):
                for limit in (1, 3, None):
                    found: list[list[prices.Tick]] = [[] for _ in outcomes]
                    after: int | None = 0
                    while after is not None:
                        page = prices.histories(
                            copy.connection, as_of, market.market_id, outcomes,
                            start=start, end=end, fidelity=fidelity, limit=limit, after=after,
                        )  # fmt: skip
                        assert limit is None or max(map(len, page.ticks)) <= limit
                        found = [[*before, *part] for before, part in zip(found, page.ticks, strict=True)]
                        after = page.last
                    assert found == [expected[outcome] for outcome in outcomes]
