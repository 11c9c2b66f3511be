"""Orders: every accepted one, with what became of it, now and at any position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.events import Recorded
from domain.money import Credits, Price, Shares, Time, average_price
from domain.orders import (
    Execution,
    OrderAmended,
    OrderCanceled,
    OrderPlaced,
    OrderReduced,
    OrderStatus,
    RestingOrderFilled,
)
from projections.forms import Count
from projections.log_index import TYPE_CODES
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.row_values import copying
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.reading import AsOf, Conditions, query


@dataclass(slots=True)
class Order:
    """An order. `cost` and `fee` sum over its fills; `reason` says why a remainder does not rest.

    `average_price` is the price of its only fill, or its cost per share, rounded half even but never beyond its limit; None
    before its first fill. `worst_limit` is the limit price at which it may have paid most or received least: another one than
    `limit_price` where an order that had fills was amended. `position` and `time` are those of the event that placed it,
    `changed_position` and `changed_time` those of its last change.
    """

    partition: int
    order_id: str
    client_order_id: str
    account_id: str
    market_id: str
    outcome: str
    side: str
    type: str
    quantity: Shares | None
    spend: Credits | None
    limit_price: Price | None
    worst_limit: Price | None
    time_in_force: str
    expires_at: Time | None
    post_only: bool
    reduce_only: bool
    resolution_version: Count
    status: str
    open: bool
    filled: Shares
    remaining: Shares
    cost: Credits
    average_price: Price | None
    fee: Credits
    reason: str | None
    position: Count
    time: Time
    changed_position: Count
    changed_time: Time

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.position, self.order_id


class OrderVersion(NamedTuple):
    """The columns of an order that an event at log position `until` changed, as they were before it.

    Few orders rest, and most of these change once. So what was is kept, not what is: an order that never changed needs no
    version.
    """

    partition: int
    order_id: str
    until: int
    quantity: int | None
    limit_price: int | None
    worst_limit: int | None
    status: str
    open: bool
    filled: int
    remaining: int
    cost: int
    average_price: int | None
    fee: int
    reason: str | None
    changed_position: int
    changed_time: int


ORDERS = Table(
    "orders", Order, key=["order_id"], by="order", indexes=["account_id, position", "account_id, position WHERE open"]
)
VERSIONS = Table("order_versions", OrderVersion, key=["order_id", "until"])

KINDS: Final = frozenset({OrderPlaced, OrderAmended, OrderReduced, OrderCanceled, RestingOrderFilled})

_placed = copying(Order, OrderPlaced, Execution, Recorded)
_version = copying(OrderVersion, Order)


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add every order, and follow those that rest."""
    orders, versions = workspace.rows(ORDERS), workspace.rows(VERSIONS)

    def changed(order_id: str) -> Order:
        """Return an order that the current event changes, and keep what it was."""
        order = orders.edit(order_id)
        versions.append(_version(order, until=recorded.position))
        order.changed_position, order.changed_time = recorded.position, recorded.time
        return order

    for recorded in batch.of(KINDS):
        match recorded.event:
            case OrderPlaced() as event:
                values = _placed(
                    event,
                    event.execution,
                    recorded,
                    partition=batch.partition,
                    average_price=_first_average(event),
                    worst_limit=event.limit_price,
                    open=event.execution.resting,
                    changed_position=recorded.position,
                    changed_time=recorded.time,
                )
                if event.execution.resting:
                    orders.add(Order(*values))
                else:
                    orders.append(values)
                _fill_resting(changed, event.execution)
            case OrderAmended() as event:
                _amend(changed(event.order_id), event)
                _fill_resting(changed, event.execution)
            case OrderReduced() as event:
                order = changed(event.order_id)
                order.quantity, order.remaining = event.quantity, event.remaining
            case OrderCanceled() as event:
                order = changed(event.order_id)
                order.status, order.open, order.reason = "canceled", False, event.reason
                order.remaining = event.remaining
            case RestingOrderFilled() as event:
                _fill(changed(event.order_id), event.quantity, event.cost, event.remaining)


def _fill_resting(changed: Callable[[str], Order], execution: Execution) -> None:
    """Fill the resting orders that an execution met."""
    for fill in execution.fills:
        if fill.order_id is not None:
            order = changed(fill.order_id)
            # Its limit is the price of the fill on its own outcome.
            _fill(order, fill.quantity, fill.resting_cost, order.remaining - fill.quantity, order.limit_price)


def _fill(order: Order, quantity: Shares, cost: Credits, remaining: Shares, only_price: Price | None = None) -> None:
    """Fill a resting order. `only_price` is the exact price of this fill, where it is known, if it stays the only one."""
    first = not order.filled
    order.filled += quantity
    order.cost += cost
    order.average_price = only_price if first and only_price is not None else _average(order)
    order.remaining = remaining
    order.status, order.open = ("partially_filled", True) if remaining else ("filled", False)


def _average(order: Order) -> Price:
    return average_price(order.cost, order.filled, order.worst_limit, buys=order.side == "buy")


def _first_average(event: OrderPlaced | OrderAmended) -> Price | None:
    """Return the average price of an order whose first fills are those of the event."""
    done = event.execution
    if len(done.fills) == 1:
        return done.fills[0].price
    return average_price(done.cost, done.filled, event.limit_price, buys=event.side == "buy") if done.filled else None


def _amend(order: Order, event: OrderAmended) -> None:
    execution = event.execution
    if order.filled and order.worst_limit is not None:
        order.worst_limit = (max if order.side == "buy" else min)(order.worst_limit, event.limit_price)
    else:
        order.worst_limit = event.limit_price
    order.limit_price, order.quantity = event.limit_price, event.quantity
    if execution.filled:
        first = not order.filled
        order.filled += execution.filled
        order.cost += execution.cost
        order.average_price = _first_average(event) if first else _average(order)
    order.fee += execution.fee
    order.remaining, order.open, order.reason = execution.remaining, execution.resting, execution.reason
    order.status = "partially_filled" if order.open and order.filled else execution.status


@dataclass(frozen=True, slots=True)
class Wanted:
    """The orders that are wanted: those of a market, with this id, open, with one of the `statuses`; all without a filter."""

    market_id: str | None = None
    order_id: str | None = None
    is_open: bool = False
    statuses: Sequence[OrderStatus] = ()

    def conditions(self, as_of: AsOf) -> Conditions:
        """Return the conditions for the rows of `orders`."""
        where = Conditions("position <= %s", as_of.position)
        where.add_if("market_id = %s", self.market_id)
        where.add_if("order_id = %s", self.order_id)
        where.add_if("status = ANY(%s)", [*self.statuses] or None)
        if self.is_open:
            where.add("open")
        return where


PROJECTION = Projection("orders", 4, (ORDERS, VERSIONS), fold, scope="market", weight=4.6)


@query("orders")
def get_order(connection: Connection, as_of: AsOf, order_id: str) -> Order | None:
    """Return the order with this id as it was, or None where it had not been placed by then."""
    where = Conditions("order_id = %s AND position <= %s", order_id, as_of.position)
    rows = _select(connection, as_of, where, "", [])
    return rows[0] if rows else None


@query("orders")
def account_orders(
    connection: Connection,
    as_of: AsOf,
    account_id: str,
    *,
    wanted: Wanted = Wanted(),
    limit: int = 50,
    after: tuple[int, str] | None = None,
) -> list[Order]:
    """Return the orders of an account, newest first."""
    where = wanted.conditions(as_of)
    where.add("account_id = %s", account_id)
    where.after("position, order_id", after)
    return _select(connection, as_of, where, "ORDER BY position DESC, order_id DESC LIMIT %s", [limit])


@query("orders", "log_index")
def all_orders(
    connection: Connection,
    as_of: AsOf,
    *,
    wanted: Wanted = Wanted(),
    limit: int = 50,
    after: tuple[int, str] | None = None,
) -> list[Order]:
    """Return the orders of all accounts, newest first. Its cost is that of all orders from the newest to the last one found.

    Open orders of now have an index. For others the index of the log says which account placed an order at which position,
    so that no index of the orders themselves has to follow every order.
    """
    where = wanted.conditions(as_of)
    where.after("position, order_id", after)
    order = "ORDER BY position DESC, order_id DESC LIMIT %s"
    if wanted.is_open and not as_of.past:
        return _select(connection, as_of, where, order, [limit])
    placed = Conditions("type_code = %s AND position <= %s", TYPE_CODES["OrderPlaced"], as_of.position)
    placed.add_if("market_id = %s", wanted.market_id)
    placed.add_if("position <= %s", after and after[0])
    source, at = _source(as_of)
    with connection.cursor(row_factory=args_row(Order)) as cursor:
        return cursor.execute(
            f"SELECT {', '.join(f'o.{name}' for name in ORDERS.columns)} FROM (SELECT account_id, position FROM log_index "
            f"{placed.sql} ORDER BY position DESC) i CROSS JOIN LATERAL (SELECT * FROM {source} {where.sql} "
            "AND account_id = i.account_id AND position = i.position) o ORDER BY i.position DESC LIMIT %s",
            [*placed.values, *at, *where.values, limit],
        ).fetchall()


def _select(connection: Connection, as_of: AsOf, where: Conditions, tail: str, values: list[Any]) -> list[Order]:
    source, at = _source(as_of)
    with connection.cursor(row_factory=args_row(Order)) as cursor:
        return cursor.execute(
            f"SELECT {ORDERS.column_list} FROM {source} {where.sql} {tail}", [*at, *where.values, *values]
        ).fetchall()


def _source(as_of: AsOf) -> tuple[str, list[int]]:
    """Return the table of the orders as they were, and the values of its parameters."""
    return (_PAST, [as_of.position] * 2) if as_of.past else ("orders", [])


_KEPT: Final = frozenset(OrderVersion._fields) - {"partition", "order_id", "until"}

_THEN: Final = ", ".join(
    f"CASE WHEN v.until IS NULL THEN o.{name} ELSE v.{name} END AS {name}" if name in _KEPT else f"o.{name}"
    for name in ORDERS.columns
)

_PAST: Final = f"""(
    SELECT {_THEN}
    FROM orders o LEFT JOIN LATERAL (
        SELECT * FROM order_versions WHERE order_id = o.order_id AND until > %s ORDER BY until LIMIT 1
    ) v ON o.changed_position > %s
) orders"""
"""The orders as they were: an order that changed later is the first of its versions that ended later."""
