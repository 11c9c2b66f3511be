"""Two strategies for `tidings backtest` on the replication markets of docs/backtests.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.strategy import Order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.strategy import Seen


class Skeptic:
    """Buys No for 5 credits where Yes stands above 0.5, once a day in each market: few surprising findings replicate."""

    def __init__(self) -> None:
        self.done: set[tuple[str, str]] = set()

    def __call__(self, seen: Seen) -> Iterator[Order]:
        """Return the orders after one command of the log."""
        today = seen.time.date().isoformat()
        for market in seen.markets():
            if market.prices["Yes"] > 0.5 and (market.slug, today) not in self.done:
                self.done.add((market.slug, today))
                yield Order(market.slug, "No", "buy", spend=5)


def churn(seen: Seen) -> Iterator[Order]:
    """Buy 10 shares of Yes whenever it has none, and sell them at the next chance: each round pays for two moves of the price."""
    for market in seen.markets():
        held = seen.shares(market.market_id, "Yes")
        yield Order(market.slug, "Yes", "sell", held) if held else Order(market.slug, "Yes", "buy", 10)
