"""What the maker does to resting orders once its price has come to their limits or better.

The order that is furthest off trades first, and its gap to the maker's price closes; when it is down to the gap of another
order, on another outcome, the two go on together, and so on until no gap is left. (One after the other, each up to its
limit, would chase each other for ever where limits on different outcomes sum to about 1: each purchase lowers all other
prices.) While several prices move so, each on a straight line to its limit, what everybody buys and pays follows from closed
formulas, so the work grows with the number of orders filled and with nothing else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, fsum, gcd
from typing import Final

from domain import lmsr
from domain.book import RestingOrder
from domain.market_state import Market
from domain.money import MICRO, Credits, Fraction, Shares
from domain.reservations import released_cash

SWEEP_ORDERS_MAX: Final = 200
"""After this many filled orders a sweep is cut and goes on in the next step. It bounds the events of a command."""

SWEEP_MOVES_MAX: Final = 2_000

DUST: Final = 100
"""An order is let be where the maker could trade about this many micro-shares with it, or fewer."""

ABREAST: Final = 1_000
"""Orders trade together whose gaps differ by no more than this many micro-shares of any of them make up."""

FINEST: Final = 1e-9
"""Differences of price below this are the noise of floats and mean nothing."""

NEGLIGIBLE: Final = 1e-12
"""Where all prices but those that are bid for sum to no more than this, whoever buys them all buys complete sets."""

REACH: Final = 4
"""How far one move goes at most, in shares bought for each credit of liquidity: prices stay exact on the way."""


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
    """Return which resting orders the maker fills at its price of now, or None."""
    queues = [
        _Queue(ladder.best_first()) for line in market.book.lines for ladder in (line.bids, line.asks) if ladder.mask
    ]
    b = market.liquidity / (lmsr.PICO // MICRO)
    prices, sold = market.prices, list(market.sold)
    fills: dict[str, SweepFill] = {}
    more = False
    for moves in range(SWEEP_MOVES_MAX + 1):
        fronts = [_Front(queue, queue.order, prices) for queue in queues if queue.order is not None]
        if max((front.gap for front in fronts), default=0.0) <= max(DUST / b, FINEST):
            break
        if len(fills) >= SWEEP_ORDERS_MAX or moves == SWEEP_MOVES_MAX:
            more = True
            break
        traded = False
        for front, quantity, cost in _move(b, prices, fronts, market.terms.fee_rate):
            order = front.order
            fill = fills.setdefault(order.order_id, SweepFill(order))
            fill.quantity += quantity
            fill.cost += cost
            sold[order.outcome] += front.sign * quantity
            front.queue.use(quantity)
            traded = True
        if not traded:
            break
        prices = lmsr.price_vector(market.weights, sold, market.liquidity)
    return Sweep(list(fills.values()), prices, more) if fills else None


class _Queue:
    """The orders of one ladder as a sweep uses them up, without changing the ladder: `order` is in front."""

    __slots__ = ("left", "order", "orders")

    def __init__(self, orders: Iterator[tuple[int, RestingOrder]]) -> None:
        self.orders = orders
        self.order: RestingOrder | None = None
        self.left: Shares = 0
        self._next()

    def _next(self) -> None:
        entry = next(self.orders, None)
        self.order = entry[1] if entry else None
        self.left = self.order.remaining if self.order else 0

    def use(self, quantity: Shares) -> None:
        """Take a quantity off the order in front; the next one stands there when it is complete."""
        self.left -= quantity
        if self.left == 0:
            self._next()


class _Front:
    """An order in front of its queue: the maker's price, the way from there to its limit, and how far it is off."""

    __slots__ = ("gap", "left", "order", "price", "queue", "sign", "way")

    def __init__(self, queue: _Queue, order: RestingOrder, prices: Sequence[float]) -> None:
        self.queue, self.order, self.left = queue, order, queue.left
        self.sign = 1 if order.side == "buy" else -1
        self.price = prices[order.outcome]
        self.way = order.price / MICRO - self.price
        self.gap = self.sign * self.way


def _move(
    b: float, prices: Sequence[float], fronts: Sequence[_Front], fee_rate: Fraction
) -> Iterator[tuple[_Front, Shares, Credits]]:
    """Yield what trades until the first of: all gaps are closed, an order is complete, another order joins."""
    level = max(front.gap for front in fronts)
    abreast = max(level - max(ABREAST / b, FINEST), 0.0)
    movers, yielded = _together(prices, [front for front in fronts if front.gap >= abreast])
    if yielded is None:
        quantity = min(front.left for front in movers)
        total = fsum(front.price for front in movers)
        for front in movers:
            yield front, quantity, _charged(front, quantity, front.price / total, fee_rate)
        return
    reach = floor(REACH * b) + 1
    ends = [
        lmsr.until_traded(b, front.price, front.way, yielded, front.sign * min(front.left, reach)) for front in movers
    ]
    part = min(1.0, *ends)
    for front in fronts:
        closing = level + front.sign * front.price * yielded  # how fast its gap and the movers' come together
        if front.gap < abreast and closing > 0:
            part = min(part, (level - front.gap) / closing)
    for front, end in zip(movers, ends, strict=True):
        shares, price = lmsr.traded(b, front.price, front.way * part, yielded * part)
        quantity = front.left if end <= part and front.left <= reach else min(front.left, floor(abs(shares)))
        if front.sign > 0 and quantity < front.left and ceil(price * quantity) > _held_for(front, quantity, fee_rate):
            # What an order holds is rounded up for all of it, so for a part it may fall short by a micro-credit. It is exact
            # for quantities that cost whole micro-credits at the limit.
            quantity -= quantity % (MICRO // gcd(front.order.price, MICRO))
        if quantity:
            yield front, quantity, _charged(front, quantity, price, fee_rate)


def _together(prices: Sequence[float], movers: list[_Front]) -> tuple[list[_Front], float | None]:
    """Return those of the orders whose prices move together, and which part of theirs all other prices yield.

    The part is None where they make up complete sets and no price moves. An order drops out whose price comes towards its
    limit faster than that by what the others do.
    """
    while True:
        moving = {front.order.outcome for front in movers}
        rest = fsum(price for outcome, price in enumerate(prices) if outcome not in moving)
        side = sum(front.sign for front in movers)
        if len(moving) == len(prices) or (side == len(movers) and rest <= NEGLIGIBLE):
            least = min(movers, key=lambda front: (front.sign * side > 0, front.gap))
            if least.sign * side > 0 and least.gap > 2 * NEGLIGIBLE:
                return movers, None
            movers.remove(least)
            continue
        yielded = fsum(front.way for front in movers) / rest
        rate, slowest = min((front.sign * (front.way / front.price + yielded), i) for i, front in enumerate(movers))
        if rate > 0:
            return movers, yielded
        del movers[slowest]


def _held_for(front: _Front, quantity: Shares, fee_rate: Fraction) -> Credits:
    return released_cash(fee_rate, front.order.price, front.left, quantity)


def _charged(front: _Front, quantity: Shares, price: float, fee_rate: Fraction) -> Credits:
    """Return the cost rounded up, never above what is held for it, or the proceeds rounded down."""
    if front.sign < 0:
        return floor(price * quantity)
    return min(ceil(price * quantity), _held_for(front, quantity, fee_rate))
