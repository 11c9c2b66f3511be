"""The matrix of roles and operations: every cell is tried, and `docs/security.md` and the OpenAPI document have the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from api.http.access import CALLERS, CHANNELS, OPERATING, RULES, needs_key, table
from api.key_store import ROLES
from api.stream.requests import ALL_CHANNELS
from tests.api.contract import document

if TYPE_CHECKING:
    from api.http.access import Caller
    from tests.api.conftest import Api, Exchange, Trader

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
}
STORY = {"title": "A title", "body": "A body", "category": "world", "published_at": "2024-10-24T10:02:00Z"}
MARKET = {
    "question": "Was it?",
    "outcomes": ["Yes", "No"],
    "subsidy": "10",
    "close_time": "2090-01-01T00:00:00Z",
    "resolution_source": "us",
}
AMOUNT = {"amount": "0.01"}
PAYOUTS = {"payouts": {"Yes": "1"}, "evidence": "so it is"}
OF_QUERY = {"cancel_order", "list_events", "list_keys", "list_orders"}
"""The operations that name the account in the query string."""

OF_MARKETS = {"list_prices_histories", "list_candlesticks", "list_books"}
"""The operations that name markets in the query string."""


@dataclass
class World:
    """Two accounts, a market in which they trade, one that operators run, and keys of each role for the first account."""

    exchange: Exchange
    mine: Trader
    other: Trader
    market: dict[str, Any]
    operated: dict[str, Any]
    clients: dict[Caller, Api]
    number: int = 0

    def body(self, operation_id: str, owner: Trader) -> dict[str, Any]:
        """Return the body of a write for an account, one that no rule about the body refuses."""
        self.number += 1
        order = owner.order(self.market["market_id"], type="limit", limit_price="0.001", quantity="1")
        acting: dict[str, Any] = {"account": owner.account_id}
        if operation_id == "quote_order":
            order.pop("client_order_id")
        bodies: dict[str, dict[str, Any]] = {
            **dict.fromkeys(["place_order", "quote_order"], order | acting),
            "place_batch": {"orders": [order]} | acting,
            "cancel_orders": acting,
            "amend_order": {"price": "0.002"} | acting,
            **dict.fromkeys(["split_sets", "merge_sets"], AMOUNT | acting),
            "dispute_market": {"reason": "no"} | acting,
            **dict.fromkeys(["deposit", "withdraw", "add_liquidity"], AMOUNT),
            "publish_story": STORY | {"slug": f"access-{self.number}"},
            "open_market": MARKET,
            "open_account": {"name": f"access {self.number}"},
            "clarify_market": {"resolution_source": "them"},
            **dict.fromkeys(["determine_market", "correct_market"], PAYOUTS),
            "create_invitation": {"uses": 1, "expires_at": "2090-01-01T00:00:00Z"},
            "accept_invitation": {"code": "tdi_none", "name": f"invited {self.number}"},
            "create_webhook": {"url": "https://example.org/hook", "min_cost": "999999999"},
            "create_key": {"roles": ["trader"]} | acting,
        }
        return bodies.get(operation_id, {})

    def send(self, operation_id: str, caller: Caller, owner: Trader) -> tuple[int, str | None]:
        """Use an operation about an account; return the status and the code of the answer."""
        method, path = OPERATIONS[operation_id]
        query = {"account": owner.account_id} if operation_id in OF_QUERY else {}
        if operation_id in OF_MARKETS:
            query |= {"markets": self.market["slug"]}
        if "{order_id}" in path:
            resting = owner.place(self.market["market_id"], type="limit", limit_price="0.001", quantity="1")
            path = path.replace("{order_id}", resting["order_id"])
            query |= {"min_position": resting["position"]} if operation_id == "get_order" else {}
        if "{key_id}" in path:
            made = self.exchange.api.done("/keys", {"roles": ["reader"], "account": owner.account_id})
            path = path.replace("{key_id}", made["key_id"])
        if operation_id == "get_stream":
            query |= {"log": "another"}  # whoever may have it gets a 409 instead of a stream without end
        path = path.replace("{invitation_id}", "iv_none").replace("{webhook_id}", "wh_none")
        market = self.operated if RULES[operation_id] is OPERATING else self.market
        path = path.replace("{account}", owner.account_id).replace("{market}", market["market_id"])
        path = path.replace("{story}", self.market["story_id"])
        body = self.body(operation_id, owner) if method in {"POST", "PATCH"} else None
        client = self.clients[caller]
        response = client.client.request(method, path, headers=client.headers, json=body, params=query)
        if operation_id == "place_batch" and response.status_code == 200:
            (result,) = response.json()["results"]
            return (403 if result.get("code") == "FORBIDDEN" else 200), result.get("code")
        is_json = response.headers["content-type"] == "application/json"
        return response.status_code, response.json().get("code") if is_json else None


@pytest.fixture(scope="module")
def world(exchange: Exchange) -> World:
    """The world of this module."""
    mine, other = exchange.trader("1000"), exchange.trader("1000")
    clients: dict[Caller, Api] = {"none": exchange.api.as_key(None)}
    for role in ROLES:
        key = exchange.api.done("/keys", {"roles": [role], "account": mine.account_id})["key"]
        clients[role] = exchange.api.as_key(key)
    return World(exchange, mine, other, exchange.market(), exchange.market(), clients)


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_cell(world: World, operation_id: str) -> None:
    """Whoever is not allowed gets 401 without a key and 403 with one; all others get any other answer but an error of ours.

    A key of another account is unknown to whoever may not revoke it, and so is an order to whoever may not see it.
    """
    rule = RULES[operation_id]
    wrong = []
    for caller in CALLERS:
        for own, owner in ((True, world.mine), (False, world.other)):
            status, code = world.send(operation_id, caller, owner)
            refused = status in {401, 403} or code in {"KEY_NOT_FOUND", "ORDER_NOT_FOUND"}
            expected = None if rule.allows(caller, own=own) else 401 if caller == "none" else 403
            if refused == (expected is None) or status >= 500 or (expected == 401 and status != 401):
                wrong.append((caller, "own" if own else "other", status, code))

    assert wrong == []


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel_of_the_stream(world: World, channel: str) -> None:
    """Both transports ask the same function; here it is asked over the event stream."""
    assert set(CHANNELS) == set(ALL_CHANNELS)
    wrong = []
    for caller, client in world.clients.items():
        status = client.get("/stream", channels=channel, log="another").status_code
        expected = 409 if CHANNELS[channel].allows(caller, own=True) else 401 if caller == "none" else 403
        if status != expected:
            wrong.append((caller, status))
    assert wrong == []


def test_every_operation_has_a_rule() -> None:
    """And no rule is left over."""
    assert set(RULES) == set(OPERATIONS)


def test_the_document_says_what_needs_a_key() -> None:
    """Health and what is public need none."""
    for operation_id, (method, path) in OPERATIONS.items():
        security = document()["paths"][path][method.lower()].get("security", [{}])
        assert ({} not in security) == needs_key(operation_id, public_reads=True), operation_id


def test_the_page_has_the_matrix() -> None:
    """`python -m api.http.access` prints it."""
    assert table() in PAGE
