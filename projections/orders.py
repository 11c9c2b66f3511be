"""Orders: every one that was taken, with what became of it."""

from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection
from psycopg.rows import args_row

from domain.money import MICRO, divide_half_even
from domain.orders import OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled
from projections.machine.batch import EXECUTED, Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.reading import AsOf, Conditions


@dataclass(slots=True)
class Order:
    """An order. `cost` and `fee` sum over its fills; `reason` says why a remainder does not rest.

    `position` and `time` are those of its placing, `changed_position` and `changed_time` those of its last change.
    """

    partition: int
    order_id: str
    client_order_id: str
    account_id: str
    market_id: str
    outcome: str
    side: str
    type: str
    quantity: int | None
    spend: int | None
    limit_price: int | None
    time_in_force: str
    expires_at: int | None
    post_only: bool
    reduce_only: bool
    resolution_version: int
    status: str
    open: bool
    filled: int
    remaining: int
    cost: int
    fee: int
    reason: str | None
    position: int
    time: int
    changed_position: int
    changed_time: int

    @property
    def average_price(self) -> int | None:
        """Its cost per share, rounded half even; None before a fill."""
        return divide_half_even(self.cost * MICRO, self.filled) if self.filled else None

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.position, self.order_id


ORDERS = Table("orders", Order, key=["order_id"], indexes=["account_id, position", "account_id, position WHERE open"])

KINDS: Final = frozenset({OrderPlaced, OrderAmended, OrderReduced, OrderCanceled, RestingOrderFilled})


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add every order, and follow those that rest."""
    orders = workspace.load(ORDERS, lambda: batch.orders)
    append = orders.append
    partition = batch.partition
    event: Any
    for recorded in batch.of(KINDS):
        event = recorded.event
        position, time = recorded.position, recorded.time
        if type(event) is OrderPlaced:
            execution = event.execution
            values = (
                partition,
                event.order_id,
                event.client_order_id,
                event.account_id,
                event.market_id,
                event.outcome,
                event.side,
                event.type,
                event.quantity,
                event.spend,
                event.limit_price,
                event.time_in_force,
                event.expires_at,
                event.post_only,
                event.reduce_only,
                event.resolution_version,
                execution.status,
                execution.resting,
                execution.filled,
                execution.remaining,
                execution.cost,
                execution.fee,
                execution.reason,
                position,
                time,
                position,
                time,
            )
            if execution.resting:
                orders.put(event.order_id, Order(*values))
            else:
                append(values)
        else:
            found = orders.get(event.order_id)
            assert found is not None, "an order is placed first"
            order = found
            order.changed_position, order.changed_time = position, time
            orders.change(event.order_id)
        if type(event) in EXECUTED:
            for fill in event.execution.fills:
                if fill.order_id is not None:
                    other = orders.get(fill.order_id)
                    assert other is not None, "a resting order was placed first"
                    _fill(other, fill.quantity, fill.resting_cost, other.remaining - fill.quantity)
                    other.changed_position, other.changed_time = position, time
                    orders.change(fill.order_id)
        if type(event) is not OrderPlaced:
            _follow(order, event)


def _fill(order: Order, quantity: int, cost: int, remaining: int) -> None:
    order.filled += quantity
    order.cost += cost
    order.remaining = remaining
    order.status, order.open = ("partially_filled", True) if remaining else ("filled", False)


def _follow(order: Order, event: Any) -> None:
    match event:
        case OrderAmended(execution=execution):
            order.limit_price, order.quantity = event.limit_price, event.quantity
            order.filled += execution.filled
            order.cost += execution.cost
            order.fee += execution.fee
            order.remaining, order.open, order.reason = execution.remaining, execution.resting, execution.reason
            order.status = execution.status
            if order.open and order.filled:
                order.status = "partially_filled"
        case OrderReduced():
            order.quantity, order.remaining = event.quantity, event.remaining
        case OrderCanceled():
            order.status, order.open, order.reason = "canceled", False, event.reason
            order.remaining = event.remaining
        case RestingOrderFilled():
            _fill(order, event.quantity, event.cost, event.remaining)
        case _:
            pass


PROJECTION = Projection("orders", 2, (ORDERS,), fold, scope="market", weight=4.6)


def account_orders(
    connection: Connection,
    as_of: AsOf,
    account_id: str,
    *,
    market_id: str | None = None,
    open_only: bool = False,
    limit: int = 50,
    after: tuple[int, str] | None = None,
) -> list[Order]:
    """Return the orders of an account as they are now, newest first."""
    where = Conditions("account_id = %s AND position <= %s", account_id, as_of.position)
    where.add_if("market_id = %s", market_id)
    if open_only:
        where.add("open")
    where.after("position, order_id", after)
    with connection.cursor(row_factory=args_row(Order)) as cursor:
        return cursor.execute(
            f"SELECT {ORDERS.column_list} FROM orders {where.sql} ORDER BY position DESC, order_id DESC LIMIT %s",
            [*where.values, limit],
        ).fetchall()
