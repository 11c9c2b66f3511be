"""Reads of orders over accounts: one order, and lists of them."""

from typing import Annotated, Any, Final, cast, get_args

from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.responses import Response

from api.http.auth import require
from api.http.errors import ApiError, invalid_field
from api.http.openapi import list_of, one
from api.http.reads import Cursor, Limit, Read, Reader, answer, several
from api.http.resources import ORDER
from api.http.routes.accounts import find_account
from api.http.routes.markets import find
from api.http.routes.orders import order_json
from domain.orders import OrderStatus
from messages.commands import new_id
from messages.order import order_command_id
from projections import accounts, orders
from projections.markets import markets
from projections.reading import AsOf

router = APIRouter(prefix="/orders", tags=["orders"])

STATUSES: Final[tuple[OrderStatus, ...]] = get_args(OrderStatus)

ClientOrderId = Annotated[
    str | None, Query(min_length=1, max_length=64, description="only the order that its account gave this id")
]
Statuses = Annotated[
    str | None,
    Query(description=f"only orders with one of these statuses, with commas between them: {', '.join(STATUSES)}"),
]


@router.get("", responses=list_of(ORDER, "FORBIDDEN", "ACCOUNT_NOT_FOUND", "MARKET_NOT_FOUND"))
async def list_orders(
    read: Read,
    client_order_id: ClientOrderId = None,
    account: Annotated[str | None, Query(description="only orders of this account: id or name")] = None,
    market: Annotated[str | None, Query(description="only orders in this market: id or slug")] = None,
    status: Statuses = None,
    open: bool = False,  # noqa: A002  the name of the query parameter
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Orders, newest first: of all accounts for analysts and admins, of its own account for any other key.

    A `client_order_id` is unique within its account. So with a key that sees all accounts, it takes the `account` too.
    """
    after = read.after(cursor, int, str)
    statuses = cast("list[OrderStatus]", several("status", status, STATUSES))
    owner = await _owner(read, account)
    order_id = None
    if client_order_id is not None:
        if owner is None:
            raise invalid_field("account", "is required with client_order_id, which is unique only within an account")
        order_id = new_id("or", order_command_id(owner, client_order_id))

    def query(connection: Connection[Any], as_of: AsOf) -> list[orders.Order]:
        market_id = None if market is None else find(connection, as_of, market).market_id
        wanted = orders.Wanted(market_id, order_id, is_open=open, statuses=statuses)
        if owner is None:
            return orders.all_orders(connection, as_of, wanted=wanted, limit=limit + 1, after=after)
        account_id = find_account(connection, as_of, owner).account_id
        return orders.account_orders(connection, as_of, account_id, wanted=wanted, limit=limit + 1, after=after)

    needs = (markets.get_market, accounts.get_account, orders.all_orders)
    rows, labels, as_of = await read.fetch_labelled(needs, query)
    return read.page(rows, limit, lambda row: labels.add(order_json(row)), as_of)


@router.get("/{order_id}", responses=one(ORDER, "FORBIDDEN", "ORDER_NOT_FOUND"))
async def get_order(read: Read, order_id: str) -> Response:
    """An order. One of another account is unknown to whoever may not see it."""
    if not read.sees_all:
        require(read.principal, "trader", "reader", "analyst", "admin")

    def query(connection: Connection[Any], as_of: AsOf) -> list[orders.Order]:
        found = orders.get_order(connection, as_of, order_id)
        if found is None or not read.sees(found.account_id):
            raise ApiError("ORDER_NOT_FOUND", "no such order", {"order": order_id})
        return [found]

    (row,), labels, as_of = await read.fetch_labelled((orders.get_order,), query)
    return answer(labels.add(order_json(row)), as_of)


async def _owner(read: Reader, account: str | None) -> str | None:
    """Return the id of the account whose orders are asked for, None for all.

    Raises ApiError UNAUTHENTICATED or FORBIDDEN, unless this reader may see them.
    """
    if account is not None:
        return await read.private(account)
    if read.sees_all:
        return None
    principal = require(read.principal, "trader", "reader", "analyst", "admin")
    if principal.account_id is None:
        raise ApiError("FORBIDDEN", "this key has no account: it may see no orders", {})
    return principal.account_id
