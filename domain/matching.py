"""How an order meets the book and the maker: best price first, step by step.

A step takes from whichever is better for the taker, the best resting order of the opposite side (price, then age) or the
maker up to that order's price. With two outcomes the book is one line, so a bid on the other outcome is met as an ask at
1 - price: together they pay for a complete set. Nothing here changes the market; the result is turned into events.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from domain import lmsr
from domain.book import RestingOrder
from domain.market import Market
from domain.money import MICRO, Credits, Price, Shares, divide_half_even, divide_up, largest_fee
from domain.orders import Fill, SelfTradePrevention, Side

MATCHES_MAX: Final = 500
"""How many resting orders one order may meet; what is left is then canceled. It bounds the events of a command."""

SWEEP_ORDERS_MAX: Final = 200
SWEEP_ROUNDS_MAX: Final = 2_000

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
        if len(match.met) == MATCHES_MAX:
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


def hold_of(fee_rate: int, price: Price, remaining: Shares) -> Credits:
    """Return what a resting buy holds: its limit times what remains, and the largest fee that could fall on it."""
    return divide_up(price * remaining, MICRO) + largest_fee(fee_rate, remaining, price)


@dataclass(slots=True)
class SweepFill:
    """What the maker does to one resting order in a sweep."""

    order: RestingOrder
    quantity: Shares = 0
    cost: Credits = 0


@dataclass(slots=True)
class Sweep:
    """All fills of a sweep, one an order, the maker's prices after them, and whether it was cut at its bound."""

    fills: list[SweepFill]
    prices: tuple[float, ...]
    more: bool


def sweep_book(market: Market) -> Sweep | None:
    """Return which resting orders the maker fills at its price of now, or None.

    While some order's limit is better for the maker than its price, the one that is furthest off (then the oldest) trades
    with it until the price is at the limit or the order is complete.
    """
    prices, sold = market.prices, market.sold
    fills: dict[str, SweepFill] = {}
    queues = [_Queue(ladder.best_first()) for line in market.book.lines for ladder in (line.bids, line.asks)]
    rounds = 0
    more = False
    while True:
        best: tuple[float, int] | None = None
        chosen: tuple[_Queue, RestingOrder, Shares] | None = None
        for queue in queues:
            order = queue.front
            if order is None:
                continue
            limit = order.price / MICRO
            gap = limit - prices[order.outcome] if order.side == "buy" else prices[order.outcome] - limit
            if gap <= 0 or (best is not None and (-gap, order.age) >= best):
                continue
            quantity = _sweepable(market, prices[order.outcome], order, queue.left)
            if quantity > 0:
                best, chosen = (-gap, order.age), (queue, order, quantity)
        if chosen is None:
            break
        if len(fills) == SWEEP_ORDERS_MAX or rounds == SWEEP_ROUNDS_MAX:
            more = True
            break
        rounds += 1
        queue, order, quantity = chosen
        buys = order.side == "buy"
        price = prices[order.outcome]
        fill = fills.setdefault(order.order_id, SweepFill(order))
        fill.quantity += quantity
        fill.cost += (
            lmsr.cost_up(market.liquidity, price, quantity)
            if buys
            else lmsr.proceeds_down(market.liquidity, price, quantity)
        )
        sold = list(sold)
        sold[order.outcome] += quantity if buys else -quantity
        prices = lmsr.price_vector(market.weights, tuple(sold), market.liquidity)
        queue.use(quantity)
    return Sweep(list(fills.values()), prices, more) if fills else None


class _Queue:
    """The orders of one ladder as a sweep uses them up, without changing the ladder."""

    __slots__ = ("front", "left", "orders")

    def __init__(self, orders: Iterator[tuple[int, RestingOrder]]) -> None:
        self.orders = orders
        self.front: RestingOrder | None = None
        self.left: Shares = 0
        self._next()

    def _next(self) -> None:
        entry = next(self.orders, None)
        self.front = entry[1] if entry else None
        self.left = self.front.remaining if self.front else 0

    def use(self, quantity: Shares) -> None:
        """Take a quantity off the front order; the next one stands in front when it is complete."""
        self.left -= quantity
        if self.left == 0:
            self._next()


def _sweepable(market: Market, price: float, order: RestingOrder, left: Shares) -> Shares:
    """Return how many shares of the order the maker can trade at its limit or better."""
    limit = order.price / MICRO
    b = market.liquidity
    if order.side == "sell":
        return min(left, lmsr.sellable(b, price, max(limit, lmsr.LOWEST)))
    quantity = min(left, lmsr.buyable(b, price, min(limit, lmsr.HIGHEST)))
    # The cost is rounded up: what the order holds for these shares must cover it to the micro-credit.
    rate = market.terms.fee_rate
    step = max(1, MICRO // order.price)
    while quantity > 0 and lmsr.cost_up(b, price, quantity) > hold_of(rate, order.price, left) - hold_of(
        rate, order.price, left - quantity
    ):
        quantity -= step
    return max(quantity, 0)
