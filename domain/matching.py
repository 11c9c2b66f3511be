"""How an order meets the book and the maker: best price first, step by step.

A step takes from whichever is better for the taker, the best resting order of the opposite side (price, then age) or the
maker up to that order's price. With two outcomes the book is one line, so a bid on the other outcome is met as an ask at
1 - price: together they pay for a complete set. Nothing here changes the market; the result is turned into events.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from domain import lmsr
from domain.book import RestingOrder, Side
from domain.market import Market
from domain.money import MICRO, Credits, Price, Shares, divide_half_even, divide_up
from domain.orders import Fill, SelfTradePrevention

MATCHES_MAX: Final = 500
"""How many resting orders one order may meet, its own included; what is left is then canceled. It bounds a command's events."""

Stop = Literal["price", "self_trade", "match_limit"]


@dataclass(slots=True)
class Match:
    """What an order would do. `stop` says why it went no further than it did, None when it is complete."""

    fills: list[Fill] = field(default_factory=list)
    met: list[RestingOrder] = field(default_factory=list)
    canceled: list[RestingOrder] = field(default_factory=list)
    filled: Shares = 0
    cost: Credits = 0
    maker_shares: Shares = 0
    sets: Shares = 0
    prices: tuple[float, ...] = ()
    stop: Stop | None = None


@dataclass(slots=True)
class _Taker:
    """The incoming order while it is matched: what it still wants, and the maker as it leaves it."""

    market: Market
    index: int
    buys: bool
    limit: Price | None
    quantity: Shares | None
    spend: Credits | None
    match: Match
    sold: list[Shares] = field(default_factory=list)

    def done(self) -> bool:
        return self.quantity == 0 or self.spend == 0

    def bound(self, price: Price | None) -> float:
        """Return the price up to which the maker serves before the resting order at `price` is the better one."""
        if self.buys:
            return min(lmsr.HIGHEST, (self.limit or MICRO) / MICRO, (price or MICRO) / MICRO)
        return max(lmsr.LOWEST, (self.limit or 0) / MICRO, (price or 0) / MICRO)

    def allows(self, price: Price) -> bool:
        """Return whether a trade at this price is within the order's limit and the exchange's."""
        if self.limit is None:
            return True
        return price <= self.limit if self.buys else price >= self.limit

    def wanted(self, offered: Shares) -> Shares:
        return offered if self.quantity is None else min(offered, self.quantity)

    def take_maker(self, bound: float) -> None:
        """Trade with the maker until its price is at the bound or the order is done."""
        market, match = self.market, self.match
        b, price = market.liquidity, match.prices[self.index]
        offered = lmsr.buyable(b, price, bound) if self.buys else lmsr.sellable(b, price, bound)
        quantity = self.wanted(offered)
        if self.spend is not None:
            quantity = lmsr.affordable(b, price, self.spend, offered)
        if quantity:
            cost = lmsr.cost_up(b, price, quantity) if self.buys else lmsr.proceeds_down(b, price, quantity)
            signed = quantity if self.buys else -quantity
            self.sold[self.index] += signed
            match.maker_shares += signed
            match.prices = lmsr.price_vector(market.weights, tuple(self.sold), b)
            self.fill(quantity, cost)
        if self.spend is not None and quantity < offered:
            self.spend = 0

    def take_order(self, price: Price, order: RestingOrder) -> None:
        """Trade with one resting order, at its price."""
        quantity = self.wanted(order.remaining)
        if self.spend is not None:
            affordable = self.spend * MICRO // price
            if affordable < quantity:
                quantity = affordable
                if quantity == 0:
                    self.spend = 0
                    return
        if order.outcome == self.index:
            cost = divide_up(quantity * price, MICRO) if self.buys else quantity * price // MICRO
            resting_cost = cost
        else:
            cost = quantity - quantity * order.price // MICRO if self.buys else quantity * price // MICRO
            resting_cost = quantity - cost
            self.match.sets += quantity if self.buys else -quantity
        self.match.met.append(order)
        self.fill(quantity, cost, order, resting_cost)
        if self.spend is not None and self.spend * MICRO // price == 0:
            self.spend = 0

    def fill(
        self, quantity: Shares, cost: Credits, order: RestingOrder | None = None, resting_cost: Credits = 0
    ) -> None:
        match = self.match
        price = divide_half_even(cost * MICRO, quantity)
        if order is None:
            match.fills.append(Fill(price, quantity, cost, "maker"))
        else:
            match.fills.append(Fill(price, quantity, cost, "order", order.order_id, order.account_id, resting_cost))
        match.filled += quantity
        match.cost += cost
        if self.quantity is not None:
            self.quantity -= quantity
        if self.spend is not None:
            self.spend -= cost


def match_order(
    market: Market,
    account_id: str,
    index: int,
    side: Side,
    *,
    limit: Price | None,
    quantity: Shares | None,
    spend: Credits | None,
    self_trade_prevention: SelfTradePrevention,
) -> Match:
    """Return what an order for outcome `index` would do at once; exactly one of `quantity` and `spend` is given."""
    match = Match(prices=market.prices)
    taker = _Taker(market, index, side == "buy", limit, quantity, spend, match, list(market.sold))
    for price, order in market.book.opposite(index, side):
        if not taker.allows(price):
            break
        taker.take_maker(taker.bound(price))
        if taker.done():
            return match
        if len(match.met) + len(match.canceled) == MATCHES_MAX:
            match.stop = "match_limit"
            return match
        if order.account_id != account_id:
            taker.take_order(price, order)
        elif self_trade_prevention == "cancel_maker":
            match.canceled.append(order)
        else:
            match.stop = "self_trade"
            return match
        if taker.done():
            return match
    taker.take_maker(taker.bound(None))
    if not taker.done():
        match.stop = "price"
    return match
