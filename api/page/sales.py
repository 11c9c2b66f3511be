"""What selling would bring now, beside what positions are worth at the odds: a sale moves the odds, so it brings less."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

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

Sales = dict[tuple[str, str], "Credits"]
"""What selling all shares of an outcome would bring, by market and outcome, the fee taken off."""


async def sales(
    request: Request, principal: Principal, held: Sequence[Position], markets: Mapping[str, MarketRow]
) -> Sales:
    """Return the engine's quotes for selling each position alone, whole. Those that cannot be sold now have none."""
    wanted = [each for each in held[:QUOTED_MAX] if markets[each.market_id].status == Status.ACTIVE]
    tasks = {each.key: asyncio.ensure_future(_sale(request, principal, each)) for each in wanted}
    if tasks:
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
