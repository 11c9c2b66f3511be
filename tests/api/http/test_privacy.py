"""What strangers and other accounts see of an account: its name, its profit and its positions, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import httpx
import pytest

from tests.api.conftest import Api, connected, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Exchange, Trader

PRIVATE = ["portfolio", "orders", "fills", "settlements", "ledger", "equity-history"]
PUBLIC = {"account_id", "name", "opened_at", "pnl", "realized", "unrealized"}


def busy(exchange: Exchange) -> tuple[dict[str, Any], Trader, Trader]:
    """Return a market, and two accounts that traded with each other and have orders in the book."""
    market, maker, taker = exchange.market(), exchange.trader("77.123456"), exchange.trader("55.654321")
    maker.place(market["market_id"], type="limit", limit_price="0.4", quantity="5")
    taker.place(market["market_id"], outcome="No", type="limit", limit_price="0.65", quantity="80")
    taker.place(market["market_id"])
    maker.place(market["market_id"], type="limit", limit_price="0.111", quantity="3.33")
    return market, maker, taker


def public_paths(market: dict[str, Any], trader: Trader) -> list[str]:
    """Return every read that anybody may do, about this market and this account."""
    of_market = ["", "/prices-history", "/candlesticks", "/trades", "/book", "/holders", "/events"]
    return [
        *(f"/markets/{market['market_id']}{part}" for part in of_market),
        *(f"/accounts/{trader.account_id}{part}" for part in ("", "/positions")),
        *(
            "/trades",
            "/markets",
            "/stories",
            f"/stories/{market['story_id']}",
            "/accounts",
            "/leaderboard",
            "/calibration",
        ),
    ]


def test_no_public_read_tells_of_orders_and_cash(exchange: Exchange) -> None:
    """Neither an id of an order, nor the balances; the parties to a trade have no names. Also not as of then."""
    market, maker, taker = busy(exchange)
    at = exchange.head()
    before = exchange.api.data(f"/accounts/{maker.account_id}", min_position=at)
    secrets = [before[name] for name in ("available", "held", "equity")]
    events = exchange.api.data("/events", market=market["market_id"])
    orders = {event["data"]["order_id"] for event in events if event["type"] == "OrderPlaced"}
    assert len(orders) == 4

    for api in (exchange.api.as_key(None), exchange.trader(None).api):
        for path in public_paths(market, maker):
            for when in ({"min_position": at}, {"as_of_position": at}):
                answer = api.get(path, **when)
                assert answer.status_code == 200, answer.text
                assert [secret for secret in (*secrets, *orders) if secret in answer.text] == [], path
        trades = api.data(f"/markets/{market['market_id']}/trades")
        assert {trade[name] for trade in trades for name in ("account_id", "resting_account_id")} == {None}
        assert set(api.data(f"/accounts/{maker.account_id}")) == PUBLIC

    mine = taker.api.data(f"/markets/{market['market_id']}/trades")
    parties = {trade[name] for trade in mine for name in ("account_id", "resting_account_id")}
    assert parties == {taker.account_id, None}


def test_private_reads(exchange: Exchange) -> None:
    """The account itself, by any name, a reader of it, an analyst and an admin; 401 without a key, 403 for all others."""
    _, maker, taker = busy(exchange)
    done = exchange.api.done
    reader = exchange.api.as_key(done("/keys", {"roles": ["reader"], "account": maker.account_id})["key"])
    analyst = exchange.api.as_key(done("/keys", {"roles": ["analyst"]})["key"])
    operator = exchange.api.as_key(done("/keys", {"roles": ["operator"], "account": maker.account_id})["key"])

    at = {"min_position": exchange.head()}
    for part in PRIVATE:
        path = f"/accounts/{maker.account_id}/{part}"
        expected = exchange.api.data(path, **at)
        for api in (maker.api, reader, analyst):
            assert api.data(path, **at) == api.data(f"/accounts/{maker.name}/{part}", **at) == expected
        for api, status in ((exchange.api.as_key(None), 401), (taker.api, 403), (operator, 403)):
            assert api.get(path).status_code == api.get(f"/accounts/{maker.name}/{part}").status_code == status
    for api in (maker.api, reader, analyst, exchange.api):
        assert set(api.data(f"/accounts/{maker.account_id}", **at)) > PUBLIC | {"available", "held", "equity"}
    listed = {row["account_id"]: row for row in maker.api.data("/accounts", limit=1000, **at)}
    assert "available" in listed[maker.account_id]
    assert "available" not in listed[taker.account_id]
    assert all("available" in row for row in analyst.data("/accounts", limit=1000))


def test_the_profit_of_an_account_is_that_of_its_standing(exchange: Exchange) -> None:
    """Now and then; an account that never traded has none."""
    _, maker, taker = busy(exchange)
    for when in ({"min_position": exchange.head()}, {"as_of_position": exchange.head()}):
        board = {row["account_id"]: row for row in exchange.api.data("/leaderboard", limit=1000, **when)}
        for trader in (maker, taker):
            account = exchange.api.data(f"/accounts/{trader.account_id}", **when)
            for name in ("pnl", "realized", "unrealized"):
                assert account[name] == board[trader.account_id][name]
    assert exchange.api.data(f"/accounts/{exchange.trader(None).account_id}")["pnl"] == "0.000000"


def test_a_dispute_does_not_tell_strangers_whose_it_is(exchange: Exchange) -> None:
    """The reason is public, the account is not."""
    market, trader = exchange.market(dispute_seconds=60), exchange.trader()
    path = f"/markets/{market['market_id']}"
    exchange.api.done(f"{path}/close")
    exchange.api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": "so"})
    at = trader.api.done(f"{path}/dispute", {"reason": "not so"})["position"]

    for api, account_id in ((exchange.api.as_key(None), None), (trader.api, trader.account_id)):
        (entry, *_) = api.data(f"{path}/events", type="MarketDisputed", min_position=at)
        assert (entry["data"]["reason"], entry["data"]["account_id"]) == ("not so", account_id)


@pytest.mark.parametrize("accounts_public", [False, True])
def test_the_settings(database: str, tmp_path: Path, *, accounts_public: bool) -> None:
    """Without public reads everything but health needs a key; public accounts are open to all who may read."""
    with start(
        database, tmp_path, public_reads=accounts_public, accounts_public=accounts_public, ops_port=0
    ) as running:
        exchange = connected(running)
        _, maker, taker = busy(exchange)
        stranger = exchange.api.as_key(None)
        head = exchange.head()
        statuses = {
            stranger.get(path, min_position=head).status_code for path in ("/markets", "/leaderboard", "/stories")
        }
        assert statuses == {200 if accounts_public else 401}
        assert taker.api.get("/markets", min_position=head).status_code == 200
        for path in [f"/accounts/{maker.account_id}/{part}" for part in PRIVATE] + ["/events", "/ledger"]:
            found = [api.get(path, min_position=head).status_code for api in (stranger, taker.api)]
            assert found == ([200, 200] if accounts_public else [401, 403]), path
        assert stranger.client.get("/readyz").status_code == 200
        _check_operations(exchange.api, running.ops.url if running.ops else "")
        exchange.api.client.close()


def _check_operations(api: Api, ops: str) -> None:
    """Check that positions and metrics need a key, except on the second port, which has nothing else."""
    for path in ("/v1/status", "/metrics"):
        assert api.client.get(path).status_code == 401
        assert api.client.get(path, headers=api.headers).status_code == 200
        assert httpx.get(f"{ops}{path}").status_code == 200
    status = json.loads(httpx.get(f"{ops}/v1/status").text)["data"]
    assert status["engine"] == api.data("/status")["engine"]
    assert httpx.get(f"{ops}/readyz").status_code == 200
    with pytest.raises(HTTPError, match="404"):  # urllib's: no answer of the second server is held to the document
        urlopen(f"{ops}/v1/markets")  # noqa: S310  its own
