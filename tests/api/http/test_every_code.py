"""Every code of docs/errors.md is provoked, and has the HTTP status that the page promises."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.http.server import HttpServer
from api.processes import Dependencies
from consumers.engine.command_source import LocalCommandSource
from consumers.engine.postgres_log import postgres_recorder
from consumers.gateway import LocalGateway
from domain.orders import OPEN_ORDERS_MAX
from migrations import migrate
from settings import Settings
from tests.api.conftest import OPERATOR_KEY, Api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.api.conftest import Exchange, Trader

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"
PROMISED = {
    code: int(status) for code, status in re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", PAGE.read_text(), re.MULTILINE)
}

NOT_PROVOKED = {
    "LOG_CHANGED": "tests/api/stream/test_sse.py provokes it: it takes a stream",
    "TOO_MANY_STREAMS": "tests/api/stream/test_limits_of_streams.py provokes it, likewise",
    "HOST_NOT_ALLOWED": "test_entrance.py provokes it",
    "MALFORMED_REQUEST": "test_connections.py provokes it: it takes a plain socket",
    "REQUEST_TIMEOUT": "likewise",
    "HEADERS_TOO_LARGE": "likewise",
    "TOO_MANY_CONNECTIONS": "likewise",
    "RATE_LIMITED": "test_rate_limits.py provokes it",
    "READ_TIMEOUT": "test_read_threads.py provokes it",
    "BOOK_FULL": "tests/domain/test_limits.py provokes it: it takes 10,000 orders",
    "TOO_MANY_MARKETS": "likewise: it takes 1,000 markets",
    "TOO_MANY_ACCOUNTS": "likewise: it takes a million accounts",
    "LOG_LOST": "it takes a topic that is made anew under a running server",
    "INVITATION_EXISTS": "no two invitations have the same code",
    "WITHDRAWAL_HELD": "routes/test_withdrawals.py provokes it: this exchange holds no payouts",
    "WRONG_PARTITION": "tests/domain/test_transfers.py provokes it: it takes several partitions",
    "FUNDS_NEEDED": "likewise",
    "TOO_MANY_WEBHOOKS": "routes/test_webhooks.py provokes it: it takes 50 webhooks",
    "TOO_MANY_KEYS": "routes/test_keys.py provokes it: it takes 50 keys",
    "TOO_MANY_WAITS": "test_waits.py provokes it: it takes many requests at once",
}
"""Codes that are not provoked here, with the reasons."""

STORY = {"title": "A title", "body": "A body", "category": "world", "published_at": "2024-10-24T10:02:00Z"}
MARKET = {
    "slug": "too-late",
    "question": "Was it?",
    "outcomes": ["Yes", "No"],
    "subsidy": "100",
    "close_time": "2101-01-01T00:00:00Z",
    "resolution_source": "us",
}
EVIDENCE = {"text": "so it is"}
LIMIT = {"type": "limit", "limit_price": "0.4"}


def refused(exchange: Exchange, **fields: Any) -> httpx.Response:
    """Return the answer to an order with these fields."""
    market, trader = exchange.market(), exchange.trader()
    return trader.api.post("/orders", trader.order(market["market_id"], **fields))


def filled_already(exchange: Exchange) -> httpx.Response:
    """Cancel an order that was filled at once."""
    market, trader = exchange.market(), exchange.trader("100")
    order = trader.place(market["market_id"])
    return trader.api.send("DELETE", f"/orders/{order['order_id']}")


def twice(exchange: Exchange, path: str, body: dict[str, Any]) -> httpx.Response:
    """Create something twice; return the second answer."""
    exchange.api.done(path, body)
    return exchange.api.post(path, body)


def act(exchange: Exchange, *steps: tuple[str, Any], **terms: Any) -> httpx.Response:
    """Take a new market through steps, all but the last of which must succeed; return the last answer."""
    path = f"/markets/{exchange.market(**terms)['market_id']}"
    for action, body in steps[:-1]:
        exchange.api.done(f"{path}/{action}", body)
    action, body = steps[-1]
    return exchange.api.post(f"{path}/{action}", body)


def raw(exchange: Exchange, content: bytes, kind: str = "application/json") -> httpx.Response:
    """Return the answer to an order with this body."""
    headers = {"authorization": f"Bearer {OPERATOR_KEY}", "content-type": kind}
    return exchange.api.client.post("/v1/orders", content=content, headers=headers)


def dispute(exchange: Exchange, seconds: int, bond: str) -> httpx.Response:
    """Return the answer to a dispute with this bond, of a market with this window."""
    trader = exchange.trader()
    body = {"reason": "no", "bond": bond, "account": trader.account_id}
    return act(exchange, *determined("Yes"), ("dispute", body), dispute_seconds=seconds, dispute_bond="10")


def determined(outcome: str) -> list[tuple[str, Any]]:
    """Return the steps after which this outcome is determined."""
    return [("close", {}), ("determine", {"payouts": {outcome: "1"}, "evidence": EVIDENCE})]


def reused(exchange: Exchange) -> httpx.Response:
    """Send two deposits with one id."""
    path, headers = f"/accounts/{exchange.trader().account_id}/deposits", {"idempotency-key": "reused"}
    exchange.api.done(path, {"amount": "1"}, headers=headers)
    return exchange.api.post(path, {"amount": "2"}, headers=headers)


def halted(exchange: Exchange) -> httpx.Response:
    """Place an order on a halted market."""
    market, trader = exchange.market()["market_id"], exchange.trader()
    exchange.api.done(f"/markets/{market}/halt")
    return trader.api.post("/orders", trader.order(market))


def resting(exchange: Exchange) -> tuple[Trader, str]:
    """Return a trader and the id of its resting order."""
    trader = exchange.trader()
    return trader, trader.place(exchange.market()["market_id"], **LIMIT)["order_id"]


def one_order_too_many(exchange: Exchange) -> httpx.Response:
    """Fill the account with resting orders, then place another one."""
    market, trader = exchange.market()["market_id"], exchange.trader()
    small = {"type": "limit", "limit_price": "0.001"}
    for _ in range(OPEN_ORDERS_MAX // 100):
        batch = trader.api.done("/orders/batch", {"orders": [trader.order(market, **small) for _ in range(100)]})
        assert {result["status"] for result in batch["results"]} == {"resting"}
    return trader.api.post("/orders", trader.order(market, **small))


def overdrawn(exchange: Exchange) -> httpx.Response:
    """Let an account spend a payout that is then taken back."""
    market, trader = exchange.market()["market_id"], exchange.trader()
    trader.place(market, quantity="50")
    for action, body in [*determined("Yes"), ("finalize", {})]:
        done = exchange.api.done(f"/markets/{market}/{action}", body)
    account = f"/accounts/{trader.account_id}"
    cash = trader.api.data(account, min_position=done["position"])["available"]
    trader.api.done(f"{account}/withdrawals", {"amount": cash})
    exchange.api.done(f"/markets/{market}/correct", {"payouts": {"No": "1"}, "evidence": EVIDENCE})
    return trader.api.post(f"{account}/withdrawals", {"amount": "1"})


def of_another(exchange: Exchange) -> httpx.Response:
    """Cancel, as an admin, an order that another account has than the one named."""
    _, order_id = resting(exchange)
    return exchange.api.send("DELETE", f"/orders/{order_id}", params={"account": exchange.trader().account_id})


def used_up(exchange: Exchange) -> httpx.Response:
    """Accept an invitation for one twice."""
    code = exchange.api.done("/invitations", {"uses": 1, "expires_at": MARKET["close_time"]})["code"]
    exchange.api.done("/invitations/accept", {"code": code, "name": "the one who was invited"})
    return exchange.api.post("/invitations/accept", {"code": code, "name": "the one who was not"})


def revoked(exchange: Exchange) -> httpx.Response:
    """Accept an invitation that was revoked."""
    made = exchange.api.done("/invitations", {"uses": 1, "expires_at": MARKET["close_time"]})
    exchange.api.send("DELETE", f"/invitations/{made['invitation_id']}")
    return exchange.api.post("/invitations/accept", {"code": made["code"], "name": "the one who was too late"})


def unknown_story(exchange: Exchange) -> httpx.Response:
    """Read a story that is not there."""
    return exchange.api.get("/stories/nowhere")


PROVOKED: dict[str, Callable[[Exchange], httpx.Response]] = {
    "MALFORMED_JSON": lambda exchange: raw(exchange, b"{"),
    "INVALID_QUERY": lambda exchange: exchange.api.client.get("/v1/markets?category=%00"),
    "INVALID_CURSOR": lambda exchange: exchange.api.get("/markets", cursor="x"),
    "UNAUTHENTICATED": lambda exchange: exchange.api.as_key("wrong").get("/markets"),
    "FORBIDDEN": lambda exchange: exchange.trader().api.post("/accounts", {"name": "not mine"}),
    "NOT_FOUND": lambda exchange: exchange.api.get("/nowhere"),
    "KEY_NOT_FOUND": lambda exchange: exchange.api.send("DELETE", "/keys/key_none"),
    "WEBHOOK_NOT_FOUND": lambda exchange: exchange.api.send("DELETE", "/webhooks/wh_none"),
    "METHOD_NOT_ALLOWED": lambda exchange: exchange.api.send("PUT", "/markets"),
    "BODY_TOO_LARGE": lambda exchange: raw(exchange, b" " * 1_100_000),
    "UNSUPPORTED_MEDIA_TYPE": lambda exchange: raw(exchange, b"{}", "text/plain"),
    "INVALID_FIELD": lambda exchange: refused(exchange, quantity="-1"),
    "INVALID_PRICE": lambda exchange: refused(exchange, **LIMIT | {"limit_price": "0.4005"}),
    "INVALID_PAYOUTS": lambda exchange: act(
        exchange, ("close", {}), ("determine", {"payouts": {"Yes": "0.5"}, "evidence": EVIDENCE})
    ),
    "UNKNOWN_PARAMETER": lambda exchange: exchange.api.get("/markets", nothing="1"),
    "STORY_EXISTS": lambda exchange: twice(exchange, "/stories", {**STORY, "slug": "twice"}),
    "MARKET_EXISTS": lambda exchange: twice(
        exchange, f"/stories/{exchange.market()['story_id']}/markets", {**MARKET, "slug": "twice"}
    ),
    "ACCOUNT_EXISTS": lambda exchange: twice(exchange, "/accounts", {"name": "Twice"}),
    "INVITATION_NOT_FOUND": lambda exchange: exchange.api.post("/invitations/accept", {"code": "none", "name": "x"}),
    "INVITATION_EXPIRED": lambda exchange: exchange.api.post(
        "/invitations", {"uses": 1, "expires_at": "2001-01-01T00:00:00Z"}
    ),
    "INVITATION_REVOKED": revoked,
    "INVITATION_USED_UP": used_up,
    "STORY_NOT_FOUND": unknown_story,
    "MARKET_NOT_FOUND": lambda exchange: exchange.api.get("/markets/nowhere"),
    "ACCOUNT_NOT_FOUND": lambda exchange: exchange.api.get("/accounts/nobody"),
    "UNKNOWN_OUTCOME": lambda exchange: refused(exchange, outcome="Maybe"),
    "COMMAND_ID_REUSED": reused,
    "MARKET_NOT_ACTIVE": halted,
    "MARKET_STATUS": lambda exchange: act(exchange, ("resume", {})),
    "CLOSE_TIME_PASSED": lambda exchange: exchange.api.post(
        f"/stories/{exchange.market()['story_id']}/markets",
        {**MARKET, "close_time": "2001-01-01T00:00:00Z"},
    ),
    "DISPUTE_WINDOW_OPEN": lambda exchange: act(
        exchange, *determined("Yes"), ("finalize", {}), dispute_seconds=3600
    ),
    "DISPUTE_WINDOW_CLOSED": lambda exchange: dispute(exchange, 0, "10"),
    "BOND_TOO_SMALL": lambda exchange: dispute(exchange, 3600, "9"),
    "ORDER_NOT_FOUND": lambda exchange: exchange.trader().api.send("DELETE", "/orders/or_none"),
    "ORDER_NOT_OPEN": filled_already,
    "INSUFFICIENT_FUNDS": lambda exchange: refused(exchange, quantity=None, spend="1000"),
    "INSUFFICIENT_SHARES": lambda exchange: refused(exchange, side="sell"),
    "ACCOUNT_OVERDRAWN": overdrawn,
    "TOO_MANY_ORDERS": one_order_too_many,
    "NOT_ORDER_OWNER": of_another,
    "SLIPPAGE": lambda exchange: refused(exchange, quantity="10", max_cost="1"),
    "FOK_NOT_FILLED": lambda exchange: refused(exchange, **LIMIT, time_in_force="FOK"),
    "POST_ONLY_WOULD_CROSS": lambda exchange: refused(exchange, **LIMIT | {"limit_price": "0.9"}, post_only=True),
    "REDUCE_ONLY": lambda exchange: refused(exchange, side="sell", reduce_only=True),
    "ORDER_TOO_SMALL": lambda exchange: refused(exchange, quantity="0.001"),
    "ORDER_EXPIRED": lambda exchange: refused(
        exchange, **LIMIT, time_in_force="GTD", expires_at="2001-01-01T00:00:00Z"
    ),
    "NOT_YET_PROJECTED": lambda exchange: exchange.api.get("/markets", min_position=2**62, wait_ms=1),
}  # fmt: skip


def keeps_waiting(api: Api, _: str) -> httpx.Response:
    """Send a command to an engine that is not there."""
    return api.post("/accounts", {"name": "ann"})


def is_busy(api: Api, _: str) -> httpx.Response:
    """Send a second command while the first one waits."""
    api.post("/accounts", {"name": "ann"})
    return api.post("/accounts", {"name": "bob"})


def has_no_read_models(api: Api, _: str) -> httpx.Response:
    """Read what no projector has folded."""
    return api.get("/markets")


def is_broken(api: Api, database: str) -> httpx.Response:
    """Take a table away from a server."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP TABLE public.api_keys CASCADE")
    return api.as_key("another").get("/markets")


OF_A_LONELY_SERVER = {
    "REPLY_TIMEOUT": keeps_waiting,
    "BUSY": is_busy,
    "UNAVAILABLE": has_no_read_models,
    "INTERNAL": is_broken,
}


@pytest.fixture
def lonely(database: str, tmp_path: Path) -> Iterator[Api]:
    """An HTTP server without an engine and a projector. One command may wait, for a short time."""
    settings = Settings(dsn=database, home=tmp_path, port=0, operator_key=SecretStr(OPERATOR_KEY))
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection)
    with ExitStack() as stack:
        recorder = stack.enter_context(postgres_recorder(database, 0))
        app = Dependencies(settings, recorder, stack).app(LocalGateway(LocalCommandSource(1), 0.05))
        server = stack.enter_context(HttpServer(app, settings))
        yield Api(stack.enter_context(httpx.Client(base_url=server.url)))


def assert_promised(code: str, answer: httpx.Response) -> None:
    """Check code and status of an answer, and that it says when to come again."""
    assert (answer.json()["code"], answer.status_code) == (code, PROMISED[code]), answer.text
    assert ("retry-after" in answer.headers) == (answer.status_code in {429, 503})


@pytest.mark.parametrize("code", PROVOKED)
def test_a_code_has_its_status(exchange: Exchange, code: str) -> None:
    """Of requests, and of commands that the rules refuse."""
    assert_promised(code, PROVOKED[code](exchange))


@pytest.mark.parametrize("code", OF_A_LONELY_SERVER)
def test_a_code_of_a_server_in_trouble_has_its_status(lonely: Api, database: str, code: str) -> None:
    """Of a server whose engine, read models or tables are missing."""
    assert_promised(code, OF_A_LONELY_SERVER[code](lonely, database))


def test_no_code_is_forgotten() -> None:
    """Each code of the page is provoked, or listed with the reason why it cannot be."""
    assert sorted([*PROVOKED, *OF_A_LONELY_SERVER, *NOT_PROVOKED]) == sorted(PROMISED)
