"""Pages about people and the whole exchange: portfolio, account, leaderboard, calibration, log."""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.responses import RedirectResponse, Response

from api.http.auth import require
from api.http.cursors import POSITION_MAX
from api.http.labels import NEEDS as LABEL_NEEDS
from api.http.reads import Read, Reader
from api.http.routes.accounts import find_account
from api.http.routes.events import list_events
from api.page.sales import sales
from api.page.viewing import answer_with, look, show
from domain.orders import OPEN_ORDERS_MAX
from projections import accounts, calibration, orders, statements
from projections.markets import markets
from projections.positions import leaderboard, positions
from projections.reading import AsOf
from projections.trades import trades

router = APIRouter(include_in_schema=False)

ROWS_SHOWN: Final = 20
"""The rows of a table before "all"."""

ROWS_MAX: Final = 1_000
"""The rows of a table with "all"."""

PUBLIC_NEEDS: Final = (
    accounts.get_account,
    leaderboard.profit,
    positions.account_positions,
    markets.by_id,
    *LABEL_NEEDS,
)
PRIVATE_NEEDS: Final = (
    *PUBLIC_NEEDS,
    orders.account_orders,
    positions.settlements,
    trades.account_fills,
    statements.posted_bonds,
    statements.statement,
)

All = Annotated[bool, Query(alias="all", description="all rows of long tables")]


@router.get("/portfolio")
async def show_portfolio(read: Read, all_rows: All = False) -> Response:
    """What the viewer's account has: balances, positions, open orders, what ended, fills, statement."""
    principal = read.principal
    if principal is None:
        return RedirectResponse("/sign-in?next=/portfolio", 303)
    account_id = require(principal, "trader", "reader").account_id
    assert account_id is not None, "the keys of traders and readers have an account"
    return await _show_account(read, "portfolio.html", account_id, all_rows=all_rows, own=True)


@router.get("/accounts/{account}")
async def show_account(read: Read, account: str, all_rows: All = False) -> Response:
    """What everybody may see of an account; all of it for those who may."""
    own = read.sees(await read.context.references.resolve("account", account))
    return await _show_account(read, "account.html", account, all_rows=all_rows, own=own)


async def _show_account(read: Reader, template: str, account: str, *, all_rows: bool, own: bool) -> Response:
    most = ROWS_MAX if all_rows else ROWS_SHOWN

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        found = find_account(connection, as_of, account)
        account_id = found.account_id
        held = positions.account_positions(connection, as_of, account_id, limit=most + 1)
        values: dict[str, Any] = {
            "account": found,
            "profit": leaderboard.profit(connection, as_of, account_id),
            "positions": held[:most],
            "more": len(held) > most,
            "own": own,
            "orders": [],
            "settled": [],
            "fills": [],
            "entries": [],
        }
        if own:
            wanted = orders.Wanted(is_open=True)
            values["orders"] = orders.account_orders(
                connection, as_of, account_id, wanted=wanted, limit=OPEN_ORDERS_MAX if all_rows else ROWS_SHOWN
            )
            settled = positions.settlements(connection, as_of, account_id, limit=most + 1)
            values["settled"], values["more_settled"] = settled[:most], len(settled) > most
            values["bonds"] = statements.posted_bonds(connection, as_of, account_id)
            values["fills"] = trades.account_fills(connection, as_of, account_id, limit=most)
            values["entries"] = statements.statement(connection, as_of, account_id, limit=most)
        ids = {row.market_id for rows in ("positions", "orders", "settled", "fills") for row in values[rows]}
        ids |= {row.market_id for row in values["entries"] if row.market_id}
        values["markets"] = {row.market_id: row for row in markets.by_id(connection, as_of, sorted(ids))}
        return values

    viewer, values, as_of = await look(read, PRIVATE_NEEDS if own else PUBLIC_NEEDS, query)
    values["sales"] = None
    mine = viewer is not None and viewer.can_trade and viewer.principal.account_id == values["account"].account_id
    if viewer is not None and mine and read.at is None and read.time is None:
        held, shown = values["positions"], values["markets"]
        values["sales"] = await sales(read.request, viewer.principal, values["account"].account_id, held, shown)
    return answer_with(read, template, viewer, as_of, **values)


@router.get("/leaderboard")
async def show_leaderboard(
    read: Read,
    sort: leaderboard.Sort = "pnl",
    window: leaderboard.Window = "all",
    category: str | None = None,
    all_rows: All = False,
) -> Response:
    """The accounts by profit, volume, return or Brier score."""
    most = ROWS_MAX if all_rows else 100

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        rows = leaderboard.leaderboard(connection, as_of, sort=sort, window=window, category=category, limit=most + 1)
        return {"standings": rows[:most], "more": len(rows) > most}

    return await show(
        read, "leaderboard.html", (leaderboard.leaderboard,), query, sort=sort, window=window, category=category
    )


@router.get("/calibration")
async def show_calibration(read: Read, category: str | None = None) -> Response:
    """How often what was said to be likely came true."""
    return await show(
        read,
        "calibration.html",
        (calibration.calibration,),
        lambda c, a: {"calibration": calibration.calibration(c, a, category=category)},
        category=category,
    )


@router.get("/log")
async def show_log(
    read: Read,
    type: str | None = None,  # noqa: A002  as in the API
    market: str | None = None,
    account: str | None = None,
    before: Annotated[int | None, Query(ge=0, le=POSITION_MAX)] = None,
) -> Response:
    """The events of the log, newest first, each with a link to the exchange as it was then."""
    if account is None and not read.sees_all and read.principal is not None and read.principal.account_id is not None:
        account = read.principal.account_id  # an account may read its own events
    latest = POSITION_MAX if before is None else before
    answer = await list_events(
        read, type=type or None, market=market or None, account=account or None, before=latest, limit=50
    )
    page = msgspec.json.decode(bytes(answer.body))
    return await show(
        read, "log.html", (accounts.get_account,), lambda _c, _a: {},
        events=page["data"], more=page["next_cursor"] is not None, type=type, market=market, account=account,
    )  # fmt: skip
