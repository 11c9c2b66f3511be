"""Keys and roles: what each role may do, and that a revoked key stops working at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import TYPE_CHECKING

import pytest

from api.http.auth import Keys

if TYPE_CHECKING:
    from api.key_store import Key
    from tests.api.conftest import Exchange

STORY = {"title": "t", "body": "b", "category": "c", "published_at": "2024-10-24T10:02:00Z"}
OPERATORS = [
    "/stories",
    *(f"/markets/x/{act}" for act in ("activate", "halt", "resume", "close", "uphold", "finalize")),
]
ADMINS = ["/accounts", "/accounts/x/deposits"]


@pytest.mark.parametrize(
    "path", [*OPERATORS, *ADMINS, "/keys", "/orders", "/orders/batch", "/quotes", "/markets/x/split"]
)
def test_without_a_key_nothing_is_written(exchange: Exchange, path: str) -> None:
    """Every write is 401 without a key, and with an unknown one."""
    for key in (None, "tdg_nobody-has-this-key"):
        response = exchange.api.as_key(key).post(path)
        assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", [*OPERATORS, *ADMINS])
def test_a_trader_is_no_operator_and_no_admin(exchange: Exchange, path: str) -> None:
    """The writes of operators and admins are 403 for a trader, whatever the body."""
    response = exchange.trader(None).api.post(path)

    assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")


def test_operator_and_admin_are_two_roles(exchange: Exchange) -> None:
    """An operator opens no accounts, an admin publishes no stories."""
    operator = exchange.api.as_key(exchange.api.done("/keys", {"roles": ["operator"]})["key"])
    admin = exchange.api.as_key(exchange.api.done("/keys", {"roles": ["admin"]})["key"])

    assert operator.post("/stories", STORY).status_code == 201
    assert operator.post("/accounts", {"name": "x"}).status_code == 403
    assert admin.post("/accounts", {"name": "by an admin"}).status_code == 201
    assert admin.post("/stories", STORY).status_code == 403


def test_a_trader_acts_for_its_own_account_only(exchange: Exchange) -> None:
    """Another's account is 403; its own may be named; an admin may name any account, and must name one."""
    market, mine, other = exchange.market(), exchange.trader(), exchange.trader()
    order = mine.order(market["market_id"])

    assert mine.api.post("/orders", order | {"account": other.account_id}).status_code == 403
    assert mine.api.post("/orders", order | {"account": mine.name}).status_code == 201
    by_admin = exchange.api.done("/orders", other.order(market["market_id"], account=other.name))
    assert by_admin["account_id"] == other.account_id
    missing = exchange.api.post("/orders", mine.order(market["market_id"]))
    assert (missing.status_code, missing.json()["details"]["field"]) == (422, "account")


def test_an_operator_acts_for_no_account(exchange: Exchange) -> None:
    """Not even for the one that its key names: it trades, quotes, cancels, splits, disputes and withdraws for nobody."""
    market, victim = exchange.market(), exchange.trader()
    key = exchange.api.done("/keys", {"roles": ["operator"], "account": victim.account_id})["key"]
    operator = exchange.api.as_key(key)
    resting = victim.place(market["market_id"], type="limit", limit_price="0.3")["order_id"]
    order = victim.order(market["market_id"], quantity=None, spend="90")
    before = victim.api.data(f"/accounts/{victim.account_id}", min_position=exchange.head())

    for named in ({}, {"account": victim.account_id}, {"account": victim.name}):
        bodies = {
            "/orders": order,
            "/orders/batch": {"orders": [order]},
            "/quotes": {name: value for name, value in order.items() if name != "client_order_id"},
            "/orders/cancel": {},
            f"/markets/{market['market_id']}/split": {"amount": "1"},
            f"/markets/{market['market_id']}/merge": {"amount": "1"},
            f"/markets/{market['market_id']}/dispute": {"reason": "no"},
            f"/accounts/{victim.account_id}/withdrawals": {"amount": "1"},
        }
        for path, body in bodies.items():
            refused = operator.post(path, body | (named if "withdrawals" not in path else {}))
            assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN"), path
        for method, body in [("DELETE", None), ("PATCH", {"price": "0.2"})]:
            refused = operator.send(method, f"/orders/{resting}", body and body | named)
            assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN"), method

    assert victim.api.data(f"/accounts/{victim.account_id}", min_position=exchange.head()) == before


def test_another_traders_order_cannot_be_canceled(exchange: Exchange) -> None:
    """The order stays in the book."""
    market, mine, other = exchange.market(), exchange.trader(), exchange.trader()
    order = mine.place(market["market_id"], type="limit", limit_price="0.3")

    assert other.api.send("DELETE", f"/orders/{order['order_id']}").status_code in {403, 404, 409}
    assert mine.api.send("DELETE", f"/orders/{order['order_id']}").status_code == 200


def test_a_revoked_key_stops_working(exchange: Exchange) -> None:
    """In this process a revoked key is 401 at once, and the list of keys says that it is revoked."""
    created = exchange.api.done("/keys", {"roles": ["admin"], "name": "short"})
    api = exchange.api.as_key(created["key"])
    assert api.get("/keys").status_code == 200

    assert exchange.api.send("DELETE", f"/keys/{created['key_id']}").json()["revoked_at"] is not None
    assert api.get("/keys").status_code == 401
    assert exchange.api.send("DELETE", "/keys/key_unknown").status_code == 404


def test_keys_are_never_shown_again(exchange: Exchange) -> None:
    """The list has a prefix of a few characters, and neither key nor hash."""
    created = exchange.api.done("/keys", {"roles": ["operator"]})

    text = exchange.api.get("/keys").text

    assert created["key"] not in text
    assert created["key_id"] in text


def test_a_traders_key_needs_an_account_that_exists(exchange: Exchange) -> None:
    """Without an account, or with an unknown one, no key is made."""
    assert exchange.api.post("/keys", {"roles": ["trader"]}).json()["details"]["field"] == "account"
    unknown = exchange.api.post("/keys", {"roles": ["trader"], "account": "nobody"})
    assert unknown.json()["code"] == "ACCOUNT_NOT_FOUND"


def test_reads_are_public_but_a_bad_key_is_refused(exchange: Exchange) -> None:
    """Reads need no key, but a wrong key is 401."""
    assert exchange.api.as_key(None).get("/markets").status_code == 200
    assert exchange.api.as_key("wrong").get("/markets").status_code == 401


def test_requests_with_one_key_share_its_look_up(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood with a key that the server has not seen yet leaves the connections for other keys alone."""
    asked: list[str] = []
    find = Keys._find

    def slow_find(self: Keys, secret: str) -> Key | None:
        asked.append(secret)
        sleep(0.5)
        return find(self, secret)

    flood, other = exchange.trader(), exchange.trader()
    monkeypatch.setattr(Keys, "_find", slow_find)
    with ThreadPoolExecutor(40) as threads:
        statuses = [threads.submit(lambda: flood.api.get("/me").status_code) for _ in range(39)]
        assert other.api.get("/me").status_code == 200
        assert {each.result() for each in statuses} == {200}
    assert len(asked) <= 6  # 40 requests take a while to come
    unknown = exchange.api.as_key("tdg_unknown")
    with ThreadPoolExecutor(5) as threads:
        assert {
            each.result() for each in [threads.submit(lambda: unknown.get("/me").status_code) for _ in range(5)]
        } == {401}
