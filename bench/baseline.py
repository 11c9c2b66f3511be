"""The cost of the same orders with the eventsourcing library as its documentation shows it.

An `Application` with two aggregates, `Account` and `Market`. Events are declared by the decorator, encoded as JSON by the
library's mapper, and stored by its PostgreSQL recorder. An order loads both aggregates, lets them trade, and saves both in
one transaction. The price comes from the same LMSR.
"""

from time import perf_counter
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from psycopg.conninfo import conninfo_to_dict

from domain import lmsr
from domain.money import MICRO

SUBSIDY = 1_000 * MICRO


class Account(Aggregate):
    """The cash and shares of one trader."""

    @event("Opened")
    def __init__(self, cash: int) -> None:
        self.cash = cash
        self.shares: dict[str, int] = {}

    @event("TradeSettled")
    def settle(self, market: str, cost: int, quantity: int) -> None:
        """Pay the cost and receive the shares."""
        self.cash -= cost
        self.shares[market] = self.shares.get(market, 0) + quantity


class Market(Aggregate):
    """Two outcomes and the AMM."""

    @event("Opened")
    def __init__(self, subsidy: int) -> None:
        self.liquidity = lmsr.liquidity(subsidy, (0.5, 0.5))
        self.sold = [0, 0]

    @event("OrderPlaced")
    def trade(self, client_order_id: str, account: str, cost: int, quantity: int) -> None:
        """Sell shares of the second outcome."""
        del client_order_id, account, cost
        self.sold[1] += quantity

    def price(self) -> float:
        """Return the price of the second outcome."""
        return lmsr.price_vector(lmsr.log_weights((0.5, 0.5)), tuple(self.sold), self.liquidity)[1]


class Exchange(Application[UUID]):
    """An exchange in the style of the documentation."""

    def buy(self, client_order_id: str, account_id: UUID, market_id: UUID, spend: int) -> None:
        """Buy shares for an amount of micro-credits."""
        account: Account = self.repository.get(account_id)
        market: Market = self.repository.get(market_id)
        if account.cash < spend:
            raise ValueError("insufficient funds")
        quantity = int(lmsr.shares_for_spend(market.liquidity / lmsr.PICO * MICRO, market.price(), spend))
        market.trade(client_order_id, str(account_id), spend, quantity)
        account.settle(str(market_id), spend, quantity)
        self.save(account, market)


def baseline(dsn: str, orders: int, accounts: int, markets: int) -> float:
    """Return the orders per second, placed one after the other."""
    given = conninfo_to_dict(dsn)
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(given.get("dbname", "")),
        "POSTGRES_HOST": str(given.get("host", "")),
        "POSTGRES_PORT": str(given.get("port", "")),
        "POSTGRES_USER": str(given.get("user", "")),
        "POSTGRES_PASSWORD": str(given.get("password", "")),
    }
    with Exchange(env) as exchange:
        traders = [Account(1_000_000 * MICRO) for _ in range(accounts)]
        opened = [Market(SUBSIDY) for _ in range(markets)]
        exchange.save(*traders, *opened)
        began = perf_counter()
        for number in range(orders):
            exchange.buy(f"c-{number}", traders[number % accounts].id, opened[number % markets].id, MICRO)
        return orders / (perf_counter() - began)
