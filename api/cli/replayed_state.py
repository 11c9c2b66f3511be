"""The state of the exchange, as JSON and as text. For `tidings replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.money import format_decimal
from messages.wire import format_time

if TYPE_CHECKING:
    from domain.account import Account
    from domain.exchange import Exchange
    from domain.market_state import Market


def state_of(
    exchange: Exchange, position: int, *, market: str | None = None, account: str | None = None
) -> dict[str, Any]:
    """Return what `replay` prints: all markets and accounts, or the one named by id, slug or name."""
    both = market is None and account is None
    return {
        "position": position,
        "time": format_time(exchange.time),
        "markets": [
            _market(found)
            for found in exchange.markets.values()
            if both or market in {found.market_id, found.terms.slug}
        ],
        "accounts": [
            _account(found, exchange)
            for found in exchange.accounts.values()
            if both or account in {found.account_id, found.name}
        ],
    }


def _market(market: Market) -> dict[str, Any]:
    prices = market.displayed_prices() if market.prices else market.terms.initial_prices
    issued = market.issued or [0] * len(prices)
    payouts = {payout.outcome: format_decimal(payout.fraction) for payout in market.payouts}
    return {
        "market_id": market.market_id,
        "slug": market.terms.slug,
        "question": market.terms.question,
        "status": market.status.value,
        "outcomes": [
            {"outcome": outcome, "price": format_decimal(price), "issued": format_decimal(shares)}
            for outcome, price, shares in zip(market.terms.outcomes, prices, issued, strict=True)
        ],
        "resting_orders": len(market.book),
        "resolution_version": market.resolution_version,
        "payouts": payouts or None,
    }


def _account(account: Account, exchange: Exchange) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "name": account.name,
        "available": format_decimal(account.cash),
        "held": format_decimal(account.held),
        "positions": [
            {"market": exchange.markets[market_id].terms.slug, "outcome": outcome, "shares": format_decimal(shares)}
            for market_id, holding in account.holdings.items()
            for outcome, shares in holding.shares.items()
            if shares
        ],
    }


def table(state: dict[str, Any]) -> str:
    """Return the state as text for people."""
    lines = [f"position {state['position']}, {state['time']}", ""]
    for market in state["markets"]:
        lines.append(f"{market['slug']}  [{market['status']}]  {market['question']}")
        for row in market["outcomes"]:
            pays = f"  pays {market['payouts'].get(row['outcome'], '0.000000')}" if market["payouts"] else ""
            lines.append(f"    {row['outcome']:<28} {row['price']}  {row['issued']:>18} shares{pays}")
    if state["accounts"]:
        lines += ["", f"{'account':<24} {'available':>18} {'held':>18}"]
    for account in state["accounts"]:
        lines.append(f"{account['name']:<24} {account['available']:>18} {account['held']:>18}")
        lines += [f"    {row['market']} / {row['outcome']}: {row['shares']}" for row in account["positions"]]
    return "\n".join(lines)
