"""What does not exist is a 404 with the code of its kind, wherever a request names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

READS = [
    ("/stories/{}", "STORY_NOT_FOUND"),
    ("/markets?story={}", "STORY_NOT_FOUND"),
    *(
        (f"/markets/{{}}{part}", "MARKET_NOT_FOUND")
        for part in ("", "/prices-history", "/candlesticks", "/trades", "/book", "/holders", "/events")
    ),
    ("/events?market={}", "MARKET_NOT_FOUND"),
    *(
        (f"/accounts/{{}}{part}", "ACCOUNT_NOT_FOUND")
        for part in ("", "/positions", "/orders", "/fills", "/settlements", "/ledger", "/equity-history")
    ),
    *((f"/accounts/[me]/{part}?market={{}}", "MARKET_NOT_FOUND") for part in ("positions", "orders", "fills")),
]
MARKET = {
    "slug": "unknown-story", "question": "Does it?", "outcomes": ["Yes", "No"], "subsidy": "10",
    "close_time": "2090-01-01T00:00:00Z", "resolution_source": "us",
}  # fmt: skip
ORDER = {"client_order_id": "c", "outcome": "Yes", "side": "buy", "type": "market", "quantity": "1"}
WRITES: list[tuple[str, str, Any, str]] = [
    ("DELETE", "/orders/{}?account=[me]", None, "ORDER_NOT_FOUND"),
    ("PATCH", "/orders/{}", {"quantity": "2", "account": "[me]"}, "ORDER_NOT_FOUND"),
    ("POST", "/orders", {**ORDER, "market_id": "{}", "account": "[me]"}, "MARKET_NOT_FOUND"),
    ("POST", "/orders", {**ORDER, "market_id": "[market]", "account": "{}"}, "ACCOUNT_NOT_FOUND"),
    ("POST", "/orders/cancel", {"account": "{}"}, "ACCOUNT_NOT_FOUND"),
    ("POST", "/orders/cancel", {"account": "[me]", "market_id": "{}"}, "MARKET_NOT_FOUND"),
    ("POST", "/stories/{}/markets", MARKET, "STORY_NOT_FOUND"),
    *(("POST", f"/markets/{{}}/{act}", {}, "MARKET_NOT_FOUND") for act in ("halt", "close", "void", "uphold")),
    ("POST", "/markets/{}/split", {"amount": "1", "account": "[me]"}, "MARKET_NOT_FOUND"),
    ("POST", "/markets/[market]/split", {"amount": "1", "account": "{}"}, "ACCOUNT_NOT_FOUND"),
    ("POST", "/markets/{}/dispute", {"reason": "no", "account": "[me]"}, "MARKET_NOT_FOUND"),
    ("POST", "/accounts/{}/deposits", {"amount": "1"}, "ACCOUNT_NOT_FOUND"),
    ("POST", "/accounts/{}/withdrawals", {"amount": "1"}, "ACCOUNT_NOT_FOUND"),
    ("POST", "/keys", {"roles": ["trader"], "account": "{}"}, "ACCOUNT_NOT_FOUND"),
    ("DELETE", "/keys/{}", None, "KEY_NOT_FOUND"),
]
NAMES = ["nope", "not a name of ours", "x" * 64, "ünbekannt"]
IDS = {"STORY": "st_", "MARKET": "mk_", "ACCOUNT": "ac_", "ORDER": "or_", "KEY": "key_"}


@pytest.fixture(scope="module")
def known(exchange: Exchange) -> dict[str, str]:
    """An account and a market that exist."""
    return {"[me]": exchange.trader("10").account_id, "[market]": exchange.market()["market_id"]}


def named(template: Any, name: str, known: dict[str, str]) -> Any:
    """Return a path or body with this name, and with the things that exist."""
    if isinstance(template, dict):
        return {field: named(value, name, known) for field, value in template.items()}
    if not isinstance(template, str):
        return template
    for place, found in known.items():
        template = template.replace(place, found)
    return template.replace("{}", name)


def unknown_names(code: str) -> list[str]:
    """Return names of this kind that nothing has, one of them in the form of an id."""
    return [*NAMES, IDS[code.partition("_")[0]] + "0" * 26]


@pytest.mark.parametrize(("path", "code"), READS)
def test_reads_of_unknown_things(exchange: Exchange, known: dict[str, str], path: str, code: str) -> None:
    """Also the lists of somebody or something that does not exist: they are not empty lists."""
    for name in unknown_names(code):
        response = exchange.api.send("GET", named(path, name, known))
        assert (response.status_code, response.json()["code"]) == (404, code), name


@pytest.mark.parametrize("write", WRITES, ids=[f"{row[0]} {row[1]} {row[3]}" for row in WRITES])
def test_writes_to_unknown_things(exchange: Exchange, known: dict[str, str], write: tuple[str, str, Any, str]) -> None:
    """Whatever the name looks like; nothing but a rejection is in the log."""
    (method, path, body, code), before = write, exchange.head()
    for number, name in enumerate(unknown_names(code)):
        sent = named(body, name, known)
        if path == "/orders":
            sent["client_order_id"] = f"{code} {number}"
        response = exchange.api.send(method, named(path, name, known), sent)
        assert (response.status_code, response.json()["code"]) == (404, code), name
    assert {event["type"] for event in exchange.events_after(before)} <= {"CommandRejected"}


def test_an_order_that_is_over_is_not_unknown(exchange: Exchange) -> None:
    """It is a 409 for its owner, unknown to other traders, and for an admin one of another account than the one named."""
    market, trader, other = exchange.market(), exchange.trader("10"), exchange.trader("10")
    path = f"/orders/{trader.place(market['market_id'], quantity='1')['order_id']}"

    for method, body in (("DELETE", None), ("PATCH", {"quantity": "2"})):
        mine, others = trader.api.send(method, path, body), other.api.send(method, path, body)
        assert (mine.status_code, mine.json()["code"]) == (409, "ORDER_NOT_OPEN")
        named = {"params": {"account": other.name}} if body is None else {}
        admin = exchange.api.send(method, path, body and body | {"account": other.name}, **named)
        assert (others.status_code, others.json()["code"]) == (404, "ORDER_NOT_FOUND")
        assert (admin.status_code, admin.json()["code"]) == (403, "NOT_ORDER_OWNER")
        assert mine.json()["details"]["position"] < others.json()["details"]["position"]
