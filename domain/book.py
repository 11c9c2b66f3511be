"""The resting orders of one market, by price and age.

A market with two outcomes has one line: a bid on the second outcome is an ask on the first at 1 - price, and an ask on it is a
bid. With more outcomes each has a line of its own. A line has 999 price levels. A bit mask says which levels are not empty, so
the best one is found without a search.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from domain.money import MICRO, PRICE_TICK, Price, Shares, Time

LEVELS = MICRO // PRICE_TICK

Side = Literal["buy", "sell"]


@dataclass(slots=True)
class RestingOrder:
    """An order in the book.

    `price` is its limit, on its own outcome. `quantity` is the total that it was placed for or amended to: `filled` plus
    `remaining`. `age` is its rank in time.
    """

    order_id: str
    account_id: str
    outcome: int
    side: Side
    price: Price
    remaining: Shares
    age: int
    quantity: Shares
    filled: Shares
    expires_at: Time | None
    client_order_id: str
    post_only: bool


@dataclass(slots=True)
class Ladder:
    """One side of a line: its price levels, each with the oldest order first."""

    highest_first: bool
    levels: dict[int, OrderedDict[str, RestingOrder]] = field(default_factory=dict)
    mask: int = 0

    def add(self, level: int, order: RestingOrder) -> None:
        """Add an order after the others of its level."""
        queue = self.levels.get(level)
        if queue is None:
            queue = self.levels[level] = OrderedDict()
            self.mask |= 1 << level
        queue[order.order_id] = order

    def remove(self, level: int, order_id: str) -> None:
        """Remove an order; it must be there."""
        queue = self.levels[level]
        del queue[order_id]
        if not queue:
            del self.levels[level]
            self.mask &= ~(1 << level)

    def best_first(self) -> Iterator[tuple[int, RestingOrder]]:
        """Yield levels and orders, best price first, then oldest. The ladder must not change meanwhile."""
        mask = self.mask
        while mask:
            level = mask.bit_length() - 1 if self.highest_first else (mask & -mask).bit_length() - 1
            mask ^= 1 << level
            for order in self.levels[level].values():
                yield level, order


@dataclass(slots=True)
class Line:
    """The bids and the asks that match each other."""

    bids: Ladder = field(default_factory=lambda: Ladder(highest_first=True))
    asks: Ladder = field(default_factory=lambda: Ladder(highest_first=False))


class Book:
    """All resting orders of a market with `outcomes` outcomes."""

    __slots__ = ("ages", "lines", "orders", "paired")

    def __init__(self, outcomes: int) -> None:
        self.paired = outcomes == 2
        self.lines = [Line() for _ in range(1 if self.paired else outcomes)]
        self.orders: dict[str, RestingOrder] = {}
        self.ages = 0

    def __len__(self) -> int:
        return len(self.orders)

    def add(self, order: RestingOrder) -> None:
        """Add an order after the others of its price."""
        self.orders[order.order_id] = order
        ladder, level = self.place_of(order.outcome, order.side, order.price)
        ladder.add(level, order)

    def remove(self, order_id: str) -> RestingOrder:
        """Remove an order and return it; it must be there."""
        order = self.orders.pop(order_id)
        ladder, level = self.place_of(order.outcome, order.side, order.price)
        ladder.remove(level, order_id)
        return order

    def next_age(self) -> int:
        """Return the age of an order that comes to rest now."""
        self.ages += 1
        return self.ages

    def place_of(self, outcome: int, side: Side, price: Price) -> tuple[Ladder, int]:
        """Return the ladder an order rests on, and its level there."""
        level = price // PRICE_TICK
        bid = side == "buy"
        if self.paired and outcome == 1:
            outcome, bid, level = 0, not bid, LEVELS - level
        line = self.lines[outcome]
        return (line.bids if bid else line.asks), level

    def opposite(self, outcome: int, side: Side) -> Iterable[tuple[Price, RestingOrder]]:
        """Return the orders that an incoming order of this side would meet, best price first, then oldest.

        The prices are those of the incoming order's outcome. The book must not change meanwhile.
        """
        bid = side == "buy"
        mirrored = self.paired and outcome == 1
        if mirrored:
            outcome, bid = 0, not bid
        line = self.lines[outcome]
        ladder = line.asks if bid else line.bids
        return _priced(ladder, mirrored) if ladder.mask else ()


def _priced(ladder: Ladder, mirrored: bool) -> Iterator[tuple[Price, RestingOrder]]:
    for level, order in ladder.best_first():
        yield (LEVELS - level if mirrored else level) * PRICE_TICK, order
