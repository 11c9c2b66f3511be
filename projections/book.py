"""Order book depth: what rests at each price, now and at any position."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection

from domain.money import MICRO
from domain.orders import Execution, OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled
from projections.machine.batch import EXECUTED, Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
from projections.markets.markets import Market
from projections.reading import AsOf


@dataclass(slots=True)
class RestingOrder:
    """An order that rests now."""

    order_id: str
    market_id: str
    outcome: str
    side: str
    price: int
    remaining: int


@dataclass(slots=True)
class LevelRow:
    """What rests at one price; a level that has become empty stays, with nothing in it."""

    market_id: str
    outcome: str
    side: str
    price: int
    quantity: int
    orders: int


class LevelVersion(NamedTuple):
    """What rested at one price, from this position on."""

    partition: int
    market_id: str
    outcome: str
    side: str
    price: int
    position: int
    quantity: int
    orders: int


class Level(NamedTuple):
    """A price, the shares that wait at it, and in how many orders."""

    price: int
    quantity: int
    orders: int


class OutcomeBook(NamedTuple):
    """The book of an outcome, best price first, and the maker's price in between.

    With two outcomes, a bid on the other one stands here as an ask at 1 - price, and an ask as a bid.
    """

    outcome: str
    price: int
    bids: list[Level]
    asks: list[Level]


RESTING = Table("book_orders", RestingOrder, key=["order_id"])
LEVELS = Table("book_levels", LevelRow, key=["market_id", "outcome", "side", "price"], group=["market_id"])
VERSIONS = Table("book_versions", LevelVersion, key=["market_id", "outcome", "side", "price", "position"])

KINDS: Final = EXECUTED | {OrderReduced, OrderCanceled, RestingOrderFilled}


def fold(batch: Batch, workspace: Workspace) -> None:
    """Follow every resting order, and keep the version of each level that an event changed."""
    orders = workspace.load(RESTING, lambda: batch.orders)
    levels = workspace.load(LEVELS, lambda: batch.markets)
    append = workspace.rows(VERSIONS).append
    event: Any
    for recorded in batch.of(KINDS):
        event = recorded.event
        kind = type(event)
        if kind is OrderPlaced and not event.execution.resting and not _met_orders(event.execution):
            continue
        touched: dict[tuple[str, str, str, int], LevelRow] = {}
        if kind in EXECUTED:
            if kind is OrderAmended:
                _change(orders, levels, touched, event.order_id, 0)
            for fill in event.execution.fills:
                if fill.order_id is not None:
                    other = orders.get(fill.order_id)
                    assert other is not None, "a resting order was placed first"
                    _change(orders, levels, touched, fill.order_id, other.remaining - fill.quantity)
            if event.execution.resting:
                order = RestingOrder(event.order_id, event.market_id, event.outcome, event.side, event.limit_price, 0)
                orders.put(event.order_id, order)
                _change(orders, levels, touched, event.order_id, event.execution.remaining, born=True)
        else:
            _change(orders, levels, touched, event.order_id, 0 if kind is OrderCanceled else event.remaining)
        for key, level in touched.items():
            append(LevelVersion(batch.partition, *key, recorded.position, level.quantity, level.orders))


def _met_orders(execution: Execution) -> bool:
    for fill in execution.fills:  # noqa: SIM110  a generator costs more than most loops, which have one step
        if fill.order_id is not None:
            return True
    return False


def _change(
    orders: Rows[RestingOrder],
    levels: Rows[LevelRow],
    touched: dict[tuple[str, str, str, int], LevelRow],
    order_id: str,
    remaining: int,
    *,
    born: bool = False,
) -> None:
    """Give an order what remains of it, and its level the difference; an order of which nothing remains leaves."""
    order = orders.get(order_id)
    assert order is not None, "a resting order was placed first"
    key = (order.market_id, order.outcome, order.side, order.price)
    level = levels.get(key)
    if level is None:
        level = LevelRow(*key, 0, 0)
        levels.put(key, level)
    level.quantity += remaining - order.remaining
    level.orders += born - (remaining == 0)
    levels.change(key)
    touched[key] = level
    order.remaining = remaining
    if remaining:
        orders.change(order_id)
    else:
        orders.delete(order_id)


PROJECTION = Projection("book", 3, (RESTING, LEVELS, VERSIONS), fold, scope="market", weight=1.3)

_NOW: Final = "SELECT outcome, side, price, quantity, orders FROM book_levels WHERE market_id = %s AND quantity > 0"
_PAST: Final = """
    SELECT l.outcome, l.side, l.price, v.quantity, v.orders FROM book_levels l
    CROSS JOIN LATERAL (SELECT quantity, orders FROM book_versions WHERE market_id = l.market_id AND outcome = l.outcome
        AND side = l.side AND price = l.price AND position <= %s ORDER BY position DESC LIMIT 1) v
    WHERE l.market_id = %s AND v.quantity > 0"""


def book(connection: Connection, as_of: AsOf, market: Market) -> list[OutcomeBook]:
    """Return the book of each outcome of a market, in their order."""
    if as_of.past:
        rows = connection.execute(_PAST, [as_of.position, market.market_id]).fetchall()
    else:
        rows = connection.execute(_NOW, [market.market_id]).fetchall()
    sides: dict[tuple[str, str], dict[int, Level]] = {}
    for outcome, side, price, quantity, orders in rows:
        _add(sides, outcome, side, Level(price, quantity, orders))
        if len(market.outcomes) == 2:
            other = market.outcomes[1 - market.outcomes.index(outcome)]
            _add(sides, other, "sell" if side == "buy" else "buy", Level(MICRO - price, quantity, orders))
    return [
        OutcomeBook(
            outcome,
            price,
            sorted(sides.get((outcome, "buy"), {}).values(), reverse=True),
            sorted(sides.get((outcome, "sell"), {}).values()),
        )
        for outcome, price in zip(market.outcomes, market.prices, strict=True)
    ]


def _add(sides: dict[tuple[str, str], dict[int, Level]], outcome: str, side: str, level: Level) -> None:
    levels = sides.setdefault((outcome, side), {})
    there = levels.get(level.price)
    levels[level.price] = (
        Level(level.price, there.quantity + level.quantity, there.orders + level.orders) if there else level
    )
