"""The hot path to place orders: the fast path takes only what the general path takes, and answers alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.auth import Principal
from api.http.errors import ApiError
from api.http.references import References
from api.http.routes.order_entry import OrderBody, fast_command, fast_commands
from api.http.routes.orders import PlaceOrderBody, parse_body
from domain.orders import PlaceOrder
from tests.api.http.routes.test_orders import REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.conftest import Exchange

ACCOUNT, MARKET = "ac_" + "1" * 26, "mk_" + "2" * 26
TRADER = Principal("key_1", frozenset({"trader"}), ACCOUNT)
NAMES = References(None, None)  # type: ignore[arg-type]  # what is an id needs no database
TEXTS = ["", "Yes", "x" * 64, "x" * 65, "ü", "\n", "\u200b", "a b", MARKET, ACCOUNT, "or_" + "3" * 26]
AMOUNTS = [
    "0", "1", "1.5", "0.000001", "0.0000001", "01", "+1", "-1", "-0", "1e3", "NaN", "٣", " 1", "1.", ".5", "",
    "999999999999", "99999999999999999999", 1, 1.5, True, None, [], {},
]  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "client_order_id": [*TEXTS, 7, None],
    "market_id": [*TEXTS, MARKET, 7, None],
    "outcome": [*TEXTS, 7, None],
    "account": [None, ACCOUNT, *TEXTS],
    "side": ["buy", "sell", "hold", None],
    "type": ["limit", "market", "stop"],
    "quantity": AMOUNTS,
    "spend": AMOUNTS,
    "limit_price": ["0.5", "0.5005", "1", "1.1", *AMOUNTS],
    "time_in_force": ["GTC", "GTD", "IOC", "FOK", "gtc", None],
    "expires_at": ["2090-01-01T00:00:00Z", "soon", None],
    "post_only": [True, False, None, 1, "true"],
    "reduce_only": [True, False, 0],
    "max_cost": AMOUNTS,
    "min_proceeds": AMOUNTS,
    "self_trade_prevention": ["cancel_taker", "cancel_maker", None],
    "dry_run": [True, False],
    "colour": ["red"],
}
BASE = {"client_order_id": "one", "market_id": MARKET, "outcome": "Yes", "side": "buy", "type": "market"}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An order with some fields changed, added or taken out, as JSON."""
    body: dict[str, Any] = dict(BASE)
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=4)):
        body[name] = draw(st.sampled_from(VALUES[name]))
    for name in draw(st.lists(st.sampled_from(sorted(BASE)), max_size=1)):
        body.pop(name, None)
    return json.dumps(body, ensure_ascii=draw(st.booleans())).encode()


def general(raw: bytes) -> PlaceOrder | None:
    """The command as the general path makes it, None where it refuses the body."""
    try:
        order = parse_body(PlaceOrderBody, raw)
    except ApiError:
        return None
    fields = order.model_dump(exclude={"account", "dry_run"})
    return PlaceOrder(account_id=order.account or ACCOUNT, order_id="", **fields)


@given(bodies())
def test_the_fast_path_makes_the_command_that_the_general_path_makes(raw: bytes) -> None:
    """It never takes a body that the general path refuses."""
    try:
        found = fast_command(msgspec.json.decode(raw, type=OrderBody), None, TRADER, NAMES)
    except msgspec.ValidationError:
        found = None

    assert found in {None, general(raw)}


@given(st.lists(bodies(), max_size=3), st.sampled_from([None, ACCOUNT, "", "ada", 7]))
def test_the_fast_path_takes_a_whole_batch_or_nothing(raws: list[bytes], account: Any) -> None:
    """It takes a batch only where it takes every order."""
    raw = b'{"account":%b,"orders":[%b]}' % (json.dumps(account).encode(), b",".join(raws))

    found = fast_commands(raw, TRADER, NAMES)

    assert found is None or found == [general(one) for one in raws]


def test_the_fast_path_takes_most_orders() -> None:
    """Market and limit orders, with amounts as people write them, and for an account that is named by its id."""
    for more in (
        {"spend": "25"},
        {"quantity": "1.5", "max_cost": "1.25"},
        {"type": "limit", "quantity": "10.000000", "limit_price": "0.4", "post_only": True, "account": ACCOUNT},
    ):
        raw = json.dumps(BASE | more).encode()
        assert fast_command(msgspec.json.decode(raw, type=OrderBody), None, TRADER, NAMES) == general(raw)
    assert fast_commands(b'{"orders":[%b]}' % raw, TRADER, NAMES) == [general(raw)]


def test_the_fast_path_leaves_an_order_for_the_account_of_another() -> None:
    """The general path finds out who may act for whom, and refuses."""
    order = msgspec.convert(BASE | {"spend": "1", "account": "ac_" + "9" * 26}, OrderBody)

    assert fast_command(order, None, TRADER, NAMES) is None


@pytest.mark.parametrize(("name", "change", "status", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_both_paths_answer_alike(exchange: Exchange, name: str, change: dict[str, Any], status: int, code: str) -> None:
    """Status and body to the letter; an order with `dry_run` takes the general path."""
    market, trader = exchange.market(), exchange.trader("100")
    order = trader.order(market["market_id"], **change)

    fast = trader.api.post("/orders", order)
    other = trader.api.post("/orders", order | {"dry_run": False})

    assert (fast.status_code, fast.json()["code"]) == (status, code), name
    assert (fast.status_code, fast.json()) == (other.status_code, other.json())
    assert fast.headers.keys() == other.headers.keys()


def test_both_paths_place_alike(exchange: Exchange) -> None:
    """Singly and in batches: the answers are the same, since it is the same order."""
    market, trader = exchange.market(), exchange.trader("100")
    orders = [trader.order(market["market_id"]), trader.order(market["market_id"], quantity=None, spend="1000")]

    fast = [trader.api.post("/orders", order) for order in orders]
    batch = trader.api.post("/orders/batch", {"orders": orders})
    other = trader.api.post("/orders/batch", {"orders": [order | {"dry_run": False} for order in orders]})

    assert [response.status_code for response in [*fast, batch, other]] == [201, 422, 200, 200]
    placed, refused = (response.json() for response in fast)
    position = refused["details"]["position"]
    assert batch.json()["results"] == other.json()["results"] == [placed, refused | {"position": position}]
    assert batch.json()["position"] == other.json()["position"] == position


BAD: list[tuple[str, Any, dict[str, str], int, str]] = [
    ("no JSON", b"{", {}, 400, "MALFORMED_JSON"),
    ("no object", b"[]", {}, 400, "MALFORMED_JSON"),
    ("nothing", b"", {}, 400, "MALFORMED_JSON"),
    ("no UTF-8", b'{"outcome":"\xff"}', {}, 400, "MALFORMED_JSON"),
    ("nested too deeply", b"[" * 100_000, {}, 400, "MALFORMED_JSON"),
    ("too large", b" " * 1_100_000, {}, 413, "BODY_TOO_LARGE"),
    ("too large, in parts", lambda: iter([b" " * 600_000] * 2), {}, 413, "BODY_TOO_LARGE"),
    ("an unknown key", b"{}", {"authorization": "Bearer nobody"}, 401, "UNAUTHENTICATED"),
    ("no bearer", b"{}", {"authorization": "Basic x"}, 401, "UNAUTHENTICATED"),
    ("a time of its own", b"{}", {"tidings-time": "2024-10-24T10:02:00Z"}, 422, "INVALID_FIELD"),
]


@pytest.mark.parametrize("path", ["/orders", "/orders/batch"])
@pytest.mark.parametrize("bad", BAD, ids=[row[0] for row in BAD])
def test_a_bad_request_has_its_code(exchange: Exchange, path: str, bad: tuple[str, Any, Any, int, str]) -> None:
    """The fast path answers bad requests as all routes do; none hangs and none is a 500."""
    name, content, headers, status, code = bad
    trader = exchange.trader()
    body: bytes | Iterator[bytes] = content() if callable(content) else content

    response = trader.api.send("POST", path, headers=headers, content=body)

    assert (response.status_code, response.json()["code"]) == (status, code), name
    assert response.headers["x-request-id"]


def test_a_body_may_come_in_parts(exchange: Exchange) -> None:
    """A body without a Content-Length is put together from its parts."""
    market, trader = exchange.market(), exchange.trader()
    raw = json.dumps(trader.order(market["market_id"])).encode()

    assert trader.api.send("POST", "/orders", content=iter([raw[:10], raw[10:]])).status_code == 201


def test_the_fast_path_is_counted_under_its_route(exchange: Exchange) -> None:
    """The metrics have the fast path as a route like the others."""
    market, trader = exchange.market(), exchange.trader()
    trader.place(market["market_id"])

    text = exchange.api.client.get("/metrics", headers=exchange.api.headers).text

    assert 'tidings_http_requests_total{method="POST",route="/v1/orders",status="201"}' in text
