"""The sweep: the AMM fills the resting orders whose limits its price has reached or passed.

An order's gap is the distance by which the AMM's price is better than its limit. The order with the largest gap trades first,
until its gap is as small as that of the next order, on another outcome; then these two trade together, and so on until no gap is
left. (If the orders traded one after the other, each up to its limit, they would chase each other for ever where limits on
different outcomes sum to about 1, because each purchase lowers all other prices.) While several prices move together, each on a
straight line to its limit, closed formulas give what every order trades and pays. So the work grows only with the number of
orders that are filled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, fsum, gcd
from typing import Final

from domain import lmsr
from domain.book import Ladder, RestingOrder
from domain.market_state import Market
from domain.money import MICRO, Credits, PicoCredits, Price, Shares
from domain.reservations import released_cash

SWEEP_ORDERS_MAX: Final = 200
"""The most orders that one sweep fills before it is cut and goes on in the next step. It bounds the events of a command."""

SWEEP_MOVES_MAX: Final = 2_000
"""The most joint moves in one sweep before it is cut."""

DUST: Final = 1_000
"""A sweep ends when the AMM would sell to or buy from no order more than this many micro-shares up to its limit."""

ABREAST: Final = 1_000
"""The largest difference, in micro-shares, between the gaps of orders that trade together."""

FINEST: Final = 1e-9
"""The smallest difference of prices that counts: smaller ones are the noise of floats."""

NEGLIGIBLE: Final = 1e-12
"""The largest sum of the other prices at which buying all outcomes that are bid for counts as buying complete sets."""

REACH: Final = 4
"""The most shares bought in one move, per credit of liquidity: so far the prices stay exact."""


@dataclass(slots=True)
class SweepFill:
    """What the AMM trades with one resting order in a sweep.

    `left` is what remained of the order before. `paid` is the exact price of the quantity; `cost` is rounded from it once.
    """

    order: RestingOrder
    left: Shares
    quantity: Shares = 0
    paid: float = 0.0
    cost: Credits = 0


@dataclass(slots=True)
class Sweep:
    """All fills of a sweep, one per order; the AMM's prices after them; and whether the sweep was cut at its bound."""

    fills: list[SweepFill]
    prices: tuple[float, ...]
    more: bool


class Ahead:
    """A market as an event that is not applied yet will leave it. A sweep can be computed from here without any change.

    `weights`, `liquidity`, `sold` and `prices` are the AMM's after the event. `left` says what remains of the resting orders
    that an order changes, 0 for those that leave the book. `rest` is what then rests of the order itself, or None.
    """

    __slots__ = ("left", "liquidity", "prices", "rest", "sold", "weights")

    def __init__(  # noqa: PLR0917  in the order of `Market`
        self,
        weights: tuple[int, ...],
        liquidity: PicoCredits,
        sold: list[Shares],
        prices: tuple[float, ...],
        left: dict[str, Shares],
        rest: RestingOrder | None,
    ) -> None:
        self.weights, self.liquidity, self.sold, self.prices = weights, liquidity, sold, prices
        self.left, self.rest = left, rest


def market_ahead(market: Market) -> Ahead:
    """Return the market as it is, for an event that changes neither its AMM nor its book."""
    return Ahead(market.weights, market.liquidity, market.sold.copy(), market.prices, {}, None)


def sweep_book(market: Market) -> Sweep | None:
    """Return the fills of the resting orders whose limits the AMM's current price has reached, or None."""
    ahead = market_ahead(market)
    return _sweep(ahead, _queues(market, ahead), cut=True)


def sweep_ahead(market: Market, ahead: Ahead) -> Sweep | None:
    """Return the whole sweep, all of its steps, that would follow an event, or None. Nothing changes."""
    return _sweep(ahead, _queues(market, ahead), cut=False)


def swept_prices(market: Market, ahead: Ahead) -> tuple[Price, ...]:
    """Return the AMM's prices after the sweep that would follow an event; empty if none would."""
    sweep = sweep_ahead(market, ahead)
    return lmsr.displayed(sweep.prices) if sweep is not None else ()


def _queues(market: Market, ahead: Ahead) -> list["_Queue"]:
    """Return the resting orders of every ladder, as they will be."""
    rest, queues = ahead.rest, []
    place, level = market.book.place_of(rest.outcome, rest.side, rest.price) if rest else (None, 0)
    for line in market.book.lines:
        for ladder in (line.bids, line.asks):
            if rest is not None and ladder is place:
                queues.append(_Queue(_joined(ladder, level, rest), ahead.left))
            elif ladder.mask:
                queues.append(_Queue(ladder.best_first(), ahead.left))
    return queues


def _joined(ladder: Ladder, level: int, rest: RestingOrder) -> Iterator[tuple[int, RestingOrder]]:
    """Yield the orders of a ladder, best first, with one more behind the others of its level."""
    waits = True
    for at, order in ladder.best_first():
        if waits and (at < level if ladder.highest_first else at > level):
            waits = False
            yield level, rest
        yield at, order
    if waits:
        yield level, rest


def _sweep(ahead: Ahead, queues: list["_Queue"], *, cut: bool) -> Sweep | None:
    """Return the sweep of these queues from here, or None; `cut` says whether it ends at the bounds of a step.

    `ahead.sold` is then that after the sweep.
    """
    b = ahead.liquidity / (lmsr.PICO // MICRO)
    sold, prices = ahead.sold, ahead.prices
    fills: dict[str, SweepFill] = {}
    more = False
    moves = 0
    while True:
        fronts = [_Front(queue, queue.order, prices) for queue in queues if queue.order is not None]
        level = max([front.gap for front in fronts if front.gap > 0 and _is_reached(b, front)], default=0.0)
        if level == 0:
            break
        if cut and (len(fills) >= SWEEP_ORDERS_MAX or moves == SWEEP_MOVES_MAX):
            more = True
            break
        traded = False
        for front, quantity, price in _for_nothing(ahead, fronts) or _move(b, prices, fronts, level):
            order = front.order
            fill = fills.setdefault(order.order_id, SweepFill(order, front.left))
            fill.quantity += quantity
            fill.paid += price * quantity
            sold[order.outcome] += front.sign * quantity
            front.queue.use(quantity, fill.paid)
            traded = True
        if not traded:
            break
        moves += 1
        prices = lmsr.price_vector(ahead.weights, sold, ahead.liquidity)
    for fill in fills.values():
        fill.cost = _charged(fill)
    return Sweep(list(fills.values()), prices, more) if fills else None


class _Queue:
    """The orders of one ladder while a sweep fills them; the ladder itself does not change. `order` is the first one.

    `left` is what remains of it, `taken` what the sweep has filled of it and `paid` the exact price of that.
    `changed` says what remains of orders of which less remains than they say.
    """

    __slots__ = ("changed", "left", "order", "orders", "paid", "taken")

    def __init__(self, orders: Iterator[tuple[int, RestingOrder]], changed: dict[str, Shares]) -> None:
        self.orders, self.changed = orders, changed
        self.order: RestingOrder | None = None
        self.left: Shares = 0
        self.taken: Shares = 0
        self.paid = 0.0
        self._next()

    def _next(self) -> None:
        self.taken, self.paid = 0, 0.0
        for _, order in self.orders:
            self.left = self.changed.get(order.order_id, order.remaining)
            if self.left:
                self.order = order
                return
        self.order = None

    def use(self, quantity: Shares, paid: float) -> None:
        """Take a quantity off the first order, all of which cost `paid` so far; if it is complete, the next order is first."""
        self.left -= quantity
        self.taken += quantity
        self.paid = paid
        if self.left == 0:
            self._next()


class _Front:
    """The first order of a queue: the AMM's price, the signed way from there to the limit, and the gap."""

    __slots__ = ("gap", "left", "order", "price", "queue", "sign", "way")

    def __init__(self, queue: _Queue, order: RestingOrder, prices: Sequence[float]) -> None:
        self.queue, self.order, self.left = queue, order, queue.left
        self.sign = 1 if order.side == "buy" else -1
        self.price = prices[order.outcome]
        self.way = order.price / MICRO - self.price
        self.gap = self.sign * self.way


def _is_reached(b: float, front: _Front) -> bool:
    """Return whether the AMM would trade more than dust before its price, better than the limit now, has come there.

    A small difference of prices near 0 or 1 can be many shares, so shares are what counts.
    """
    if front.price >= 1:
        return True
    return abs(lmsr.shares_to_price(b, front.price, front.order.price / MICRO)) > DUST


def _for_nothing(ahead: Ahead, fronts: Sequence[_Front]) -> list[tuple[_Front, Shares, float]]:
    """Return what bids get below the lowest price, `lmsr.TINIEST`, at which shares cost nothing that counts.

    They move no price, so they go first and all at once. By moves of `REACH` it could take millions of them.
    """
    trades: list[tuple[_Front, Shares, float]] = []
    for front in fronts:
        if front.sign > 0 and front.price <= lmsr.TINIEST:
            below = lmsr.shares_below(ahead.weights, ahead.sold, ahead.liquidity, front.order.outcome)
            if below:
                trades.append((front, min(front.left, below), lmsr.TINIEST))
    return trades


def _move(
    b: float, prices: Sequence[float], fronts: Sequence[_Front], level: float
) -> Iterator[tuple[_Front, Shares, float]]:
    """Yield what trades in one move, and at which average price: until all gaps are closed, an order is complete or one joins.

    `level` is the largest gap that is not dust.
    """
    abreast = max(level - max(ABREAST / b, FINEST), 0.0)
    movers, yielded = _together(prices, [front for front in fronts if front.gap >= abreast])
    if yielded is None:
        quantity = min(front.left for front in movers)
        total = fsum(front.price for front in movers)
        for front in movers:
            yield front, quantity, front.price / total
        return
    reach = floor(REACH * b) + 1
    ends = [
        lmsr.until_traded(b, front.price, front.way, yielded, front.sign * min(front.left, reach)) for front in movers
    ]
    part = min(1.0, *ends)
    for front in fronts:
        closing = level + front.sign * front.price * yielded  # the speed at which its gap and the movers' meet
        if front.gap < abreast and closing > 0:
            part = min(part, (level - front.gap) / closing)
    for front, end in zip(movers, ends, strict=True):
        shares, price = lmsr.traded(b, front.price, front.way * part, yielded * part)
        quantity = front.left if end <= part and front.left <= reach else min(front.left, floor(abs(shares)))
        if front.sign > 0 and quantity < front.left:
            queue, taken = front.queue, front.queue.taken + quantity
            if ceil(queue.paid + price * quantity) > _at_limit(front.order.price, queue.taken + queue.left, taken):
                # A reservation is rounded up for the whole order, so for a part of it the cash may be a micro-credit short.
                # It is exact for quantities that cost whole micro-credits at the limit.
                quantity = max(0, quantity - taken % (MICRO // gcd(front.order.price, MICRO)))
        if quantity:
            yield front, quantity, price


def _together(prices: Sequence[float], movers: list[_Front]) -> tuple[list[_Front], float | None]:
    """Return the orders whose prices move together, and the fraction by which all other prices fall.

    The fraction is None where the orders make up complete sets, so that no price moves. An order drops out if the trades of
    the others alone move its price to its limit faster than the joint move does.
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


def _at_limit(price: Price, left: Shares, quantity: Shares) -> Credits:
    """Return what an order reserves for the price of `quantity` of the shares that are left of it, without the fee."""
    return released_cash(0, price, left, quantity)


def _charged(fill: SweepFill) -> Credits:
    """Return the cost, rounded up once but at most the limit price of it all, or the proceeds, rounded down."""
    if fill.order.side == "sell":
        return floor(fill.paid)
    return min(ceil(fill.paid), _at_limit(fill.order.price, fill.left, fill.quantity))
