"""All read models, by name."""

from typing import Final

from projections import accounts, book, candles, leaderboard, lifecycle, markets, orders, positions, prices, stories
from projections import timeline, trades
from projections.projection import Projection

PROJECTIONS: Final[dict[str, Projection]] = {
    module.PROJECTION.name: module.PROJECTION
    for module in (
        timeline,
        stories,
        markets,
        lifecycle,
        prices,
        candles,
        trades,
        orders,
        book,
        positions,
        accounts,
        leaderboard,
    )
}
