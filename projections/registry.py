"""All read models, by name."""

from collections import ChainMap
from collections.abc import Mapping
from typing import Final

from projections import accounts, book, candles, invitations, lifecycle, log_index, orders, stories, timeline, transfers
from projections.machine.projection import Projection
from projections.markets import markets
from projections.positions import positions
from projections.trades import trades

PROJECTIONS: Final[dict[str, Projection]] = {
    module.PROJECTION.name: module.PROJECTION
    for module in (
        timeline,
        stories,
        markets,
        lifecycle,
        candles,
        trades,
        orders,
        book,
        positions,
        accounts,
        log_index,
        invitations,
    )
}

EVERY: Final[Mapping[str, Projection]] = ChainMap({transfers.PROJECTION.name: transfers.PROJECTION}, PROJECTIONS)
"""The same, with what exists only where the log has several partitions."""


def projections_of(partitions: int) -> Mapping[str, Projection]:
    """Return the read models of each partition of a log with so many, by name."""
    return PROJECTIONS if partitions == 1 else EVERY
