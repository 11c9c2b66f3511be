"""What trading changes of a market: volume, prices, open interest, traders; and the version that each event makes of it."""

from operator import ne

from domain.events import Recorded
from domain.market import SetsBurned, SetsMinted
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from projections.machine.making import copier
from projections.machine.workspace import Workspace
from projections.markets.prices import signed
from projections.markets.tables import ACTIVITY, MARKETS, TRADERS, ActivityVersion, MarketRow, MarketTrader

_version = copier(ActivityVersion, MarketRow)


class Activity:
    """Takes in the trading of a batch. Lists are replaced, never changed: a version that holds one keeps it."""

    def __init__(self, workspace: Workspace) -> None:
        self._edit = workspace.rows(MARKETS).edit
        self._traders = workspace.rows(TRADERS)
        self._append = workspace.rows(ACTIVITY).append

    def execute(self, event: OrderPlaced | OrderAmended, recorded: Recorded) -> None:
        """Take in an execution with fills."""
        execution, fills = event.execution, event.execution.fills
        market = self._edit(event.market_id)
        market.volume += execution.cost
        market.quantity += execution.filled
        market.trades += len(fills)
        if sets := execution.sets:
            market.open_interest = [shares + sets for shares in market.open_interest]
        if shares := execution.amm_shares:
            _add_interest(market, event.outcome, shares)
        self._count_trader(market, event.account_id)
        for fill in fills:
            if fill.account_id is not None:
                self._count_trader(market, fill.account_id)
        changed = 0
        if prices := execution.prices:
            changed = _set_prices(market, list(prices))
        self.keep(market, recorded, changed)

    def fill_resting(self, event: RestingOrderFilled, recorded: Recorded) -> None:
        """Take in the fill of a resting order by the AMM."""
        market = self._edit(event.market_id)
        market.volume += event.cost
        market.quantity += event.quantity
        market.trades += 1
        _add_interest(market, event.outcome, event.quantity if event.side == "buy" else -event.quantity)
        self._count_trader(market, event.account_id)
        changed = _set_prices(market, list(event.prices)) if event.prices else 0
        self.keep(market, recorded, changed)

    def change_sets(self, event: SetsMinted | SetsBurned, recorded: Recorded) -> None:
        """Take in complete sets that came into being or were dissolved."""
        market = self._edit(event.market_id)
        change = event.amount if isinstance(event, SetsMinted) else -event.amount
        market.open_interest = [shares + change for shares in market.open_interest]
        self.keep(market, recorded, 0)

    def keep(self, market: MarketRow, recorded: Recorded, changed: int) -> None:
        """Keep the version that an event made; bit i of `changed` says that the price of outcome i is another one."""
        market.position, market.time = recorded.position, recorded.time
        self._append(_version(market, changed=signed(changed)))

    def _count_trader(self, market: MarketRow, account_id: str) -> None:
        """Count an account that trades in the market for the first time."""
        if self._traders.get((account_id, market.market_id)) is None:
            self._traders.add(MarketTrader(account_id=account_id, market_id=market.market_id))
            market.traders += 1


def _add_interest(market: MarketRow, outcome: str, shares: int) -> None:
    interest = list(market.open_interest)
    interest[market.outcomes.index(outcome)] += shares
    market.open_interest = interest


def _set_prices(market: MarketRow, prices: list[int]) -> int:
    """Set the prices of a market, and return a bit for each outcome whose price is another one."""
    before, market.prices = market.prices, prices
    if all(map(ne, before, prices)):
        return (1 << len(prices)) - 1
    return sum(1 << i for i, (old, new) in enumerate(zip(before, prices, strict=True)) if old != new)
