"""Request bodies: every route that takes one takes the same ones, and reads them alike."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from api.http.bodies import json_text
from api.http.errors import ApiError

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Exchange

ROUTES_MIN = 20  # of routes with a body; fewer mean that this test has lost sight of them
PLAIN = b'{"nothing": "here"}'

BAD: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("a key twice", b'{"account":"a","account":"b"}', {}, 400, "MALFORMED_JSON"),
    ("a key twice, escaped", b'{"account":"a","\\u0061ccount":"b"}', {}, 400, "MALFORMED_JSON"),
    ("a key twice inside", b'{"account":[{"a":1,"a":1}]}', {}, 400, "MALFORMED_JSON"),
    ("UTF-16", PLAIN.decode().encode("utf-16"), {}, 400, "MALFORMED_JSON"),
    ("UTF-16 without BOM", PLAIN.decode().encode("utf-16-le"), {}, 400, "MALFORMED_JSON"),
    ("UTF-32", PLAIN.decode().encode("utf-32"), {}, 400, "MALFORMED_JSON"),
    ("half a surrogate pair", b'{"account":"\\ud800"}', {}, 400, "MALFORMED_JSON"),
    ("half a pair, in capitals, as a key", b'{"\\uDC00":"a"}', {}, 400, "MALFORMED_JSON"),
    ("a pair the wrong way round", b'{"account":[{"a":"\\udc00\\ud800"}]}', {}, 400, "MALFORMED_JSON"),
    ("two BOMs", b"\xef\xbb\xbf" * 2 + PLAIN, {}, 400, "MALFORMED_JSON"),
    ("a form", PLAIN, {"content-type": "application/x-www-form-urlencoded"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ("text", PLAIN, {"content-type": "text/plain; charset=utf-8"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ("text/json", PLAIN, {"content-type": "text/json"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ("gzip", gzip.compress(PLAIN), {"content-encoding": "gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
]
GOOD: list[tuple[str, bytes, dict[str, str]]] = [
    ("plain", PLAIN, {}),
    ("a surrogate pair", b'{"nothing": "\\ud83d\\uDE00"}', {}),
    ("a backslash before the letters", b'{"nothing": "\\\\ud800"}', {}),
    ("a BOM", b"\xef\xbb\xbf" + PLAIN, {}),
    ("a charset", PLAIN, {"content-type": "application/json; charset=utf-8"}),
    ("capitals", PLAIN, {"content-type": "Application/JSON"}),
    ("a suffix", PLAIN, {"content-type": "application/merge-patch+json"}),
    ("no compression", PLAIN, {"content-encoding": "identity"}),
]


def routes_with_a_body(exchange: Exchange) -> list[tuple[str, str]]:
    """Method and path of every route that takes a body, with some value in place of each parameter."""
    paths = exchange.api.client.get("/openapi.json").json()["paths"]
    return [
        (method.upper(), re.sub(r"\{\w+\}", "x", path))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "requestBody" in operation
    ]


def send_to_all(exchange: Exchange, content: bytes, headers: dict[str, str]) -> dict[str, httpx.Response]:
    """The answer of each of these routes to a body; its type is JSON if the headers do not say another one."""
    headers = {"content-type": "application/json"} | headers
    return {
        path: exchange.api.send(method, path, content=content, headers=headers)
        for method, path in routes_with_a_body(exchange)
    }


@pytest.mark.parametrize("bad", BAD, ids=[row[0] for row in BAD])
def test_no_route_takes_a_bad_body(exchange: Exchange, bad: tuple[str, bytes, dict[str, str], int, str]) -> None:
    """Each answers with the same status and code."""
    _, content, headers, status, code = bad
    before = exchange.head()

    answers = send_to_all(exchange, content, headers)

    assert len(answers) >= ROUTES_MIN
    assert {path: (each.status_code, each.json()["code"]) for path, each in answers.items()} == dict.fromkeys(
        answers, (status, code)
    )
    assert exchange.head() == before


@pytest.mark.parametrize("good", GOOD, ids=[row[0] for row in GOOD])
def test_every_route_reads_a_good_body(exchange: Exchange, good: tuple[str, bytes, dict[str, str]]) -> None:
    """Each finds the unknown field in it."""
    answers = send_to_all(exchange, good[1], good[2])

    assert {path for path, each in answers.items() if each.status_code != 422} == set()
    assert {path for path, each in answers.items() if "nothing" not in each.text} <= {"/v1/orders/batch"}


def test_a_body_may_have_no_type(exchange: Exchange) -> None:
    """A body without a Content-Type is JSON, and a request without a body needs none."""
    market = exchange.market()["market_id"]

    opened = exchange.api.send("POST", "/accounts", content=b'{"name":"no type"}')
    halted = exchange.api.send("POST", f"/markets/{market}/halt", headers={"content-type": "text/plain"})

    assert (opened.status_code, halted.status_code) == (201, 200)


@pytest.mark.parametrize(
    "change",
    [{}, {"dry_run": False}, {"client_order_id": "a\\b:c"}, {"outcome": "Oui :\u2028\u00e9"}],
    ids=["fast", "general", "backslash", "escapes"],
)
def test_an_order_with_two_quantities_buys_nothing(exchange: Exchange, change: dict[str, Any]) -> None:
    """Singly, in a batch, and for payouts: no second value decides silently."""
    market, trader = exchange.market(), exchange.trader("100")
    order = json.dumps(trader.order(market["market_id"], **change))
    twice = order.replace('"quantity": "1"', '"quantity": "1", "quantity": "50"')
    payouts = '{"payouts": {"Yes": "1", "Yes": "0", "No": "0"}, "evidence": "it was on television"}'
    before = exchange.head()

    answers = [
        trader.api.send("POST", "/orders", content=twice),
        trader.api.send("POST", "/orders/batch", content=f'{{"orders": [{order}, {twice}]}}'),
        trader.api.send("POST", "/orders/batch", content=f'{{"orders": [{order}], "orders": [{order}]}}'),
        trader.api.send("POST", "/quotes", content=twice),
        exchange.api.send("POST", f"/markets/{market['market_id']}/determine", content=payouts),
    ]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [(400, "MALFORMED_JSON")] * 5
    assert answers[0].json()["details"] == {"key": "quantity"}
    assert exchange.head() == before


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_every_path_of_an_order_takes_a_bom(exchange: Exchange, prefix: bytes) -> None:
    """The fast path and the general path, singly and in batches."""
    market, trader = exchange.market(), exchange.trader("100")

    for change in ({}, {"dry_run": False}):
        order = json.dumps(trader.order(market["market_id"], **change)).encode()
        single = trader.api.send("POST", "/orders", content=prefix + order)
        batch = trader.api.send("POST", "/orders/batch", content=prefix + b'{"orders":[%b]}' % order)
        assert batch.json()["results"] == [single.json()]
        assert single.status_code == 201


@pytest.mark.parametrize("text", [b"1" * 5000, b"[" + b"9" * 5000 + b"]"])
def test_strange_json_is_json(text: bytes) -> None:
    """Long numbers are for the fields to judge."""
    assert json_text(text) == text


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b"\x00", b'"\\ud800"'])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """It has the code, and says where the problem is."""
    with pytest.raises(ApiError) as raised:
        json_text(text)

    assert (raised.value.code, set(raised.value.details)) == ("MALFORMED_JSON", {"problem"})
