"""The server of `TIDINGS_OPS_PORT` in processes that serve no other HTTP."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from consumers.kafka.topics import ensure_topics
from consumers.ops_server import PortTakenError, ops_server
from local.processes import free_port
from settings import Settings
from tests.consumers.checks import eventually
from tests.consumers.processes import EngineProcess, kafka_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_health_readiness_and_metrics() -> None:
    """Ready while nothing is missing, else 503 with what is; metrics of the process and of the given registry."""
    missing: list[str] = []
    registry = CollectorRegistry()
    Gauge("tidings_of_a_test", "A number", registry=registry).set(7)
    with ops_server(Settings(ops_port=0), lambda: missing, registry) as url, httpx.Client(base_url=url or "") as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready"}
        missing.append("database")
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "missing": ["database"]})
        assert "tidings_of_a_test 7.0" in client.get("/metrics").text
        assert client.get("/anything").status_code == 404
        with closing(HTTPConnection(str(url).removeprefix("http://"))) as connection:
            connection.request("POST", "/metrics")
            assert connection.getresponse().status == 501


def test_no_server_without_a_port_and_one_process_a_port() -> None:
    """A port that is taken is refused with the setting that chooses another one."""
    with ops_server(Settings(), list) as url:
        assert url is None
    with ops_server(Settings(ops_port=0), list) as url:
        assert url is not None
        port = int(url.rpartition(":")[2])
        with pytest.raises(PortTakenError, match="TIDINGS_OPS_PORT"), ops_server(Settings(ops_port=port), list):
            pass


def test_each_process_serves_its_own_numbers(kafka: str, topic_prefix: str, database: str, tmp_path: Path) -> None:
    """Each process answers on a port of its own; a second one on the same port ends with a sentence."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(settings)
    ports = {name: free_port() for name in ("engine", "projector", "feed", "orders")}

    def process(name: str, output: str) -> EngineProcess:
        environment = {"TIDINGS_OPS_PORT": str(ports[name]), "TIDINGS_DSN": database}
        return EngineProcess(settings, tmp_path / f"{output}.log", environment=environment, command=name)

    def is_ready(name: str) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{ports[name]}/readyz").json() == {"status": "ready"}
        except (httpx.HTTPError, json.JSONDecodeError):
            return False

    def metrics(name: str) -> str:
        return httpx.get(f"http://127.0.0.1:{ports[name]}/metrics").text

    with ExitStack() as stack:
        running = {name: stack.enter_context(process(name, name)) for name in ports}
        engine = running["engine"]
        for name in ports:
            assert eventually(partial(is_ready, name), 30), running[name].output
        assert 'tidings_engine_state{state="serving"} 1.0' in metrics("engine")
        assert eventually(
            lambda: 'tidings_projection_position{partition="0",projection="markets"}' in metrics("projector")
        )
        assert "tidings_status_up 1.0" in metrics("projector")
        assert "tidings_projector_transaction_seconds_count" in metrics("projector")
        assert "tidings_feed_position" in metrics("feed")
        assert "tidings_unreadable_records" in metrics("orders")
        with process("feed", "second") as second:
            assert second.wait() == 3
            assert "TIDINGS_OPS_PORT" in second.output
        engine.send(signal.SIGTERM)
        assert engine.wait() == 0
