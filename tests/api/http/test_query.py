"""Query strings: OpenAPI lists exactly the parameters that a route takes; others, and repeated ones, are a 400."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.errors import ApiError
from api.http.reads import query_time
from messages.wire import TIME_MAX, format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.api.conftest import Exchange

ROUTES_MIN = 40  # fewer mean that this test has lost sight of them
TIMES_MIN = 20  # parameters that are times, of all routes
TIME_NAMES = {"start", "end", "as_of", "closes_before"}

BAD_TIMES = ["-1", "253402300800", "253402300799.9999999", "1731405720000000", "9" * 400, "1e9", "0x10", "nan", "١٢", "",
             "2024-11-31", "1969-12-31", "10000-01-01", "2024-11", "20241112T000000Z", "2024-11-12T10:02:00", "yesterday",
             "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-00:01"]  # fmt: skip


LISTS = {"/v1/stream": {"market"}}
"""The parameters that may stand more than once."""


def operations(exchange: Exchange) -> Iterator[tuple[str, str, set[str], Any]]:
    """Method, path with some value for each parameter, names of the query parameters, and a body if it takes one."""
    paths = exchange.api.client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            names = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
            yield method, re.sub(r"\{\w+\}", "x", path), names, {} if "requestBody" in operation else None


def sent(exchange: Exchange, method: str, url: str, body: Any) -> httpx.Response:
    """The answer to an operator's request, also outside of /v1."""
    return exchange.api.client.request(method, url, json=body, headers={"authorization": f"Bearer {exchange.api.key}"})


def test_openapi_lists_what_every_route_takes(exchange: Exchange) -> None:
    """A route refuses any other parameter, names it, and says which ones it has: those of OpenAPI."""
    before, routes = exchange.head(), 0
    for method, path, names, body in operations(exchange):
        routes += 1
        answer = sent(exchange, method, f"{path}?nonsense=1&min_positon=2&nonsense=3", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "UNKNOWN_PARAMETER"), (method, path)
        assert answer.json()["details"] == {"parameters": ["nonsense", "min_positon"], "known": sorted(names)}

    assert routes >= ROUTES_MIN
    assert exchange.head() == before


def test_no_parameter_may_stand_twice(exchange: Exchange) -> None:
    """Not even with the same value: which of two counts would be a guess."""
    for method, path, names, body in operations(exchange):
        for name in names - LISTS.get(path, set()):
            answer = sent(exchange, method, f"{path}?{name}=1&{name}=2", body)
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY"), (method, path, name)
            assert answer.json()["details"] == {"parameters": [name]}


@pytest.mark.parametrize("path", ["/orders", "/orders/batch"])
def test_the_fast_path_refuses_them_too(exchange: Exchange, path: str) -> None:
    """An order with a parameter is not placed; `?` alone is no parameter."""
    trader, market = exchange.trader(), exchange.market()
    order = trader.order(market["market_id"])
    body = order if path == "/orders" else {"orders": [order]}
    before = exchange.head()

    refused = trader.api.post(f"{path}?dry_run=true", body)

    assert (refused.status_code, refused.json()["code"]) == (400, "UNKNOWN_PARAMETER")
    assert exchange.head() == before
    assert trader.api.post(f"{path}?", body).is_success


def test_every_time_has_the_same_forms(exchange: Exchange) -> None:
    """RFC 3339, a date and seconds are taken by every parameter that is a time, and nothing else is."""
    market, trader = exchange.market(), exchange.trader()
    times = 0
    for method, path, names, body in operations(exchange):
        real = path.replace("markets/x", f"markets/{market['slug']}").replace(
            "accounts/x", f"accounts/{trader.account_id}"
        )
        real = real.replace("stories/x", f"stories/{market['story_id']}")
        named = f"&markets={market['slug']}" if "markets" in names else ""
        for name in names & TIME_NAMES:
            times += 1
            for good in ("2090-01-01", "3786912000", "3786912000.000000", "2090-01-01T00:00:00Z"):
                answer = sent(exchange, method, f"{real}?{name}={good}{named}", body)
                # A start so late is after every end, which some routes refuse in other words.
                assert answer.status_code == 200 or "must be a time" not in answer.text, (real, name, good)
            for bad in ("-1", "253402300800", "2024-11-31"):
                answer = sent(exchange, method, f"{real}?{name}={bad}{named}", body)
                assert (answer.status_code, answer.json()["details"]["field"]) == (422, name), (real, name, bad)
                assert "from 1970 to 9999" in answer.json()["message"]

    assert times >= TIMES_MIN


def test_a_date_is_its_first_moment(exchange: Exchange) -> None:
    """The answers to three forms of the same time are equal."""
    trader, market = exchange.trader(), exchange.market()
    position = trader.place(market["market_id"])["position"]
    path = f"/markets/{market['market_id']}/candlesticks"

    ranges = [
        ("2024-11-12", "2024-11-13"),
        ("1731369600", "1731456000.0"),
        ("2024-11-12T00:00:00Z", "2024-11-13T01:00:00+01:00"),
    ]
    first, *others = [
        exchange.api.data(path, period="1h", start=start, end=end, min_position=position) for start, end in ranges
    ]

    assert all(other == first for other in others)


@given(micros=st.integers(0, TIME_MAX))
def test_seconds_are_exact(micros: int) -> None:
    """Every microsecond has the same number in both forms; trailing zeros do not matter."""
    seconds = f"{micros // 1_000_000}.{micros % 1_000_000:06}"

    assert query_time("as_of", seconds) == micros == query_time("as_of", format_time(micros))
    assert query_time("as_of", seconds.rstrip("0").rstrip(".") if "." in seconds else seconds) == micros
    day = format_time(micros)[:10]
    assert query_time("as_of", day) == parse_time(f"{day}T00:00:00Z")


@pytest.mark.parametrize("text", BAD_TIMES)
def test_other_times_are_refused(text: str) -> None:
    """The error names the parameter and the limits."""
    with pytest.raises(ApiError) as raised:
        query_time("closes_before", text)

    assert (raised.value.code, raised.value.details["field"]) == ("INVALID_FIELD", "closes_before")
    assert "from 1970 to 9999" in raised.value.message


@pytest.mark.parametrize("text", ["2024-11-12", "1731405720", 1731405720])
def test_bodies_take_rfc_3339_alone(exchange: Exchange, text: Any) -> None:
    """A date in a body would leave open which hour closes a market; the error names the field and the form."""
    story = {"title": "A story", "body": "Something happened.", "category": "tests"}

    answer = exchange.api.post("/stories", story | {"published_at": text})

    assert (answer.status_code, answer.json()["details"]["field"]) == (422, "published_at")
    assert "RFC 3339" in answer.json()["message"]
