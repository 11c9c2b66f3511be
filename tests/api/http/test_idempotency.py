"""Idempotency keys: scoped to the exchange or to a trader's account, and to the kind of write; never to the API key."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.http.server import HttpServer
from consumers.engine.command_source import LocalCommandSource
from consumers.gateway import LocalGateway
from tests.api.conftest import Api, Exchange, Trader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def replica(exchange: Exchange) -> Iterator[Api]:
    """A second HTTP server on the same exchange, with caches of its own, as the first operator."""
    running = exchange.running
    with ExitStack() as stack:
        server = stack.enter_context(HttpServer(running.dependencies.app(running.gateway), running.settings))
        yield Api(stack.enter_context(httpx.Client(base_url=server.url, timeout=30)), exchange.api.key)


def new_key(exchange: Exchange, *roles: str, account: str | None = None) -> str:
    """Make another API key."""
    key: str = exchange.api.done("/keys", {"roles": list(roles), "account": account})["key"]
    return key


def test_a_deposit_is_credited_once_when_the_admin_key_is_rotated(exchange: Exchange, replica: Api) -> None:
    """The retry comes with the new key, to another replica, after the old key is revoked."""
    trader = exchange.trader(None)
    path, headers = f"/accounts/{trader.account_id}/deposits", {"idempotency-key": f"payroll {next(_numbers)}"}
    old = exchange.api.done("/keys", {"roles": ["admin"]})
    first = exchange.api.as_key(old["key"]).done(path, {"amount": "10"}, headers=headers)
    new = new_key(exchange, "admin")
    exchange.api.send("DELETE", f"/keys/{old['key_id']}")

    again = replica.as_key(new).done(path, {"amount": "10"}, headers=headers)
    other = replica.as_key(new).post(path, {"amount": "11"}, headers=headers)

    assert (again["position"], again["available"]) == (first["position"], "10.000000")
    assert (other.status_code, other.json()["code"]) == (409, "COMMAND_ID_REUSED")


def test_a_story_is_published_once_whoever_sends_it_again(exchange: Exchange, replica: Api) -> None:
    """Its id and those of its markets come from the idempotency key, so they stay the same too."""
    number = next(_numbers)
    story = {"title": f"Rotated {number}", "body": "b", "category": f"rotated-{number}"}
    story |= {"published_at": "2024-10-24T10:02:00Z", "markets": [market_body()]}
    headers = {"idempotency-key": f"rotated {number}"}
    first = exchange.api.as_key(new_key(exchange, "operator")).done("/stories", story, headers=headers)

    assert replica.as_key(new_key(exchange, "operator", "admin")).done("/stories", story, headers=headers) == first
    assert len(exchange.api.data("/stories", category=f"rotated-{number}")) == 1


def test_one_key_serves_different_kinds_of_writes(exchange: Exchange) -> None:
    """An operator and an admin who choose the same idempotency key for different writes do not meet."""
    market, headers = exchange.market(), {"idempotency-key": f"monday {next(_numbers)}"}
    operator = exchange.api.as_key(new_key(exchange, "operator"))
    admin = exchange.api.as_key(new_key(exchange, "admin"))
    trader = exchange.trader("10")
    path = f"/accounts/{trader.account_id}"

    assert operator.done(f"/markets/{market['market_id']}/halt", headers=headers)["status"] == "halted"
    assert operator.done(f"/markets/{market['market_id']}/resume", headers=headers)["status"] == "active"
    assert admin.done(f"{path}/deposits", {"amount": "5"}, headers=headers)["available"] == "15.000000"
    assert admin.done(f"{path}/withdrawals", {"amount": "5"}, headers=headers)["available"] == "10.000000"


def test_a_traders_key_is_scoped_to_its_account(exchange: Exchange) -> None:
    """Two traders may choose the same idempotency key; two API keys of one account share it."""
    one, other, headers = exchange.trader("10"), exchange.trader("10"), {"idempotency-key": "mine"}
    second = exchange.api.as_key(new_key(exchange, "trader", account=one.account_id))

    answers = [
        api.done(f"/accounts/{account}/withdrawals", {"amount": "4"}, headers=headers)
        for api, account in [(one.api, one.account_id), (other.api, other.account_id), (second, one.name)]
    ]

    assert [answer["available"] for answer in answers] == ["6.000000"] * 3
    assert answers[2]["position"] == answers[0]["position"]


def test_a_key_is_made_once(exchange: Exchange, replica: Api) -> None:
    """Sent again, the request makes no second key and shows no secret; with another body it is a 409."""
    headers, body = {"idempotency-key": f"key {next(_numbers)}"}, {"roles": ["operator", "admin"], "name": "nightly"}
    first = exchange.api.done("/keys", body, headers=headers)

    again = replica.as_key(new_key(exchange, "admin")).post(
        "/keys", body | {"roles": ["admin", "operator"]}, headers=headers
    )
    other = exchange.api.post("/keys", body | {"name": "daily"}, headers=headers)

    assert first["key"].startswith("tdg_")
    assert again.status_code == 201
    assert {**again.json(), "position": 0} == {**first, "key": None, "position": 0}
    assert (other.status_code, other.json()["code"]) == (409, "COMMAND_ID_REUSED")
    assert [key["key_id"] for key in exchange.api.data("/keys")].count(first["key_id"]) == 1
    assert {key["key_id"] for key in exchange.api.data("/keys") if key["name"] == "daily"} == set()
    assert first["position"] <= exchange.head()


def test_a_write_that_gets_no_reply_names_the_key_to_send_it_again_with(exchange: Exchange) -> None:
    """A request without an `Idempotency-Key` too; sent again with the one that the answer names, it is the same write."""
    trader, running = exchange.trader(None), exchange.running
    path, source = f"/accounts/{trader.account_id}/deposits", LocalCommandSource()
    silent = running.dependencies.app(LocalGateway(source, timeout_seconds=0.05))
    with HttpServer(silent, running.settings) as server, httpx.Client(base_url=server.url) as client:
        refused = Api(client, exchange.api.key).post(path, {"amount": "7"}).json()

    (sent,) = source.take(1, 1.0)[0].commands
    assert (refused["code"], refused["details"]["command_id"]) == ("REPLY_TIMEOUT", sent.command_id)
    headers = {"idempotency-key": refused["details"]["idempotency_key"]}
    exchange.api.done(path, {"amount": "7"}, headers=headers)
    again = exchange.api.post(path, {"amount": "8"}, headers=headers).json()
    assert again["details"]["command_id"] == sent.command_id


# --- any writes


@dataclass(frozen=True)
class Write:
    """A write: the role that may send it, its kind, and the request."""

    role: str
    kind: str
    method: str
    path: str
    body: Any


def market_body(**terms: Any) -> dict[str, Any]:
    """Return the terms of a new market."""
    return {
        "slug": f"idempotent-{next(_numbers)}", "question": "Does it?", "outcomes": ["Yes", "No"], "subsidy": "10",
        "close_time": "2090-01-01T00:00:00Z", "resolution_source": "us",
    } | terms  # fmt: skip


def all_writes(exchange: Exchange, trader: Trader, other: Trader) -> list[Write]:
    """Return two or more different writes of every kind, orders aside."""
    opened, number = exchange.market(), next(_numbers)
    market = f"/markets/{opened['market_id']}"
    resting = trader.place(opened["market_id"], type="limit", limit_price="0.1", quantity="10")
    order = f"/orders/{resting['order_id']}"
    story = {"title": f"Any {number}", "body": "b", "category": "any", "published_at": "2024-10-24T10:02:00Z"}
    payouts = [{"payouts": {name: "1"}, "evidence": "seen"} for name in ("Yes", "No")]
    rows: list[tuple[str, str, str, list[Any]]] = [
        ("admin", "POST", f"/accounts/{trader.account_id}/deposits", [{"amount": "1"}, {"amount": "2"}]),
        ("admin", "POST", f"/accounts/{other.account_id}/deposits", [{"amount": "1"}]),
        ("admin", "POST", f"/accounts/{other.account_id}/withdrawals", [{"amount": "1"}, {"amount": "200"}]),
        ("admin", "POST", "/accounts", [{"name": f"any {number}"}, {"name": f"any other {number}"}]),
        ("admin", "POST", "/keys", [{"roles": ["admin"]}, {"roles": ["operator"]}]),
        ("trader", "POST", f"/accounts/{trader.account_id}/withdrawals", [{"amount": "1"}, {"amount": "2"}]),
        ("trader", "POST", f"{market}/split", [{"amount": "1"}, {"amount": "2"}]),
        ("trader", "POST", f"{market}/merge", [{"amount": "1"}, {"amount": "50"}]),
        ("trader", "POST", f"{market}/dispute", [{"reason": "no"}, {"reason": "not so"}]),
        ("trader", "PATCH", order, [{"quantity": "9"}, {"quantity": "10", "price": "0.2"}, {"price": "0.7"}]),
        ("trader", "POST", "/orders/cancel", [{}, {"market_id": opened["market_id"]}]),
        ("trader", "DELETE", order, [None]),
        ("trader", "DELETE", "/orders/or_nobody", [None]),
        ("operator", "POST", "/stories", [story, story | {"markets": [market_body()]}]),
        ("operator", "POST", f"/stories/{opened['story_id']}/markets", [market_body(), market_body(draft=True)]),
        ("operator", "POST", f"{market}/add-liquidity", [{"amount": "1"}, {"amount": "2"}]),
        ("operator", "POST", f"{market}/clarify", [{"resolution_source": "us"}, {"resolution_source": "them"}]),
        *(("operator", "POST", f"{market}/{act}", [{}]) for act in ("activate", "halt", "resume", "uphold")),
        *(("operator", "POST", f"/markets/none/{act}", [{}]) for act in ("halt", "resume", "close", "finalize")),
        ("operator", "POST", f"{market}/determine", payouts),
        ("operator", "POST", f"{market}/correct", payouts),
    ]
    return [
        Write(role, f"{method} {'orders' if path == order else path.rpartition('/')[2]}", method, path, body)
        if not path.startswith("/orders/or_")
        else Write(role, f"{method} orders", method, path, body)
        for role, method, path, bodies in rows
        for body in bodies
    ]


@pytest.fixture(scope="module")
def senders(exchange: Exchange, replica: Api) -> tuple[list[Write], dict[str, list[Api]]]:
    """The writes of every kind, and for each role the ways to send them: two API keys at two replicas."""
    trader, other = exchange.trader("100"), exchange.trader("100")
    keys = {
        "trader": [trader.api.key, new_key(exchange, "trader", account=trader.account_id)],
        "admin": [new_key(exchange, "admin"), new_key(exchange, "operator", "admin")],
        "operator": [new_key(exchange, "operator"), new_key(exchange, "operator", "admin")],
    }
    apis = {role: [api.as_key(key) for api in (exchange.api, replica) for key in found] for role, found in keys.items()}
    return all_writes(exchange, trader, other), apis


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_equal_ids_and_bodies_have_one_effect(
    exchange: Exchange, senders: tuple[list[Write], dict[str, list[Api]]], data: st.DataObject
) -> None:
    """Whatever is sent, by whom and through which replica: an id that was used has its first effect only.

    With the same body the answer has the first position, or is the same refusal; with another body it is a 409.
    """
    writes, apis = senders
    example = next(_numbers)
    first: dict[tuple[str, bool, str], tuple[Write, httpx.Response]] = {}
    steps = st.lists(st.tuples(st.sampled_from(writes), st.sampled_from("ab"), st.integers(0, 3)), max_size=30)
    draws: Callable[..., Any] = data.draw
    for write, name, way in draws(steps):
        headers, before = {"idempotency-key": f"{example} {name}"}, exchange.head()
        response = apis[write.role][way].send(write.method, write.path, write.body, headers=headers)
        known = first.setdefault((write.kind, write.role == "trader", name), (write, response))
        if known[1] is response:
            assert response.status_code in {200, 201, 403, 404, 409, 422}, response.text
            continue
        assert exchange.events_after(before) == [], (write, response.text)
        if write != known[0]:
            assert (response.status_code, response.json()["code"]) == (409, "COMMAND_ID_REUSED"), (write, known[0])
        else:
            assert response.status_code == known[1].status_code, (write, response.text)
            assert effect_of(response) == effect_of(known[1])


def effect_of(response: httpx.Response) -> Any:
    """Return what an answer says about its write: a refusal, or the position. A key has no place in the log, but an id."""
    body = response.json()
    if response.is_success:
        return body.get("key_id") or body["position"]
    return body
