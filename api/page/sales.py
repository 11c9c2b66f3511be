"""What selling would bring now, beside what positions are worth at the odds: a sale moves the odds, so it brings less."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.http.context import context_of
from api.http.errors import ApiError
from api.http.routes.orders import place
from domain.market import Status
from domain.money import format_decimal, parse_decimal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from api.http.auth import Principal
    from domain.money import Credits
    from projections.markets.tables import MarketRow
    from projections.positions.positions import Position

QUOTED_MAX: Final = 20
"""The most positions of a page that are quoted: each quote is a question to the engine."""

PATIENCE_SECONDS: Final = 1.0
"""The longest that a page waits for its quotes; it shows those that came."""

KEPT_SECONDS: Final = 3.0
"""The time in which an account's quotes are shown again: its open pages are loaded anew up to twice a second."""

KEPT_MAX: Final = 1_000
"""The most accounts whose quotes are kept."""

Sales = dict[tuple[str, str], "Credits"]
"""What selling all shares of an outcome would bring, by market and outcome, the fee taken off."""

Shares = dict[tuple[str, str], int]
"""The micro-shares of an account, by market and outcome."""


class KeptSales:
    """The last quotes of accounts, for the shares that they had then."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[float, Shares, Sales]] = OrderedDict()

    def find(self, account_id: str, shares: Shares) -> Sales | None:
        """Return the quotes of an account for just these shares, None where there are none of the last seconds."""
        until, known, found = self._kept.get(account_id, (0.0, {}, {}))
        return found if known == shares and monotonic() < until else None

    def keep(self, account_id: str, shares: Shares, found: Sales) -> None:
        """Keep quotes for `KEPT_SECONDS`; those kept the longest give way."""
        self._kept[account_id] = monotonic() + KEPT_SECONDS, shares, found
        self._kept.move_to_end(account_id)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)


async def sales(
    request: Request, principal: Principal, account_id: str, held: Sequence[Position], markets: Mapping[str, MarketRow]
) -> Sales:
    """Return the engine's quotes for selling each position of an account alone, whole, at most some seconds old.

    Those that cannot be sold now have none. The quotes count as a batch of orders; where that is too much, there are none.
    """
    wanted = [each for each in held[:QUOTED_MAX] if markets[each.market_id].status == Status.ACTIVE]
    if not wanted:
        return {}
    kept: KeptSales = request.app.state.sales
    shares = {each.key: each.shares for each in wanted}
    if (known := kept.find(account_id, shares)) is not None:
        return known
    try:
        context_of(request).admission.charge_quotes(request.scope, len(wanted))
    except ApiError:
        return {}
    found = await _ask(request, principal, wanted)
    kept.keep(account_id, shares, found)
    return found


async def _ask(request: Request, principal: Principal, wanted: Sequence[Position]) -> Sales:
    tasks = {each.key: asyncio.ensure_future(_sale(request, principal, each)) for each in wanted}
    _done, late = await asyncio.wait(tasks.values(), timeout=PATIENCE_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    found = {key: task.result() for key, task in tasks.items() if not task.cancelled()}
    return {key: amount for key, amount in found.items() if amount is not None}


async def _sale(request: Request, principal: Principal, held: Position) -> Credits | None:
    order: dict[str, Any] = {
        "client_order_id": "quote",
        "dry_run": True,
        "market_id": held.market_id,
        "outcome": held.outcome,
        "side": "sell",
        "type": "market",
        "quantity": format_decimal(held.shares),
    }
    try:
        _status, quote = await place(request, principal, msgspec.json.encode(order))
    except ApiError:  # halted meanwhile, or some shares wait to be sold: the page says nothing of it
        return None
    return parse_decimal(quote["cost"]) - parse_decimal(quote["fee"])
