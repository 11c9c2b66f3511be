"""The examples of the OpenAPI document: one story of an exchange, told in requests. A test sends all of them.

A bank decides on its rate, a fund trades on that, an operator runs the markets. Where the exchange has made something, such
as the code of an invitation, it stands as `...`.
"""

from __future__ import annotations

from typing import Any, Final

ORDER: Final[dict[str, Any]] = {
    "account": "Harbor Fund",
    "market_id": "rate-cut",
    "outcome": "Yes",
    "side": "buy",
    "type": "limit",
    "quantity": "10",
    "limit_price": "0.4",
}
"""An order that rests in the book."""

PAYOUTS: Final[dict[str, Any]] = {
    "payouts": {"Yes": "1"},
    "evidence": {"text": "The bank cut its rate.", "url": "https://news.example/rates"},
}

_MARKET: Final[dict[str, Any]] = {
    "question": "Will the bank cut its rate?",
    "outcomes": ["Yes", "No"],
    "subsidy": "100",
    "close_time": "2090-12-18T13:00:00Z",
    "resolution_source": "The bank's press release",
}

BODIES: Final[dict[str, dict[str, Any]]] = {
    "publish_story": {
        "slug": "rates",
        "title": "The bank meets in December",
        "body": "Its council decides on the rate.",
        "category": "economy",
        "published_at": "2026-11-30T09:00:00Z",
        "source_url": "https://news.example/rates",
        "markets": [_MARKET | {"slug": "rate-cut", "initial_prices": ["0.6", "0.4"], "fee_rate": "0.02"}],
    },
    "open_market": _MARKET
    | {"slug": "rate-hold", "question": "Will the bank keep its rate?", "dispute_seconds": 0, "draft": True},
    "clarify_market": {"resolution_source": "The bank's press release of that day"},
    "add_liquidity": {"amount": "50"},
    "open_account": {"name": "Harbor Fund"},
    "deposit": {"amount": "1000"},
    "withdraw": {"amount": "5.25"},
    "create_key": {"roles": ["trader"], "account": "Harbor Fund", "name": "desk"},
    "create_invitation": {"uses": 10, "credits": "20", "expires_at": "2090-01-31T00:00:00Z"},
    "accept_invitation": {"code": "...", "name": "Ada"},
    "quote_order": {"account": "Harbor Fund", "market_id": "rate-cut", "outcome": "Yes", "side": "buy"}
    | {"type": "market", "spend": "25"},
    "place_order": ORDER | {"client_order_id": "desk-1"},
    "place_batch": {
        "account": "Harbor Fund",
        "orders": [
            {"client_order_id": "desk-2", "market_id": "rate-cut", "outcome": "Yes", "side": "buy"}
            | {"type": "market", "spend": "25"},
            {"client_order_id": "desk-3", "market_id": "rate-cut", "outcome": "No", "side": "buy"}
            | {"type": "limit", "quantity": "20", "limit_price": "0.2", "post_only": True},
        ],
    },
    "amend_order": {"account": "Harbor Fund", "price": "0.41"},
    "cancel_orders": {"account": "Harbor Fund", "market_id": "rate-cut"},
    "split_sets": {"account": "Harbor Fund", "amount": "30"},
    "merge_sets": {"account": "Harbor Fund", "amount": "10"},
    "determine_market": PAYOUTS,
    "dispute_market": {"account": "Harbor Fund", "reason": "The release speaks of another rate."},
    "correct_market": {"payouts": {"No": "1"}, "evidence": "The release was corrected."},
    "void_market": {"reason": "The bank did not meet."},
    "create_webhook": {"url": "https://hooks.example/tidings", "lifecycle": True, "min_cost": "100"},
    "enable_webhook": {"skip": False},
}
"""The body of each operation that takes one with fields, by operation id."""

PATH: Final = {"story": "rates", "market": "rate-cut", "account": "Harbor Fund"}
"""What stands in a path, by the name of the parameter; ids that the exchange makes have no example."""
