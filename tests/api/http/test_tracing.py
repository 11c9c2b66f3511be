"""Traces over the whole way of an order, with the log in Kafka, and what is not there while they are off."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import SecretStr

from api.processes import HttpProcess
from consumers.kafka.log_settings import log_settings
from consumers.kafka.records import FROM_HTTP, RecordReader
from consumers.kafka.topics import COMMANDS, ensure_topics, topic_name
from eventsourcing_kafka.reader import Reader
from local.processes import polls
from tests.api.conftest import OPERATOR_KEY, Exchange, connected
from tests.consumers.processes import ROOT, EngineProcess, kafka_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from settings import Settings

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@dataclass
class Receiver:
    """A receiver of OTLP over HTTP: the address, and the spans that have come, by trace."""

    url: str
    traces: dict[str, list[Any]] = field(default_factory=dict)

    def take(self, body: bytes) -> None:
        """Keep the spans of a request, each with the name of its process."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    spans = self.traces.setdefault(span.trace_id.hex(), [])
                    spans.append((named["service.name"], named["tidings.process"], span))

    def wait_for(self, trace: str, *processes: str) -> list[Any]:
        """Return the spans of a trace once it has one of each process."""
        for _ in polls(30):
            spans = list(self.traces.get(trace, ()))
            if {process for _, process, _ in spans} >= set(processes):
                return spans
        raise TimeoutError(f"{trace} has only {self.traces.get(trace)}")


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the standard variables name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "exchange-7")
        thread = Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@contextmanager
def exchange_over_kafka(settings: Settings) -> Iterator[Exchange]:
    """Run engine and projector as processes of their own, and the API in this one."""
    ensure_topics(settings)
    shared = {"TIDINGS_DSN": settings.dsn or "", "TIDINGS_TRACES": str(settings.traces).lower()}
    with ExitStack() as stack:
        for command in ("engine", "projector"):
            output = settings.home / f"{command}.log"
            stack.enter_context(EngineProcess(settings, output, environment=shared, command=command))
        exchange = connected(stack.enter_context(HttpProcess(settings)))
        stack.callback(exchange.api.client.close)
        yield exchange


@pytest.fixture
def settings(kafka: str, topic_prefix: str, database: str, tmp_path: Path) -> Settings:
    """The settings of an exchange without traces."""
    return kafka_settings(tmp_path, kafka, topic_prefix).model_copy(
        update={"dsn": database, "port": 0, "operator_key": SecretStr(OPERATOR_KEY)}
    )


def records(settings: Settings) -> tuple[list[Any], list[Any]]:
    """Return the headers of all records of commands, and of all records with events."""
    reader = RecordReader(settings, topic_name(settings, COMMANDS), 0)
    try:
        first, end = reader.ends()
        reader.seek(first)
        commands: list[Any] = []
        while len(commands) < end:
            commands += [record.headers() for record in reader.take(100, 5)]
    finally:
        reader.close()
    with Reader(log_settings(settings)) as log:
        return commands, [batch.headers for batch in log.read_to(log.end())]


def test_an_order_has_one_trace(receiver: Receiver, settings: Settings) -> None:
    """From the caller's span through request, send and append to the transaction that folds it."""
    with exchange_over_kafka(settings.model_copy(update={"traces": True})) as exchange:
        market = exchange.market()
        trader = exchange.trader()
        traced = trader.api.client.post(
            "/v1/orders",
            json=trader.order(market["market_id"]),
            headers={"Authorization": f"Bearer {trader.api.key}", "traceparent": f"00-{TRACE}-{CALLER}-01"},
        )
        assert traced.status_code == 201
        position = traced.json()["position"]
        spans = receiver.wait_for(TRACE, "api", "engine", "projector")
        unsampled = "1" * 32
        again = trader.api.client.post(
            "/v1/orders",
            json=trader.order(market["market_id"]),
            headers={"Authorization": f"Bearer {trader.api.key}", "traceparent": f"00-{unsampled}-{CALLER}-00"},
        )
        assert again.status_code == 201
        last = again.json()["position"]
        assert exchange.api.data(f"/accounts/{trader.account_id}/orders", min_position=last)
    named = {span.name: span for _, _, span in spans}
    folds = [span for _, _, span in spans if span.name == "fold"]

    topic = topic_name(settings, COMMANDS)
    assert {service for service, _, _ in spans} == {"exchange-7"}
    assert set(named) == {"POST /v1/orders", f"send {topic}", "append", "fold"}
    assert named["POST /v1/orders"].parent_span_id.hex() == CALLER
    assert named[f"send {topic}"].parent_span_id == named["POST /v1/orders"].span_id
    assert named["append"].parent_span_id == named[f"send {topic}"].span_id
    assert {span.parent_span_id for span in folds} == {named["append"].span_id}
    read_models = [
        value.string_value
        for span in folds
        for each in span.attributes
        if each.key == "tidings.read_models"
        for value in each.value.array_value.values
    ]
    assert len(read_models) == len(set(read_models)), "each read model folds it once"
    noted = {each.key: each.value for each in named["append"].attributes}
    assert noted["tidings.position"].int_value == position
    assert noted["tidings.command"].string_value == "PlaceOrder"
    for before, after in (("POST /v1/orders", "append"), ("append", "fold")):
        assert named[before].start_time_unix_nano <= named[after].start_time_unix_nano
    assert unsampled not in receiver.traces


def test_without_traces_nobody_sees_a_header(settings: Settings) -> None:
    """Neither the commands nor the log, also where the caller asks for a trace."""
    with exchange_over_kafka(settings) as exchange:
        answer = exchange.api.client.post(
            "/v1/accounts",
            json={"name": "ada"},
            headers={"Authorization": f"Bearer {OPERATOR_KEY}", "traceparent": f"00-{TRACE}-{CALLER}-01"},
        )
        assert answer.status_code == 201
        commands, events = records(settings)

    assert commands, "the account was opened by a command"
    assert [headers for headers in commands if headers != FROM_HTTP] == []
    assert events, "it is in the log"
    assert [headers for headers in events if headers is not None] == []


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("consumers.run_engine, consumers.projector.projector, tidings_client.kafka", "opentelemetry"),
        # FastAPI itself imports the API of OpenTelemetry, which does nothing without an SDK.
        ("api.processes", "opentelemetry.sdk"),
        ("api.processes", "consumers.traces"),
    ],
)
def test_without_traces_nobody_imports_opentelemetry(modules: str, absent: str) -> None:
    """It is an extra: the processes run where it is not installed."""
    code = f"import sys, {modules}; print([name for name in sys.modules if name.startswith({absent!r})])"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
