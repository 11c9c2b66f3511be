"""All read models, by name."""

from typing import Final

from projections import (
    accounts,
    book,
    candles,
    lifecycle,
    markets,
    orders,
    positions,
    stories,
    timeline,
    trades,
)
from projections.projection import Projection

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
    )
}
