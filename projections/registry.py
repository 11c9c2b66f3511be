"""All read models, by name."""

from typing import Final

from projections import accounts, book, candles, invitations, lifecycle, log_index, orders, stories, timeline
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
