"""Updates volume, prices, open interest and traders of a market, and keeps a version per event."""

from collections.abc import Sequence
from operator import ne
from typing import Final

from domain.events import Recorded
from domain.market import SetsBurned, SetsMinted
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from projections.machine.row_values import copying
from projections.machine.workspace import Workspace
from projections.markets.prices import signed
from projections.markets.tables import ACTIVITY, MARKETS, TRADERS, ActivityVersion, MarketRow, MarketTrader

_version = copying(ActivityVersion, MarketRow)


_ALL: Final = [signed((1 << count) - 1) for count in range(65)]
"""The bits of all outcomes, by their number."""


class Activity:
    """Takes in the trading of a batch. Lists are replaced, never changed: a version that holds one keeps it."""

    def __init__(self, workspace: Workspace) -> None:
        self._edit = workspace.rows(MARKETS).edit
        self._trader, self._add_trader = workspace.rows(TRADERS).get, workspace.rows(TRADERS).add
        self._append = workspace.rows(ACTIVITY).append

    def execute(self, event: OrderPlaced | OrderAmended, recorded: Recorded) -> None:
        """Take in an execution; one without fills changes nothing."""
        execution = event.execution
        fills = execution.fills
        if not fills:
            return
        market = self._edit(event.market_id)
        market.volume += execution.cost
        market.quantity += execution.filled
        market.trades += len(fills)
        if sets := execution.sets:
            market.open_interest = [shares + sets for shares in market.open_interest]
        if shares := execution.amm_shares:
            market.open_interest = interest = list(market.open_interest)
            interest[market.outcomes.index(event.outcome)] += shares
        self._count_trader(market, event.account_id)
        for fill in fills:
            if (account_id := fill.account_id) is not None:
                self._count_trader(market, account_id)
        changed = 0
        if prices := execution.prices:
            before, market.prices = market.prices, list(prices)
            changed = _ALL[len(prices)] if all(map(ne, before, prices)) else _changed(before, prices)
        market.position, market.time = recorded.position, recorded.time
        self._append(_version(market, changed=changed))

    def fill_resting(self, event: RestingOrderFilled, recorded: Recorded) -> None:
        """Take in the fill of a resting order by the AMM."""
        market = self._edit(event.market_id)
        market.volume += event.cost
        market.quantity += event.quantity
        market.trades += 1
        market.open_interest = interest = list(market.open_interest)
        interest[market.outcomes.index(event.outcome)] += event.quantity if event.side == "buy" else -event.quantity
        self._count_trader(market, event.account_id)
        changed = 0
        if event.prices:
            changed = _changed(market.prices, event.prices)
            market.prices = list(event.prices)
        self.keep(market, recorded, changed)

    def change_sets(self, event: SetsMinted | SetsBurned, recorded: Recorded) -> None:
        """Take in complete sets that came into being or were dissolved."""
        market = self._edit(event.market_id)
        change = event.amount if isinstance(event, SetsMinted) else -event.amount
        market.open_interest = [shares + change for shares in market.open_interest]
        self.keep(market, recorded)

    def activate(self, market: MarketRow, recorded: Recorded) -> None:
        """Keep the version with the first prices: all of them count as changed."""
        self.keep(market, recorded, _ALL[len(market.prices)])

    def keep(self, market: MarketRow, recorded: Recorded, changed: int = 0) -> None:
        """Keep the version that an event made; bit i of `changed` says that the price of outcome i is another one."""
        market.position, market.time = recorded.position, recorded.time
        self._append(_version(market, changed=changed))

    def _count_trader(self, market: MarketRow, account_id: str) -> None:
        """Count an account that trades in the market for the first time."""
        pair = (account_id, market.market_id)
        if self._trader(pair) is None:
            self._add_trader(MarketTrader(*pair))
            market.traders += 1


def _changed(before: Sequence[int], after: Sequence[int]) -> int:
    """Return a bit for each outcome whose price is another one."""
    return signed(sum(1 << i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new))
