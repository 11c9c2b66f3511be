"""The spans of engine and projector: whose they are, when they end, and that nothing is kept for long."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import pytest
from eventsourcing.persistence import StoredEvent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from consumers.traces import CLOSE_SECONDS, AppendSpans, FoldSpans, Traces
from local.processes import free_port
from messages.commands import AdvanceTime, Submitted
from messages.replies import Reply
from settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Tracer

SPAN = "b7ad6b7169203331"


def traceparent(number: int, flags: str = "01") -> tuple[str, bytes]:
    """Return the header of a trace."""
    return "traceparent", f"00-{number:032x}-{SPAN}-{flags}".encode()


def command(command_id: str) -> Submitted:
    """Return a command with this id."""
    return Submitted(command_id, AdvanceTime(), "digest", None, None, "AdvanceTime", b"{}")


def event(command_id: str) -> StoredEvent:
    """Return an event of a command, as the log has it."""
    return StoredEvent("market-1", 1, "T.v1", b'{"command_id":"%s","time":1,"data":{}}' % command_id.encode())


class Memory:
    """The spans that have ended, in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer: Tracer = self.provider.get_tracer("test")

    def found(self) -> list[tuple[str, int]]:
        """Return the name and the trace of each."""
        return [(span.name, span.context.trace_id) for span in self.exporter.get_finished_spans()]


@pytest.fixture
def memory() -> Iterator[Memory]:
    """Where spans are kept."""
    memory = Memory()
    yield memory
    memory.provider.shutdown()


def test_each_sampled_command_of_an_append_names_its_trace(memory: Memory) -> None:
    """Once, however many events it has; nobody else's command, and not in the next append."""
    spans = AppendSpans(memory.tracer)
    spans.take([command("a"), command("b")], [traceparent(1)])
    spans.take([command("c")], [traceparent(2, "00")])
    spans.take([command("d")], [("sender", b"http")])

    headers = spans.begin_append([event("a"), event("a"), event("c"), event("d"), event("")])
    again = spans.begin_append([event("a"), event("b")])
    spans.end([(command(each), Reply(each, 7, 0)) for each in "abcd"])

    assert headers is not None
    assert again is not None
    assert [name for name, _ in headers + again] == ["traceparent"] * 2
    assert [value.split(b"-")[1] for _, value in headers + again] == [f"{1:032x}".encode()] * 2
    assert memory.found() == [("append", 1), ("append", 1)]
    assert spans.begin_append([event("a")]) is None, "it has its reply"


def test_a_command_without_events_has_a_span(memory: Memory) -> None:
    """A quote, or one that came again: it ends with its reply, and says which code it got."""
    spans = AppendSpans(memory.tracer)
    spans.take([command("a")], [traceparent(1)])

    spans.end([(command("a"), Reply("a", 7, 0, "SLIPPAGE"))])

    (span,) = memory.exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["tidings.code"] == "SLIPPAGE"
    assert span.attributes["tidings.position"] == 7


def test_a_doubt_ends_what_is_open_as_failed(memory: Memory) -> None:
    """The commands are taken again, and then have another span in the same trace."""
    spans = AppendSpans(memory.tracer)
    spans.take([command("a"), command("b")], [traceparent(1)])
    spans.begin_append([event("a")])

    spans.drop()
    spans.take([command("a")], [traceparent(1)])
    spans.begin_append([event("a")])
    spans.end([(command("a"), Reply("a", 7, 0))])

    statuses = [span.status.status_code for span in memory.exporter.get_finished_spans()]
    assert statuses == [StatusCode.ERROR, StatusCode.UNSET]
    assert memory.found() == [("append", 1)] * 2


def test_a_parked_command_is_forgotten(memory: Memory) -> None:
    """It gets no reply, so nothing else would end it."""
    spans = AppendSpans(memory.tracer)
    spans.take([command("a")], [traceparent(1)])

    spans.forget(command("a"))

    assert spans.begin_append([event("a")]) is None


@pytest.mark.parametrize(
    "value",
    [b"", b"nonsense", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"\xff" * 55, b"0" * 100_000, None, "text"],
)
def test_headers_may_hold_anything(memory: Memory, value: bytes | str | None) -> None:
    """Whoever writes to the topic may have set them."""
    spans = AppendSpans(memory.tracer)

    spans.take([command("a")], [("traceparent", value), ("tracestate", b"\x00")])

    assert spans.begin_append([event("a")]) is None


def test_a_transaction_belongs_to_the_traces_that_it_folds(memory: Memory) -> None:
    """To all of them, to no other, and each time that read models fold them."""
    spans = FoldSpans(memory.tracer)
    spans.note(5, [traceparent(1)])
    spans.note(9, [traceparent(2), traceparent(3), traceparent(4, "00")])
    spans.note(5, [traceparent(1)])  # a slower reader reads it again
    spans.note(12, [traceparent(5)])

    spans.folded(["orders", "book"], 5, 9, 0.25)
    spans.folded(["candles"], 0, 5, 0.25)
    spans.folded(["candles"], 12, 20, 0.25)

    assert memory.found() == [("fold", 2), ("fold", 3), ("fold", 1)]
    first = memory.exporter.get_finished_spans()[0]
    assert first.attributes is not None
    assert first.attributes["tidings.read_models"] == ("orders", "book")
    assert first.attributes["tidings.events"] == 4
    assert (first.end_time or 0) - (first.start_time or 0) == 250_000_000


def test_traces_need_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting says what is missing."""
    monkeypatch.setattr("settings.OTLP_PACKAGE", "opentelemetry-missing")

    with pytest.raises(ValueError, match="opentelemetry-missing is not installed"):
        Settings(traces=True)
    assert Settings().traces is False


def test_a_receiver_that_is_away_holds_up_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops an engine waits for its log, not for a collector."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    traces = Traces("test")
    with traces.request("GET", "/", []):
        pass
    began = monotonic()

    traces.close()

    assert monotonic() - began < CLOSE_SECONDS + 2
