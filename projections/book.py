"""Order book depth: what rests at each price, now and at any position."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.money import MICRO, Price
from domain.orders import Execution, OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled
from projections.forms import Count, SharesSum
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.row_values import by_name
from projections.machine.table import Big, Table
from projections.machine.workspace import Workspace
from projections.markets.tables import MarketRow
from projections.reading import AsOf, query, whole_numbers


@dataclass(slots=True)
class BookOrder:
    """An order that rests now."""

    order_id: str
    market_id: str
    outcome: str
    side: str
    price: int
    remaining: int


@dataclass(slots=True)
class LevelRow:
    """The quantity that rests at one price. A level that has become empty stays, with a quantity of 0."""

    market_id: str
    outcome: str
    side: str
    price: int
    quantity: Big
    orders: int


class LevelVersion(NamedTuple):
    """The quantity that rests at one price, valid from log position `position`."""

    partition: int
    market_id: str
    outcome: str
    side: str
    price: int
    position: int
    quantity: Big
    orders: int


class Level(NamedTuple):
    """A price, the shares that rest at it, and the number of their orders."""

    price: Price
    quantity: SharesSum
    orders: Count


class OutcomeBook(NamedTuple):
    """The book of an outcome, best price first, and the AMM's `price`.

    With two outcomes, a bid on the other one is listed here as an ask at 1 - price, and an ask as a bid.
    """

    outcome: str
    price: Price
    bids: list[Level]
    asks: list[Level]


RESTING = Table("book_orders", BookOrder, key=["order_id"], by="order")
LEVELS = Table("book_levels", LevelRow, key=["market_id", "outcome", "side", "price"], by="market")
VERSIONS = Table("book_versions", LevelVersion, key=["market_id", "outcome", "side", "price", "position"])

_version = by_name(LevelVersion)

KINDS: Final = frozenset({OrderPlaced, OrderAmended, OrderReduced, OrderCanceled, RestingOrderFilled})


def fold(batch: Batch, workspace: Workspace) -> None:
    """Follow every resting order, and keep a version of each level that an event changes."""
    book = BookLevels(workspace)
    versions = workspace.rows(VERSIONS)
    for recorded in batch.of(KINDS):
        match recorded.event:
            case OrderPlaced() as event:
                if not event.execution.resting and not _met_orders(event.execution):
                    continue
                book.fill(event.execution)
                if event.execution.resting:
                    book.rest(event)
            case OrderAmended() as event:
                book.set(event.order_id, 0)
                book.fill(event.execution)
                if event.execution.resting:
                    book.rest(event)
            case OrderCanceled() as event:
                book.set(event.order_id, 0)
            case OrderReduced() | RestingOrderFilled() as event:
                book.set(event.order_id, event.remaining)
        for level in book.changed():
            versions.append(
                _version(
                    partition=batch.partition,
                    market_id=level.market_id,
                    outcome=level.outcome,
                    side=level.side,
                    price=level.price,
                    position=recorded.position,
                    quantity=level.quantity,
                    orders=level.orders,
                )
            )


def _met_orders(execution: Execution) -> bool:
    for fill in execution.fills:  # noqa: SIM110  a generator costs more than most loops, which have one step
        if fill.order_id is not None:
            return True
    return False


class BookLevels:
    """The resting orders and the levels while a batch is folded."""

    def __init__(self, workspace: Workspace) -> None:
        self._orders = workspace.rows(RESTING)
        self._levels = workspace.rows(LEVELS)
        self._changed: dict[tuple[str, str, str, int], LevelRow] = {}

    def changed(self) -> list[LevelRow]:
        """Return the levels that have changed since the last call, each once."""
        levels = [*self._changed.values()]
        self._changed.clear()
        return levels

    def fill(self, execution: Execution) -> None:
        """Take the fills of an execution off the orders that it met."""
        for fill in execution.fills:
            if fill.order_id is not None:
                self.set(fill.order_id, self._orders.edit(fill.order_id).remaining - fill.quantity)

    def rest(self, event: OrderPlaced | OrderAmended) -> None:
        """Add an order of which something rests."""
        assert event.limit_price is not None, "only limit orders rest"
        order = self._orders.add(
            BookOrder(
                order_id=event.order_id,
                market_id=event.market_id,
                outcome=event.outcome,
                side=event.side,
                price=event.limit_price,
                remaining=event.execution.remaining,
            )
        )
        level = self._level(order)
        level.quantity += order.remaining
        level.orders += 1

    def set(self, order_id: str, remaining: int) -> None:
        """Change what remains of an order, and its level by the difference; an order with nothing left is removed."""
        order = self._orders.edit(order_id)
        level = self._level(order)
        level.quantity += remaining - order.remaining
        order.remaining = remaining
        if not remaining:
            level.orders -= 1
            self._orders.remove(order_id)

    def _level(self, order: BookOrder) -> LevelRow:
        """Return the level of an order, to be changed."""
        key = (order.market_id, order.outcome, order.side, order.price)
        if self._levels.get(key) is None:
            level = self._levels.add(LevelRow(*key, quantity=0, orders=0))
        else:
            level = self._levels.edit(key)
        self._changed[key] = level
        return level


PROJECTION = Projection("book", 4, (RESTING, LEVELS, VERSIONS), fold, scope="market", weight=1.3)

_NOW: Final = """
    SELECT market_id, outcome, side, price, quantity, orders FROM book_levels WHERE market_id = ANY(%s) AND quantity > 0"""
_PAST: Final = """
    SELECT l.market_id, l.outcome, l.side, l.price, v.quantity, v.orders FROM book_levels l
    CROSS JOIN LATERAL (SELECT quantity, orders FROM book_versions WHERE market_id = l.market_id AND outcome = l.outcome
        AND side = l.side AND price = l.price AND position <= %s ORDER BY position DESC LIMIT 1) v
    WHERE l.market_id = ANY(%s) AND v.quantity > 0"""


@query("book")
def book(connection: Connection, as_of: AsOf, market: MarketRow) -> list[OutcomeBook]:
    """Return the book of each outcome of a market, in their order."""
    (found,) = books(connection, as_of, [market])
    return found


@query("book")
def books(connection: Connection, as_of: AsOf, markets: Sequence[MarketRow]) -> list[list[OutcomeBook]]:
    """Return the book of each of these markets, as `book` does."""
    ids = [market.market_id for market in markets]
    with whole_numbers(connection, tuple_row) as cursor:
        statement, at = (_PAST, [as_of.position]) if as_of.past else (_NOW, [])
        rows = cursor.execute(statement, [*at, ids]).fetchall()
    levels: dict[str, list[Any]] = {each: [] for each in ids}
    for market_id, *level in rows:
        levels[market_id].append(level)
    return [_book_of(market, levels[market.market_id]) for market in markets]


def _book_of(market: MarketRow, levels: Sequence[Any]) -> list[OutcomeBook]:
    sides: dict[tuple[str, str], dict[int, Level]] = {}
    for outcome, side, price, quantity, orders in levels:
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
