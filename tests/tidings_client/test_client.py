"""The installable client against a whole exchange: typed calls, one effect, pages, the log, errors, reads after writes."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.http.client_code import FOLDER, ClientCode, document, is_streamed
from local.processes import free_port
from tidings_client import (
    ApiError,
    AsyncClient,
    Client,
    NotFoundError,
    RefusedError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
    plain,
)
from tidings_client.calls import Calls
from tidings_client.models import PlaceOrder

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_the_client_is_made_from_the_document() -> None:
    """A method for every operation, a struct for every answer. If red: `python -m api.http.client_code`."""
    made = ClientCode(document()).modules()

    assert {name: text == (FOLDER / name).read_text() for name, text in made.items()} == dict.fromkeys(made, True)
    declared = [each for methods in document()["paths"].values() for each in methods.values()]
    operations = {each["operationId"] for each in declared if not is_streamed(each)}
    assert operations == {name for name in vars(Calls) if not name.startswith("_")}


def test_an_order_and_what_it_did(exchange: Exchange, trader: Client) -> None:
    """Amounts are exact, times are times; a read right after the write shows it, without a word about positions."""
    slug = exchange.market()["slug"]

    order = trader.place_order(market_id=slug, outcome="Yes", side="buy", type="market", spend=Decimal("12.5"))
    me = trader.get_me().data
    positions = list(trader.list_account_positions(me.account_id or ""))

    assert order.status == "filled"
    assert order.cost == Decimal("12.5")
    assert trader.position == order.position
    assert [(row.shares, row.cost_basis) for row in positions] == [(order.filled_quantity, order.cost)]
    assert datetime.now(UTC) > positions[0].time
    assert trader.get_market(slug).as_of is not None
    before = trader.get_market(slug, as_of_position=order.position - 1).data
    assert before.volume == 0
    assert trader.get_market(slug).data.volume == order.cost


def test_both_clients_have_the_same_calls(exchange: Exchange, trader: Client) -> None:
    """What one returns, the other one awaits."""
    slug = exchange.market()["slug"]
    key = trader._session.key

    async def ask() -> tuple[Any, Any, list[Any]]:
        async with AsyncClient(exchange.running.url, key) as client:
            order = await client.place_order(market_id=slug, outcome="No", side="buy", type="market", quantity="3")
            market = await client.get_market(slug)
            rows = [row async for row in client.list_market_trades(slug, page_size=1)]
            with pytest.raises(RefusedError):
                await client.place_order(market_id=slug, outcome="Maybe", side="buy", type="market", quantity="3")
            return order, market, rows

    order, market, rows = asyncio.run(ask())

    trader.position = order.position
    assert market.data == trader.get_market(slug).data
    assert rows == list(trader.list_market_trades(slug))
    assert len(rows) == 1


def test_an_order_sent_again_is_one_order(exchange: Exchange, trader: Client) -> None:
    """By its `client_order_id`; another write by its `idempotency_key`."""
    slug = exchange.market()["slug"]
    orders = [
        trader.place_order(
            market_id=slug, outcome="Yes", side="buy", type="market", quantity="1", client_order_id="once"
        )
        for _ in range(2)
    ]
    sets = [trader.split_sets(slug, "2", idempotency_key="twice") for _ in range(2)]

    assert orders[0] == orders[1]
    assert sets[0].position == sets[1].position
    assert len(list(trader.list_market_trades(slug))) == 1


def test_a_batch_has_results_and_errors(exchange: Exchange, trader: Client) -> None:
    """One for each order, in their order; each order gets an id of its own."""
    slug = exchange.market()["slug"]
    good = PlaceOrder(market_id=slug, outcome="Yes", side="buy", type="market", quantity="1")
    poor = PlaceOrder(market_id=slug, outcome="Yes", side="buy", type="market", spend="5000")

    results = trader.place_batch([good, poor]).results

    assert results[0].client_order_id == good.client_order_id != poor.client_order_id
    assert [result.code for result in results] == [None, "INSUFFICIENT_FUNDS"]


def test_all_pages_are_one_list(exchange: Exchange, admin: Client) -> None:
    """Row by row or page by page; as of one position; as a data frame with exact numbers."""
    slugs = [exchange.market()["slug"] for _ in range(3)]
    admin.position = exchange.head()

    markets = list(admin.list_markets(page_size=2))
    pages = list(admin.list_markets(page_size=2).pages())

    assert [market.slug for market in markets][:3] == slugs[::-1]
    assert [market for page in pages for market in page.data] == markets
    assert len({page.as_of.position for page in pages}) == 1
    frame = admin.list_accounts().to_polars()
    assert frame["account_id"].to_list() == [row.account_id for row in admin.list_accounts()]
    assert str(frame["available"].dtype).startswith("Decimal")


def test_the_whole_log_is_read(exchange: Exchange, admin: Client) -> None:
    """To its end, with no event twice."""
    exchange.market()
    positions = [event.position for event in admin.events()]

    assert positions == sorted(set(positions))
    assert positions[-1] >= exchange.head() - 1
    assert [event.type for event in admin.events(type="StoryPublished")][:1] == ["StoryPublished"]


def test_errors_are_exceptions_with_codes(exchange: Exchange, trader: Client) -> None:
    """The code never changes, the details have the numbers, and a refusal has its position in the log."""
    slug = exchange.market()["slug"]

    with pytest.raises(NotFoundError) as nothing:
        trader.get_market("nothing-like-it")
    with pytest.raises(RefusedError) as poor:
        trader.place_order(market_id=slug, outcome="Yes", side="buy", type="market", spend="1000")
    with Client(exchange.running.url, "tdg_wrong") as stranger, pytest.raises(UnauthenticatedError):
        stranger.get_me()
    with pytest.raises(ApiError, match="FORBIDDEN"):
        trader.deposit("anybody", "5")

    assert nothing.value.code == "MARKET_NOT_FOUND"
    assert poor.value.code == "INSUFFICIENT_FUNDS"
    assert poor.value.position


def test_what_cannot_be_exact_is_refused(trader: Client) -> None:
    """A float is no amount, and a time without a zone is no time."""
    with pytest.raises(TypeError, match="float"):
        trader.place_order(market_id="m", outcome="Yes", side="buy", type="market", quantity=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time zone"):
        trader.place_order(
            market_id="m", outcome="Yes", side="buy", type="limit", quantity="1", limit_price="0.5",
            expires_at=datetime(2030, 1, 1),  # noqa: DTZ001
        )  # fmt: skip


class Flaky(httpx.BaseTransport):
    """A real connection that loses the first answers after the exchange has given them, and then the first requests."""

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()
        self.troubles = [503, "lost answer", "lost request", "lost answer"]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, or fail."""
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble == 503:
            return httpx.Response(503, json={"code": "BUSY", "message": "", "details": {}})
        if trouble == "lost request":
            raise httpx.ConnectError("nobody there", request=request)
        response = self.inner.handle_request(request)
        if trouble == "lost answer":
            response.close()
            raise httpx.RemoteProtocolError("the connection broke", request=request)
        return response

    def close(self) -> None:
        """Close the real connection."""
        self.inner.close()


class Patchy(httpx.BaseTransport):
    """A real connection to an exchange that is at its limit: of each batch some orders get no result at first.

    The answers to the first batches are: one order that is done, the others refused for want of room; then one more that is
    done but not known to be; then all.
    """

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()
        self.sizes: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a part of a batch, and answer for all of it."""
        body = json.loads(request.read())
        orders = body["orders"]
        self.sizes.append(len(orders))
        short = {**request.headers, "content-length": ""}
        del short["content-length"]
        content = json.dumps({**body, "orders": orders[:1]})
        if len(self.sizes) > 2:
            return self.inner.handle_request(request)
        first = self.inner.handle_request(httpx.Request(request.method, request.url, headers=short, content=content))
        answer = json.loads(httpx.Response(200, headers=first.headers, content=first.read()).content)
        busy = {"code": "BUSY", "message": "", "details": {}, "position": None}
        if len(self.sizes) == 2:
            answer["results"] = [busy | {"code": "REPLY_TIMEOUT"}]
        answer["results"] += [busy] * (len(orders) - 1)
        return httpx.Response(200, json=answer)

    def close(self) -> None:
        """Close the real connection."""
        self.inner.close()


def test_an_order_of_a_batch_is_sent_until_it_has_a_result(exchange: Exchange, trader: Client) -> None:
    """Only what has none is sent again; each order is there once, and the results are in the order of the batch."""
    slug = exchange.market()["slug"]
    orders = [PlaceOrder(market_id=slug, outcome="Yes", side="buy", type="market", quantity="1") for _ in range(3)]
    patchy, plainly = Patchy(), trader._http

    with httpx.Client(transport=patchy) as trader._http:
        answer = trader.place_batch(orders)

    trader._http = plainly
    assert patchy.sizes == [3, 2, 2]
    assert [result.client_order_id for result in answer.results] == [order.client_order_id for order in orders]
    assert [result.status for result in answer.results] == ["filled"] * 3
    rows = list(trader.list_account_orders(answer.results[0].account_id or ""))
    assert sorted(row.client_order_id for row in rows) == sorted(order.client_order_id for order in orders)
    assert trader.position == answer.position


def test_at_the_deadline_an_order_of_a_batch_keeps_its_code(trader: Client) -> None:
    """The results of the others are not lost."""
    busy = {"code": "BUSY", "message": "", "details": {}, "position": None}
    answer = httpx.Response(200, json={"results": [busy, {"status": "filled", "position": 7}], "position": 7})
    orders = [PlaceOrder(market_id="m", outcome="Yes", side="buy", type="market", quantity="1") for _ in range(2)]
    answers = [answer, *[httpx.Response(503, json=busy)] * 100]
    with Client(trader.url, "key", retry_seconds=0.5) as client:
        client._http = httpx.Client(transport=httpx.MockTransport(lambda _: answers.pop(0)))
        results = client.place_batch(orders).results

    assert [(result.code, result.status) for result in results] == [("BUSY", None), (None, "filled")]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_write_has_one_effect_whatever_happens_on_the_way(
    exchange: Exchange,
    trader: Client,
    *,
    asynchronous: bool,
) -> None:
    """The ids are made once and kept: the account has one order, and the caller its answer."""
    slug = exchange.market()["slug"]
    fields: Any = {"market_id": slug, "outcome": "Yes", "side": "buy", "type": "market", "quantity": "1"}

    class AsyncFlaky(httpx.AsyncBaseTransport):
        blocking = Flaky()

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await asyncio.to_thread(self.blocking.handle_request, request)
            return httpx.Response(response.status_code, headers=response.headers, content=response.read())

        async def aclose(self) -> None:
            self.blocking.close()

    async def ask() -> Any:
        async with AsyncClient(exchange.running.url, trader._session.key) as client:
            client._http = httpx.AsyncClient(transport=AsyncFlaky())
            return await client.place_order(**fields)

    if asynchronous:
        order = asyncio.run(ask())
        trader.position = order.position
    else:
        trader._http = httpx.Client(transport=Flaky())
        order = trader.place_order(**fields)

    assert [row.order_id for row in trader.list_account_orders(order.account_id)] == [order.order_id]


def test_a_call_is_given_up_at_its_deadline() -> None:
    """With the error that it had last; at once, if asked, where no server has ever answered."""
    url = f"http://127.0.0.1:{free_port()}"

    with Client(url, retry_seconds=0.3) as client, pytest.raises(UnreachableError, match=url):
        client.get_status()
    with Client(url, wait_for_server=False) as client, pytest.raises(UnreachableError, match=url):
        client.get_status()
    with Client(url, retry_seconds=0.3) as client:
        busy = httpx.Response(503, json={"code": "BUSY", "message": "", "details": {}})
        client._http = httpx.Client(transport=httpx.MockTransport(lambda _: busy))
        with pytest.raises(UnavailableError, match="BUSY"):
            client.get_status()


@pytest.mark.parametrize("text", [b"<html>", b"[1]", b"\xff"])
def test_another_server_is_said_to_be_another(text: bytes) -> None:
    """Anything but an answer in the declared form is not one of Tidings."""
    with Client("http://127.0.0.1:1") as client:
        client._http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=text)))
        with pytest.raises(UnreachableError, match="is not Tidings"):
            client.get_status()


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("localhost:8000", "k"), ("127.0.0.1:8000", "k"), ("", "k"), ("http://", "k"), ("http://a:b", "k"),
        ("http://a:70000", "k"), ("http://a b", "k"), ("ftp://127.0.0.1", "k"), ("http://127.0.0.1", "a key"),
        ("http://127.0.0.1", ""), ("http://127.0.0.1", "ключ"),
    ],
)  # fmt: skip
def test_what_is_no_url_or_key_is_refused(url: str, key: str) -> None:
    """No connection is tried to another address than the one that was meant."""
    with pytest.raises(ValueError, match=r"is not the URL|no key has"):
        Client(url, key)


def test_plain_is_what_the_exchange_sent(exchange: Exchange, trader: Client) -> None:
    """An answer goes back into JSON's types without a difference: amounts, times, what is null."""
    slug = exchange.market()["slug"]

    assert plain(trader.get_market(slug).data) == exchange.api.data(f"/markets/{slug}")
    assert plain(list(trader.list_stories(page_size=5))[:5]) == exchange.api.data("/stories", limit=5)
