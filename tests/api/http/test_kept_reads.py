"""The fast path of reads: what is kept reaches no route, but counts, is limited and is told as ever."""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import httpx

from api.http.server import HttpServer
from local.processes import polls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from tests.api.conftest import Exchange

PATH = "/v1/leaderboard"


@contextmanager
def serving(exchange: Exchange, **limits: Any) -> Iterator[tuple[httpx.Client, list[str]]]:
    """Serve the exchange with these limits; the list gets the path of each request that reaches FastAPI."""
    for _ in polls(10):  # nothing moves on while a test asks
        at = {"min_position": exchange.head()}
        if exchange.api.client.get(PATH, params=at, headers=exchange.api.headers).is_success:
            break
    dependencies = copy(exchange.running.dependencies)
    dependencies.settings = exchange.running.settings.model_copy(update={"stop_ms": 1_000, **limits})
    app = dependencies.app(exchange.running.gateway)
    usual, routed = app.kept_reads._app, []  # type: ignore[attr-defined]

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        routed.append(scope["path"])
        await usual(scope, receive, send)

    app.kept_reads._app = note  # type: ignore[attr-defined]
    with HttpServer(app, dependencies.settings) as server, httpx.Client(base_url=server.url) as client:
        yield client, routed


def test_what_is_kept_reaches_no_route(exchange: Exchange) -> None:
    """Its answers have the headers of the first one, and another id; the metrics count it under its route."""
    with serving(exchange) as (client, routed):
        first, again = client.get(PATH), client.get(PATH)
        assert first.status_code == 200, first.text
        known = client.get(PATH, headers={"if-none-match": first.headers["etag"], "x-request-id": "mine"})
        assert routed == [PATH]
        assert (first.status_code, again.status_code, known.status_code) == (200, 200, 304)
        assert again.content == first.content
        assert known.content == b""
        assert known.headers["x-request-id"] == "mine" != again.headers["x-request-id"] != first.headers["x-request-id"]
        for name in first.headers.keys() - {"x-request-id", "date"}:
            assert again.headers[name] == first.headers[name], name
        metrics = client.get("/metrics", headers={"authorization": exchange.api.headers["authorization"]}).text
        assert f'route="{PATH}",status="304"}} 1.0' in metrics
        assert f'route="{PATH}",status="200"}} 2.0' in metrics


def test_what_is_kept_counts_for_the_limits(exchange: Exchange) -> None:
    """A caller without tokens gets no answer that is kept, and each answer takes one token."""
    with serving(exchange, address_reads_per_second=0.001, burst_ms=3_000_000) as (client, _):
        assert [client.get(PATH).status_code for _ in range(5)] == [200, 200, 200, 429, 429]


def test_what_is_kept_for_a_key_is_shown_to_no_other(exchange: Exchange) -> None:
    """Neither another key, nor nobody, nor an unknown key gets a private answer that is kept, and HEAD has no body."""
    trader, other = exchange.trader("100"), exchange.trader("100")
    path = f"/v1/accounts/{trader.account_id}/orders"
    with serving(exchange) as (client, _):
        keys = [trader.api.headers, trader.api.headers, other.api.headers, {}, {"authorization": "Bearer none"}]
        assert [client.get(path, headers=each).status_code for each in keys] == [200, 200, 403, 401, 401]
        assert client.head(PATH).content == client.head(PATH).content == b""


def test_a_slash_inside_of_a_name_is_no_slash_between_names(exchange: Exchange) -> None:
    """The account `a/positions` takes nothing from what is kept of the positions of the account `a`."""
    trader = exchange.trader("100")
    path = f"/v1/accounts/{trader.account_id}"
    with serving(exchange) as (client, _):
        for _ in range(2):
            assert client.get(f"{path}/positions").status_code == 200
            assert client.get(f"{path}%2Fpositions").status_code == 404
