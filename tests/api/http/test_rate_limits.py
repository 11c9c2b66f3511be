"""Rates: what one key or one address does too often is answered with 429, and nothing else suffers."""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.rate_limits import SUBJECTS_MAX, Buckets, kind_of, rates_of
from api.http.server import HttpServer
from tests.api.command_line import tidings
from tests.api.conftest import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.conftest import Exchange, Trader

HEADERS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy", "ratelimit", "retry-after")


@contextmanager
def serving(exchange: Exchange, **limits: Any) -> Iterator[Api]:
    """Serve the exchange on another port, with these limits; 10 seconds of a rate may come at once."""
    dependencies = copy(exchange.running.dependencies)
    dependencies.settings = exchange.running.settings.model_copy(update=limits)
    app = dependencies.app(exchange.running.gateway)
    with HttpServer(app, dependencies.settings) as server, httpx.Client(base_url=server.url) as client:
        yield Api(client, exchange.api.key)


def at(api: Api, trader: Trader) -> Api:
    """Return a client of the same server with a trader's key."""
    return api.as_key(trader.api.key)


def assert_limited(answer: httpx.Response, kind: str) -> None:
    """Check that an answer is the refusal of this limit, and says when to come again."""
    assert answer.status_code == 429, answer.text
    body = answer.json()
    assert (body["code"], body["details"]["limit"]) == ("RATE_LIMITED", kind)
    assert not [name for name in HEADERS if name not in answer.headers]
    assert answer.headers["retry-after"] == answer.headers["ratelimit-reset"]
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["ratelimit-policy"].startswith(f'"{kind}";q={answer.headers["ratelimit-limit"]};w=')


def test_the_writes_of_an_account_are_limited(exchange: Exchange) -> None:
    """All its keys together; those of others are not affected, and a batch counts its orders."""
    market, trader, other = exchange.market()["market_id"], exchange.trader(), exchange.trader()
    second = exchange.api.done("/keys", {"roles": ["trader"], "account": trader.account_id})["key"]
    with serving(exchange, key_writes_per_second=0.1, burst_ms=80_000) as api:
        batch = {"orders": [trader.order(market, quantity="0.1") for _ in range(16)]}  # as 6 writes
        assert at(api, trader).post("/orders/batch", batch).status_code == 200
        assert at(api, trader).post("/orders", trader.order(market)).status_code == 201
        head = exchange.head()
        for key in (trader.api.key, second):
            refused = [api.as_key(key).post("/orders", trader.order(market)) for _ in range(2)]
            assert_limited(refused[-1], "writes")
        assert_limited(at(api, trader).post("/orders/batch", batch), "writes")
        assert len(exchange.events_after(head)) <= 2
        assert at(api, other).post("/orders", other.order(market)).status_code == 201
        assert at(api, trader).get("/markets").status_code == 200


def test_reads_are_limited_by_key_or_by_address(exchange: Exchange) -> None:
    """Costly ones more than others."""
    trader = exchange.trader()
    costly = f"/accounts/{trader.account_id}/equity-history"
    limits = {"address_reads_per_second": 1, "key_reads_per_second": 2, "burst_ms": 3_000}
    with serving(exchange, **limits, key_costly_reads_per_second=0.5) as api:
        nobody = api.as_key(None)
        assert [nobody.get("/markets").status_code for _ in range(5)][2:] == [200, 429, 429]
        assert_limited(nobody.get("/markets"), "reads")
        assert at(api, trader).get(costly).status_code == 200
        assert_limited(at(api, trader).get(costly), "costly_reads")
        assert [at(api, trader).get("/markets").status_code for _ in range(4)] == [200] * 4
        assert 429 in {at(api, trader).get("/markets").status_code for _ in range(5)}
        assert api.get("/markets").status_code == 200


@pytest.mark.parametrize(("proxies", "codes"), [("", [200, 200, 429, 429]), ("10.0.0.1, 127.0.0.1", [200] * 4)])
def test_only_a_proxy_of_the_settings_names_other_addresses(exchange: Exchange, proxies: str, codes: list[int]) -> None:
    """Nobody else gets new buckets by a header."""
    with serving(exchange, address_reads_per_second=0.02, burst_ms=100_000, proxies=proxies) as api:
        sources = [{"x-forwarded-for": f"192.0.2.{number}"} for number in range(4)]
        nobody = api.as_key(None)
        assert [nobody.send("GET", "/markets", headers=source).status_code for source in sources] == codes


def test_an_address_cannot_try_many_keys(exchange: Exchange) -> None:
    """It is refused before the database is asked; whoever has a valid key at the same address is served."""
    with serving(exchange, failed_keys_per_second=0.01, burst_ms=500_000) as api:
        assert api.get("/markets").status_code == 200
        codes = [api.as_key(f"guess {number}").get("/markets").status_code for number in range(8)]
        assert codes == [401] * 5 + [429] * 3
        assert_limited(api.as_key("another").get("/markets"), "failed_keys")
        assert api.get("/markets").status_code == 200
        assert api.as_key(None).get("/markets").status_code == 200


def test_refused_orders_do_not_grow_the_log_without_bound(exchange: Exchange) -> None:
    """Refusals above the rate are answered and not recorded, singly and in batches; quotes are free."""
    market, trader = exchange.market()["market_id"], exchange.trader()
    with serving(exchange, refusals_per_second=1, burst_ms=10_000) as api:
        mine = at(api, trader)
        head = exchange.head()
        for _ in range(30):
            assert mine.post("/quotes", quote(trader, market)).status_code == 422
        assert exchange.head() == head
        codes = [mine.post("/orders", dear(trader, market)).status_code for _ in range(30)]
        assert set(codes) == {422, 429}
        assert 10 <= codes.count(422) <= 12
        assert_limited(mine.post("/orders", dear(trader, market)), "refusals")
        for _ in range(3):
            assert_limited(
                mine.post("/orders/batch", {"orders": [dear(trader, market) for _ in range(50)]}), "refusals"
            )
        assert len(exchange.events_after(head)) <= 13


def dear(trader: Trader, market: str) -> dict[str, Any]:
    """Return an order that its account cannot pay."""
    return trader.order(market, quantity=None, spend="100000")


def quote(trader: Trader, market: str) -> dict[str, Any]:
    """Return the same, to ask for its price."""
    return {name: value for name, value in dear(trader, market).items() if name != "client_order_id"}


def test_large_bodies_count_as_many_writes(exchange: Exchange) -> None:
    """What is costly to read is not cheap to send."""
    with serving(exchange, key_writes_per_second=1, burst_ms=100_000) as api:
        body = {"nothing": "x" * 300_000}
        codes = [api.post("/accounts", body).status_code for _ in range(4)]
        assert codes == [422, 422, 429, 429]


def test_a_key_can_have_rates_of_its_own(exchange: Exchange) -> None:
    """`tidings keys create --limits` gives them."""
    settings, trader = exchange.running.settings, exchange.trader()
    create = ("keys", "create", "--role", "trader", "--account", trader.account_id)
    made = tidings(settings, *create, "--limits", "reads=0.2, writes=0")
    key = made.stdout.strip()
    with serving(exchange, burst_ms=10_000) as api:
        codes = [api.as_key(key).get("/markets").status_code for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        assert at(api, trader).get("/markets").status_code == 200


@pytest.mark.parametrize(
    "text", ["", "writes", "writes=", "writes=x", "writes=-1", "writes=nan", "writes=1e9", "more=1"]
)
def test_wrong_rates_are_refused(text: str) -> None:
    """With a text that says what is expected."""
    with pytest.raises(ValueError, match="expected"):
        rates_of(text)
    assert rates_of("writes=1, costly_reads=0.5") == {"writes": 1.0, "costly_reads": 0.5}


@given(
    rate=st.integers(1, 1_000),
    burst=st.integers(1, 60),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=60),
)
def test_no_bucket_gives_more_than_flows_into_it(rate: int, burst: int, steps: list[tuple[float, int]]) -> None:
    """In any span of time at most burst and rate; and it gives all of that to whoever waits as long as it says."""
    now = 0.0
    buckets = Buckets(burst, lambda: now)
    taken = 0.0
    for pause, wanted in steps:
        now += pause
        cost = min(wanted, rate * burst)
        wait = buckets.take("a", rate, cost)
        if wait is not None:
            assert 0 <= wait.left < cost
            now += wait.seconds
            assert buckets.take("a", rate, cost) is None
        taken += cost
        assert taken <= rate * (burst + now) + 1e-3
        assert buckets.take("b", 0, 1e9) is None, "no limit"


def test_buckets_forget_who_was_away_the_longest() -> None:
    """So no flood of addresses takes the memory."""
    buckets = Buckets(10, lambda: 0.0)
    for number in range(SUBJECTS_MAX + 10):
        buckets.take(str(number), 1)
    assert len(buckets._full_at) == SUBJECTS_MAX


def test_costly_reads_are_known_by_their_path() -> None:
    """And by the past that they ask for."""
    assert kind_of("GET", "/v1/leaderboard", b"") == "reads"
    assert kind_of("GET", "/v1/leaderboard", b"as_of_position=7") == "costly_reads"
    assert kind_of("HEAD", "/v1/accounts/x/equity-history", b"") == "costly_reads"
    assert kind_of("POST", "/v1/orders", b"") == kind_of("DELETE", "/v1/orders/x", b"") == "writes"
