"""Pages of every list: whatever the limit, they are the whole list, also while the exchange goes on."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from local.postgres import create_database, drop_database
from tests.api.conftest import connected, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.conftest import Api, Exchange

PERIODS = {"period": "1m"}

LISTS: dict[str, tuple[dict[str, Any], int]] = {
    "/stories": ({}, 1000),
    "/stories/{s}": ({}, 1000),
    "/markets": ({"status": "active"}, 1000),
    "/markets?sort=volume": ({"sort": "volume"}, 1000),
    "/markets?q": ({"q": "story"}, 1000),
    "{m}/prices-history": ({}, 10_000),
    "{m}/prices-history?outcome=Yes": ({"outcome": "Yes"}, 10_000),
    "{m}/prices-history?fidelity=1": ({"fidelity": 1}, 10_000),
    "{m}/candlesticks": (PERIODS | {"start": "2001-01-01T00:00:00Z"}, 5000),
    "{m}/candlesticks?outcome=No": (PERIODS | {"outcome": "No"}, 5000),
    "{m}/trades": ({}, 1000),
    "{m}/events": ({}, 1000),
    "{m}/holders": ({}, 1000),
    "{m}/holders?outcome=Yes": ({"outcome": "Yes"}, 1000),
    "/accounts": ({}, 1000),
    "{a}/positions": ({"closed": True}, 1000),
    "{a}/positions?open": ({}, 1000),
    "{a}/portfolio": ({}, 1000),
    "{a}/orders": ({}, 1000),
    "{a}/fills": ({}, 1000),
    "/orders": ({}, 1000),
    "/orders?market": ({"status": "filled,resting"}, 1000),
    "/trades": ({}, 1000),
    "{a}/settlements": ({}, 1000),
    "{a}/ledger": ({}, 1000),
    "{a}/equity-history": ({"step": "1m", "start": "2001-01-01T00:00:00Z"}, 1000),
    "/leaderboard": ({}, 1000),
    "/leaderboard?sort=volume": ({"sort": "volume", "window": "week"}, 1000),
    "/events?type": ({"type": "MarketActivated,CashDeposited"}, 1000),
    "/events?before": ({"type": "OrderPlaced,MarketClosed", "before": 2**62}, 1000),
    "/events?start": ({"start": "2024-10-24T00:16:00Z", "end": "2024-10-24T00:17:00Z"}, 1000),
}
"""Every list by its path (what follows a question mark only tells them apart): its parameters and its largest limit."""

WHOLE = {"{m}/book": {}, "/keys": {}}
"""The lists that come in one page."""


class Busy:
    """An exchange with a few markets and traders, some settled; `trade` lets it go on, 40 seconds later."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.api = exchange, exchange.api
        self.time = datetime(2024, 10, 24, tzinfo=UTC)
        self.wait()
        self.market = exchange.market(outcomes=["Yes", "No", "Maybe"])
        others = [exchange.market() for _ in range(3)]
        story = self.market["story_id"]
        for number in range(3):
            terms = {"slug": f"more-{number}", "question": "And?", "outcomes": ["a", "b"], "subsidy": "50"}
            more = {"close_time": "2090-01-01T00:00:00Z", "resolution_source": "The test"}
            others.append(exchange.api.done(f"/stories/{story}/markets", terms | more))
        self.traders = [exchange.trader("1000") for _ in range(4)]
        for number, trader in enumerate(self.traders):
            for market in others[:3]:
                trader.place(market["market_id"], quantity=str(number + 1))
            trader.place(self.market["market_id"], quantity="2")
        self.account = self.traders[0]
        for market in others[:2]:
            path = f"/markets/{market['market_id']}"
            self.api.done(f"{path}/close")
            self.api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": {"text": "so"}})
            self.api.done(f"{path}/finalize")
        self._next = itertools.cycle(itertools.product(self.traders, ["Yes", "No", "Maybe"]))
        self.position = 0
        for _ in range(12):
            self.trade()

    def wait(self) -> None:
        """Let 40 seconds pass."""
        self.time += timedelta(seconds=40)
        self.api.client.headers["tidings-time"] = self.time.isoformat()

    def trade(self) -> None:
        """Let the next trader buy, and remember the position."""
        self.wait()
        trader, outcome = next(self._next)
        self.position = trader.place(self.market["market_id"], outcome=outcome, quantity="1.5")["position"]

    def grow(self) -> None:
        """Add a row to every list that may get one: a story, a market, an account, an order that rests, and a trade."""
        self.wait()
        self.exchange.market()
        self.exchange.trader("5")
        self.account.place(self.market["market_id"], type="limit", limit_price="0.001", quantity="10")
        self.trade()

    def path(self, name: str) -> str:
        """Return the path of a list."""
        places = {"m": f"/markets/{self.market['market_id']}", "a": f"/accounts/{self.account.account_id}"}
        return name.partition("?")[0].format(**places, s=self.market["story_id"])


@pytest.fixture(scope="module")
def busy(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    """An exchange of its own, so that its lists are short enough to be read row by row."""
    name = f"pages_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    with start(
        make_conninfo(postgres_dsn, dbname=name),
        tmp_path_factory.mktemp("pages"),
        clock="command",
        key_costly_reads_per_second=0,
    ) as running:
        found = connected(running)
        yield Busy(found)
        found.api.client.close()
    drop_database(postgres_dsn, name)


def rows_of(body: dict[str, Any]) -> list[Any]:
    """Return the rows of a list's page."""
    data = body["data"]
    if isinstance(data, list):
        return data
    for name in ("markets", "positions"):
        if name in data:
            return list(data[name])
    histories = data.get("histories", [data])
    points = [{"outcome": each["outcome"], **point} for each in histories for point in each["history"]]
    order = [each["outcome"] for each in histories]
    return sorted(points, key=lambda point: (point["position"], order.index(point["outcome"])))


def pages(busy: Busy, name: str, limit: int, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Yield the pages of a list; the exchange goes on after each of the first three."""
    cursor: dict[str, str] = {}
    for number in itertools.count():
        response = busy.api.get(busy.path(name), limit=limit, **parameters, **cursor)
        assert response.status_code == 200, response.text
        body = response.json()
        yield body
        if body["next_cursor"] is None:
            return
        cursor = {"cursor": body["next_cursor"]}
        if number < 3:
            busy.trade() if number else busy.grow()
            parameters["min_position"] = busy.position


@pytest.mark.parametrize("name", LISTS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 7))
def test_the_pages_of_any_limit_are_the_whole(busy: Busy, name: str, limit: int) -> None:
    """In order, without a double, while trades come in between the pages, which all stand for the first one's position."""
    parameters, most = LISTS[name]
    parameters = parameters | {"min_position": busy.position}
    whole = busy.api.get(busy.path(name), limit=most, **parameters).json()
    assert whole["next_cursor"] is None

    seen = [*pages(busy, name, limit, **parameters)]

    found, expected = [row for page in seen for row in rows_of(page)], rows_of(whole)
    assert {page["as_of"]["position"] for page in seen} == {whole["as_of"]["position"]}
    assert found == expected
    assert len(expected) > 1
    counted = [len(rows_of(page)) for page in seen]
    assert 0 not in counted
    assert max(counted) <= max(limit, 3)  # the three outcomes of one event or period are together


@pytest.mark.parametrize("name", WHOLE)
def test_some_lists_come_in_one_page(busy: Busy, name: str) -> None:
    """They say so with a cursor of null."""
    assert busy.api.get(busy.path(name)).json()["next_cursor"] is None


def test_a_cursor_keeps_the_position_that_was_asked_for(busy: Busy) -> None:
    """Pages of the past, by position or by time, stay at that position."""
    market = busy.api.data(busy.path("{m}"), min_position=busy.position)
    busy.trade()
    for parameters in ({"as_of_position": market["position"]}, {"as_of": market["time"]}):
        whole = busy.api.get(busy.path("{m}/trades"), limit=1000, **parameters).json()
        seen = [*pages(busy, "{m}/trades", 5, **parameters)]
        assert [row for page in seen for row in page["data"]] == whole["data"]
        assert {page["as_of"]["position"] for page in seen} == {whole["as_of"]["position"]}


def test_a_cursor_ahead_of_the_log_is_not_answered(busy: Busy) -> None:
    """It is forged, or of a read model that has not caught up: 503, as with `as_of_position`."""
    path = busy.path("{m}/trades")
    ahead = busy.api.get(path, limit=1, as_of_position=2**62, wait_ms=0)
    assert (ahead.status_code, ahead.json()["code"]) == (503, "NOT_YET_PROJECTED")


def lists_without_cursor(api: Api) -> list[str]:
    """Return the list routes of the OpenAPI page that take a limit but no cursor."""
    paths = api.client.get("/openapi.json").json()["paths"]
    names = {
        path: {each["name"] for each in methods.get("get", {}).get("parameters", [])} for path, methods in paths.items()
    }
    return [path for path, parameters in names.items() if "limit" in parameters and "cursor" not in parameters]


def test_whatever_has_a_limit_has_a_cursor(busy: Busy) -> None:
    """No list is cut for good."""
    assert lists_without_cursor(busy.api) == []
