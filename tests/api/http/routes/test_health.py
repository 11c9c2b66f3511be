"""Health, readiness, positions, and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.consumers.checks import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.api.conftest import Exchange


def test_alive_and_ready(exchange: Exchange) -> None:
    """Both answer without a key."""
    client = exchange.api.client

    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_not_ready_without_an_engine(database: str, tmp_path: Path, begin: Callable[[str, Path], Exchange]) -> None:
    """The process is ready as soon as the engine answers, and no longer once it does not, with what is missing."""
    exchange = begin(database, tmp_path)
    client = exchange.api.client
    assert eventually(lambda: client.get("/readyz").status_code == 200)

    exchange.running.engine.stop()

    assert eventually(lambda: client.get("/readyz").status_code == 503)
    assert client.get("/readyz").json() == {"status": "not ready", "missing": ["engine"]}
    assert client.get("/healthz").status_code == 200


def test_positions_of_engine_and_read_models(exchange: Exchange) -> None:
    """After a read of a write, the log and the read model have reached at least the position of the write."""
    position = exchange.trader("10").place(exchange.market()["market_id"])["position"]
    exchange.api.data("/markets", min_position=position)

    status = exchange.api.data("/status")

    assert status["engine"]["position"] >= position
    markets = next(row for row in status["projections"] if row["projection"] == "markets")
    assert markets["position"] >= position
    assert {"lag_events", "lag_seconds", "parked"} <= set(markets)


def test_metrics_by_route(exchange: Exchange) -> None:
    """The metrics have routes by template, so that ids make no new series, and read models by name."""
    exchange.api.get("/markets/nowhere")
    exchange.api.as_key(None).post("/orders")
    exchange.api.get("/nowhere/at-all")

    text = exchange.api.client.get("/metrics", headers=exchange.api.headers).text

    assert 'route="/v1/markets/{market}",status="404"' in text
    assert 'route="/v1/orders",status="401"' in text
    assert 'route="unmatched",status="404"' in text
    assert "nowhere" not in text
    assert 'tidings_projection_lag_events{partition="0",projection="markets"}' in text


def test_metrics_of_the_engine_in_the_same_process(exchange: Exchange) -> None:
    """`serve` shows its engine's numbers beside its own."""
    text = exchange.api.client.get("/metrics", headers=exchange.api.headers).text

    assert 'tidings_engine_state{state="serving"} 1.0' in text
    assert "tidings_engine_append_seconds_bucket" in text
