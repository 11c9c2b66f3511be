"""Accounts: open one, deposit, withdraw; read balances, positions, orders, fills, settlements and statements."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.requests import Request
from starlette.responses import Response

from api.http.answers import PublicAccount, PublicProfile
from api.http.context import AccountId, Actor, Admin, Context, context_of
from api.http.errors import ApiError
from api.http.fields import AccountName, Amount, RequestBody
from api.http.openapi import list_of, one, written
from api.http.reads import Cursor, Limit, Read, Reader, answer, query_time
from api.http.resources import ACCOUNT, FILL, LEDGER_ENTRY, ORDER, POSITION, SETTLEMENT
from api.http.routes.markets import find
from api.http.routes.orders import order_json
from api.http.schemas import schema_of
from api.http.serializers import serialize
from api.http.writes import command_id_of, resource, submit
from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.money import format_decimal
from messages.commands import new_id
from messages.replies import Reply
from projections import accounts, equity, orders, statements
from projections.candles import PERIODS, Period
from projections.positions import leaderboard, positions
from projections.positions.withheld import withheld
from projections.reading import AsOf
from projections.trades import trades

router = APIRouter(prefix="/accounts", tags=["accounts"])

NEEDS: Final = (accounts.get_account, leaderboard.profit, withheld)

Market = Annotated[str | None, Query(description="only this market: id or slug")]

POINTS_DEFAULT: Final = 90
"""The number of steps in an equity history without a start."""


class OpenAccountBody(RequestBody):
    """The name of a new account."""

    name: AccountName


class CashBody(RequestBody):
    """An amount of credits."""

    amount: Amount


@router.post("", status_code=201, responses=written(ACCOUNT, OpenAccount, status=201))
async def open_account(request: Request, principal: Admin, body: OpenAccountBody) -> Response:
    """Open an account. It is empty. No other account may have its name, nor one that looks like it."""
    command_id = command_id_of(request, principal, OpenAccount)
    account_id = new_id("ac", command_id)
    reply = await submit(request, command_id, OpenAccount(account_id, body.name))
    return await _profile_after(request, reply, account_id, 201)


@router.post("/{account}/deposits", responses=written(ACCOUNT, DepositCash))
async def deposit(request: Request, principal: Admin, account_id: AccountId, body: CashBody) -> Response:
    """Put credits into an account; `Idempotency-Key` is the id of the deposit."""
    reply = await submit(request, command_id_of(request, principal, DepositCash), DepositCash(account_id, body.amount))
    return await _profile_after(request, reply, account_id)


@router.post("/{account}/withdrawals", responses=written(ACCOUNT, WithdrawCash))
async def withdraw(request: Request, principal: Actor, account_id: AccountId, body: CashBody) -> Response:
    """Take available credits out of an account, with the account's own key or an admin's."""
    principal.check_may_act_for(account_id)
    reply = await submit(
        request, command_id_of(request, principal, WithdrawCash), WithdrawCash(account_id, body.amount)
    )
    return await _profile_after(request, reply, account_id)


@router.get("", responses=list_of({"anyOf": [schema_of(accounts.ValuedAccount), schema_of(PublicAccount)]}))
async def list_accounts(read: Read, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """All accounts, newest first; with their cash only for the account itself, analysts and admins."""
    after = read.after(cursor, int, str)
    rows, as_of = await read.fetch(
        (accounts.list_accounts,), lambda c, a: accounts.list_accounts(c, a, limit=limit + 1, after=after)
    )
    return read.page(rows, limit, lambda row: _account_json(read, row), as_of)


@router.get("/{account}", responses=one({"anyOf": [ACCOUNT, schema_of(PublicProfile)]}, "ACCOUNT_NOT_FOUND"))
async def get_account(read: Read, account: str) -> Response:
    """An account and its profit: `pnl`, the sum of realized and unrealized profit, as on the leaderboard of all time.

    The account itself, analysts and admins also see available and held cash, and its equity, with its positions at their
    current prices. `withdrawable` is the available cash without gains that could still be taken back.
    """
    found, as_of = await read.fetch(NEEDS, lambda c, a: profile(c, a, account, read.context))
    if not read.sees(found["account_id"]):
        found = {name: found[name] for name in PublicProfile.__annotations__}
    return answer(found, as_of)


@router.get("/{account}/positions", responses=list_of(POSITION, "ACCOUNT_NOT_FOUND", "MARKET_NOT_FOUND"))
async def list_account_positions(
    read: Read,
    account: str,
    market: Market = None,
    closed: bool = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Positions by market and outcome, with average cost and profit; `closed` adds those that are sold or settled."""
    after = read.after(cursor, str, str)

    def query(connection: Connection[Any], as_of: AsOf) -> list[positions.Position]:
        account_id, market_id = _filters(connection, as_of, account, market)
        return positions.account_positions(
            connection, as_of, account_id, market_id=market_id, closed=closed, limit=limit + 1, after=after
        )

    rows, labels, as_of = await read.fetch_labelled((*NEEDS, positions.account_positions), query)
    return read.page(rows, limit, lambda row: labels.add(serialize(row)), as_of)


@router.get("/{account}/orders", responses=list_of(ORDER, "FORBIDDEN", "ACCOUNT_NOT_FOUND", "MARKET_NOT_FOUND"))
async def list_account_orders(
    read: Read,
    account: str,
    market: Market = None,
    open: bool = False,  # noqa: A002  the name of the query parameter
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The account's orders, newest first; with `open=true` only resting ones."""
    after = read.after(cursor, int, str)

    named = await read.private(account)

    def query(connection: Connection[Any], as_of: AsOf) -> list[orders.Order]:
        account_id, market_id = _filters(connection, as_of, named, market)
        return orders.account_orders(
            connection, as_of, account_id, wanted=orders.Wanted(market_id, is_open=open), limit=limit + 1, after=after
        )

    rows, labels, as_of = await read.fetch_labelled((*NEEDS, orders.account_orders), query)
    return read.page(rows, limit, lambda row: labels.add(order_json(row)), as_of)


@router.get("/{account}/fills", responses=list_of(FILL, "FORBIDDEN", "ACCOUNT_NOT_FOUND", "MARKET_NOT_FOUND"))
async def list_account_fills(
    read: Read, account: str, market: Market = None, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The account's fills, as taker and as maker, newest first."""
    after = read.after(cursor, int, int)

    named = await read.private(account)

    def query(connection: Connection[Any], as_of: AsOf) -> list[trades.AccountFill]:
        account_id, market_id = _filters(connection, as_of, named, market)
        return trades.account_fills(connection, as_of, account_id, market_id=market_id, limit=limit + 1, after=after)

    rows, labels, as_of = await read.fetch_labelled((*NEEDS, trades.account_fills), query)
    return read.page(rows, limit, lambda row: labels.add(serialize(row)), as_of)


@router.get("/{account}/settlements", responses=list_of(SETTLEMENT, "FORBIDDEN", "ACCOUNT_NOT_FOUND"))
async def list_account_settlements(read: Read, account: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Payments to the account by finalized, corrected and voided markets, and what they took back, newest first."""
    after = read.after(cursor, int, str)

    named = await read.private(account)

    def query(connection: Connection[Any], as_of: AsOf) -> list[positions.AccountSettlement]:
        account_id = find_account(connection, as_of, named).account_id
        return positions.settlements(connection, as_of, account_id, limit=limit + 1, after=after)

    rows, labels, as_of = await read.fetch_labelled((*NEEDS, positions.settlements), query)
    return read.page(rows, limit, lambda row: labels.add(serialize(row)), as_of)


@router.get("/{account}/ledger", responses=list_of(LEDGER_ENTRY, "FORBIDDEN", "ACCOUNT_NOT_FOUND"))
async def list_account_ledger(read: Read, account: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The account's statement: every movement of its cash, with available and held cash afterwards, newest first."""
    after = read.after(cursor, int)

    named = await read.private(account)

    def query(connection: Connection[Any], as_of: AsOf) -> list[accounts.LedgerEntry]:
        account_id = find_account(connection, as_of, named).account_id
        return statements.statement(connection, as_of, account_id, limit=limit + 1, after=after)

    rows, labels, as_of = await read.fetch_labelled((*NEEDS, statements.statement), query)
    return read.page(rows, limit, lambda row: labels.add(serialize(row)), as_of)


@router.get("/{account}/equity-history", responses=list_of(equity.EquityPoint, "FORBIDDEN", "ACCOUNT_NOT_FOUND"))
async def get_equity_history(
    read: Read,
    account: str,
    start: str | None = None,
    end: str | None = None,
    step: Period = "1d",
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> Response:
    """The account's equity at `start` and every step after it, oldest first, with positions at the prices of each time.

    Without a start these are the last 90 steps. There is no point before the account was opened, nor after the last event.
    A page of an account with very many positions has fewer points.
    """
    after = read.after(cursor, int)
    since, until, length = query_time("start", start), query_time("end", end), PERIODS[step]
    named = await read.private(account)

    def query(connection: Connection[Any], as_of: AsOf) -> tuple[list[equity.EquityPoint], int]:
        found = find_account(connection, as_of, named)
        last = as_of.time if until is None else until
        if after is not None:
            first = after[0] + length
        else:
            first = last - POINTS_DEFAULT * length if since is None else since
            first += max(0, -((first - found.opened_at) // length)) * length
        most = min(limit, equity.points_max(connection, as_of, found.account_id))
        last = min(last, first + most * length)
        rows = read.context.kept_results.get(
            ("equity", found.account_id, first, last, length, as_of),
            lambda: equity.equity_history(connection, as_of, found.account_id, start=first, end=last, step=length),
        )
        return rows, most

    (rows, most), as_of = await read.fetch((*NEEDS, equity.equity_history), query)
    return read.page(rows, most, serialize, as_of)


async def _profile_after(request: Request, reply: Reply, account_id: str, status: int = 200) -> Response:
    """Return the answer to a write that was accepted: the account once it includes the write."""
    context = context_of(request)
    return await resource(request, reply, NEEDS, lambda c, a: profile(c, a, account_id, context), status)


def profile(connection: Connection[Any], as_of: AsOf, reference: str, context: Context) -> dict[str, Any]:
    """Return an account with its profit in JSON's types; raises ApiError ACCOUNT_NOT_FOUND."""
    found = find_account(connection, as_of, reference)
    is_held = context.settings.withdrawal_hold_seconds > 0
    held_back = withheld(connection, as_of, found.account_id) if is_held else 0
    withdrawable = format_decimal(max(found.available - held_back, 0))
    profit = serialize(leaderboard.profit(connection, as_of, found.account_id))
    return serialize(found) | {"withdrawable": withdrawable} | profit


def _account_json(read: Reader, row: accounts.ValuedAccount) -> dict[str, Any]:
    """Return an account in JSON's types, and of an account whose cash is private to others only what is public."""
    account = serialize(row)
    if not read.sees(row.account_id):
        account = {name: account[name] for name in PublicAccount.__annotations__}
    return account


def find_account(connection: Connection[Any], as_of: AsOf, reference: str) -> accounts.ValuedAccount:
    """Return an account by id or name; raises ApiError ACCOUNT_NOT_FOUND."""
    found = accounts.get_account(connection, as_of, reference)
    if found is None:
        raise ApiError("ACCOUNT_NOT_FOUND", "no such account", {"account": reference})
    return found


def _filters(connection: Connection[Any], as_of: AsOf, account: str, market: str | None) -> tuple[str, str | None]:
    """Return the ids of the account and, if one is named, of the market that a list is about; raises ApiError."""
    account_id = find_account(connection, as_of, account).account_id
    return account_id, None if market is None else find(connection, as_of, market).market_id
