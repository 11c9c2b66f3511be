"""How an order is matched with the book and the AMM: best price first, step by step.

Each step trades with whichever is better for the taker: the best resting order of the opposite side (price, then age), or the AMM
up to that order's price. With two outcomes the book is one line, so a bid on the other outcome is an ask at 1 - price: the two
orders together pay for a complete set. Nothing here changes the market; `domain.executions` turns the result into events.
"""

from typing import Final, Literal

from domain import lmsr
from domain.book import RestingOrder
from domain.market_state import Market
from domain.money import MICRO, Credits, Price, Shares, average_price, divide_up
from domain.orders import Fill, PlaceOrder

MATCHES_MAX: Final = 500
"""The most resting orders that one order may meet, including own ones that it cancels. It bounds the events of a command.

What remains of the order after that is canceled.
"""

SLIVER: Final = 1_000
"""The fewest micro-shares that the AMM trades of an order that wants more than the AMM has at its price.

For fewer, rounding the cost to a micro-credit would show as a price beyond the order's limit.
"""

Stop = Literal["price", "self_trade", "match_limit"]


class Taker:
    """An incoming order while it is matched: what it still wants and what it has done.

    Exactly one of `quantity` and `spend` is given; it counts down to what is left. `filled` and `cost` are the sums of the
    `fills`. `met` are the resting orders that it traded with, `canceled` the account's own orders that gave way.
    `amm_shares` is what the AMM sold (negative: bought), `sets` the number of complete sets created (negative: dissolved),
    `prices` are the AMM's prices by now. `stop` says why the order was not completed, None if it was; `price` also stands
    for a book and an AMM with nothing left to trade.
    """

    __slots__ = (
        "amm_shares",
        "buys",
        "canceled",
        "cost",
        "filled",
        "fills",
        "index",
        "limit",
        "market",
        "met",
        "prices",
        "quantity",
        "sets",
        "spend",
        "stop",
    )

    def __init__(self, market: Market, order: PlaceOrder, quantity: Shares | None) -> None:
        self.market = market
        self.index = market.index(order.outcome)
        self.buys = order.side == "buy"
        self.limit = order.limit_price
        self.quantity = quantity
        self.spend = order.spend
        self.fills: list[Fill] = []
        self.met: list[RestingOrder] = []
        self.canceled: list[RestingOrder] = []
        self.filled: Shares = 0
        self.cost: Credits = 0
        self.amm_shares: Shares = 0
        self.sets: Shares = 0
        self.prices = market.prices
        self.stop: Stop | None = None

    def done(self) -> bool:
        """Return whether nothing is left of it."""
        return self.quantity == 0 or self.spend == 0

    def match(self, order: PlaceOrder) -> None:
        """Trade until the order is complete or must stop."""
        for price, resting in self.market.book.opposite(self.index, order.side):
            if not self._allows(price):
                break
            self._take_amm(price)
            if self.done():
                return
            if len(self.met) + len(self.canceled) == MATCHES_MAX:
                self.stop = "match_limit"
                return
            if resting.account_id != order.account_id:
                self._take_order(price, resting)
            elif order.self_trade_prevention == "cancel_maker":
                self.canceled.append(resting)
            else:
                self.stop = "self_trade"
                return
            if self.done():
                return
        self._take_amm(None)
        if not self.done():
            self.stop = "price"

    def _allows(self, price: Price) -> bool:
        """Return whether a trade at this price is within the order's limit."""
        if self.limit is None:
            return True
        return price <= self.limit if self.buys else price >= self.limit

    def _take_amm(self, resting_price: Price | None) -> None:
        """Trade with the AMM until it reaches the order's limit or the resting order's price, or the order is complete."""
        market = self.market
        b, price = market.liquidity, self.prices[self.index]
        if self.buys:
            bound = min(lmsr.HIGHEST, (self.limit or MICRO) / MICRO, (resting_price or MICRO) / MICRO)
            below = self._below() if price <= lmsr.TINIEST else 0
            quantity = offered = below + lmsr.buyable(b, price, bound)
            if self.spend is not None:
                quantity, cost = lmsr.affordable(b, price, self.spend, offered - below)
                quantity += below
            else:
                assert self.quantity is not None, "an order has a quantity or a spend"
                quantity = min(offered, self.quantity)
                cost = lmsr.cost_up(b, price, max(quantity - below, 1) if below else quantity)
            signed = quantity
        else:
            bound = max(lmsr.LOWEST, (self.limit or 0) / MICRO, (resting_price or 0) / MICRO)
            assert self.quantity is not None, "a sell names its quantity"
            offered = lmsr.sellable(b, price, bound)
            quantity = min(offered, self.quantity)
            cost = lmsr.proceeds_down(b, price, quantity)
            signed = -quantity
        if quantity == offered < SLIVER and quantity != self.quantity:
            return
        if quantity:
            self.amm_shares += signed
            sold = market.sold.copy()
            sold[self.index] += self.amm_shares
            self.prices = lmsr.price_vector(market.weights, sold, b)
            shown = average_price(cost, quantity, self.limit, buys=self.buys)
            self.fills.append(Fill(shown, quantity, cost, "amm"))
            self._count(quantity, cost)
        if self.spend is not None and quantity < offered:
            self.spend = 0

    def _below(self) -> Shares:
        """Return how many shares the AMM sells for nothing that counts, before the order's outcome has the lowest price."""
        market = self.market
        sold = market.sold.copy()
        sold[self.index] += self.amm_shares
        return lmsr.shares_below(market.weights, sold, market.liquidity, self.index)

    def _take_order(self, price: Price, order: RestingOrder) -> None:
        """Trade with one resting order, at its price."""
        quantity = order.remaining
        if self.spend is not None:
            affordable = self.spend * MICRO // price
            if affordable < quantity:
                quantity = affordable
                if quantity == 0:
                    self.spend = 0
                    return
        elif self.quantity is not None:
            quantity = min(quantity, self.quantity)
        if order.outcome == self.index:
            cost = divide_up(quantity * price, MICRO) if self.buys else quantity * price // MICRO
            resting_cost = cost
        else:
            cost = quantity - quantity * order.price // MICRO if self.buys else quantity * price // MICRO
            resting_cost = quantity - cost
            self.sets += quantity if self.buys else -quantity
        self.met.append(order)
        self.fills.append(Fill(price, quantity, cost, "book", order.order_id, order.account_id, resting_cost))
        self._count(quantity, cost)
        if self.spend is not None and self.spend * MICRO // price == 0:
            self.spend = 0

    def _count(self, quantity: Shares, cost: Credits) -> None:
        self.filled += quantity
        self.cost += cost
        if self.quantity is not None:
            self.quantity -= quantity
        if self.spend is not None:
            self.spend -= cost
