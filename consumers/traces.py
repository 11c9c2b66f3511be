"""OpenTelemetry: the spans of one process, which make one trace of a command's way. The one module that imports it.

    request     API         an HTTP request; goes on with the caller's trace if its headers name one
    send        API         from the gateway's queue to the broker's acknowledgement
    append      engine      from the record of the command to the log's confirmation
    fold        projector   a transaction that folds the command's events into read models

What comes next learns the trace by the header `traceparent` (https://www.w3.org/TR/trace-context/) of the request, of the
record of commands, and of the record of events. Only a request is sampled; everything after it follows its decision.

The SDK reads the standard variables `OTEL_*` itself. `consumers.wiring.open_traces` imports this module where the settings
turn traces on. It leaves OpenTelemetry's global provider alone.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Timer
from time import time_ns
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from eventsourcing.persistence import StoredEvent

    from messages.commands import Submitted
    from messages.replies import Reply

NOTED_MAX: Final = 10_000
"""The most traces of the newest records that a projector remembers, for its transactions to come."""

CLOSE_SECONDS: Final = 2.0
"""The time that a process has for its last spans when it ends. A receiver that is away must not hold it up."""

Headers = list[tuple[str, bytes]]

_W3C: Final = TraceContextTextMapPropagator()
_NAMES: Final = ("traceparent", "tracestate")
_VALUE_BYTES_MAX: Final = 512
"""The longest header that is read: W3C asks to pass on at least so much of a `tracestate`."""

_request: ContextVar[Span | None] = ContextVar("request_span", default=None)
"""The span of the request that the present task or thread serves. FastAPI has its own plans for OpenTelemetry's context."""


class Traces:
    """The spans of this process, sent to an OTLP/HTTP receiver in the background. `close` sends what is left."""

    def __init__(self, process: str) -> None:
        """`process` is the name of the command that runs, such as "engine"; the service is "tidings" by default."""
        given = OTELResourceDetector().detect().attributes
        resource = Resource.create({"service.name": "tidings", "tidings.process": process, **given})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self.tracer: Tracer = self._provider.get_tracer("tidings")
        """Begins spans."""

    def close(self) -> None:
        """Send what is left, and stop: after `CLOSE_SECONDS` nothing more is sent, and no attempt is repeated."""
        ending = Timer(CLOSE_SECONDS, self._exporter.shutdown)
        ending.start()
        self._provider.shutdown()
        ending.cancel()
        ending.join()

    @contextmanager
    def request(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Span]:
        """Have this task serve a request, as a span, until the end of the block."""
        parent = _parent_of((name.decode("latin-1"), value) for name, value in headers)
        attributes: Mapping[str, str] = {"http.request.method": method, "url.path": path}
        span = self.tracer.start_span(method, parent, SpanKind.SERVER, attributes)
        token = _request.set(span)
        try:
            yield span
        finally:
            _request.reset(token)
            span.end()

    def begin_send(self, topic: str, commands: int) -> "SentSpan | None":
        """Return the span of commands that the present request sends, None if it is not sampled."""
        request = _request.get()
        if request is None or not request.is_recording():
            return None
        attributes: Mapping[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": topic,
            "messaging.operation.type": "send",
            "messaging.batch.message_count": commands,
        }
        parent = set_span_in_context(request, Context())
        return SentSpan(self.tracer.start_span(f"send {topic}", parent, SpanKind.PRODUCER, attributes))

    def appends(self) -> "AppendSpans":
        """Return the spans of an engine's commands."""
        return AppendSpans(self.tracer)

    def folds(self) -> "FoldSpans":
        """Return the spans of a projector's transactions."""
        return FoldSpans(self.tracer)


class SentSpan:
    """The span of commands on their way to Kafka: see `SentTrace`."""

    def __init__(self, span: Span) -> None:
        self._span: Span | None = span
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(span, Context()))
        self.headers: Headers = [(name, value.encode()) for name, value in carrier.items()]

    def end(self, error: str | None) -> None:
        """End the span, unless it has ended: the same commands may be sent again."""
        span, self._span = self._span, None
        if span is not None:
            if error is not None:
                span.set_status(StatusCode.ERROR, error)
            span.end()


class _Taken(NamedTuple):
    """A sampled command that an engine has taken: the context of its sender's span, and when it was taken."""

    parent: Context
    at: int


class _CommandOf(msgspec.Struct):
    """The part of a stored event's state that says which command it comes from."""

    command_id: str


_command_of: Final = msgspec.json.Decoder(_CommandOf).decode


class AppendSpans:
    """The spans of an engine's commands: see `AppendTraces`. It belongs to the engine's thread."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._taken: dict[str, _Taken] = {}
        self._open: dict[str, Span] = {}

    def take(self, commands: "Sequence[Submitted]", headers: Sequence[tuple[str, str | bytes | None]]) -> None:
        """Note the commands of a record, if its headers say that they are sampled."""
        parent = _parent_of(headers)
        if _is_sampled(parent):
            taken = _Taken(parent, time_ns())
            for command in commands:
                self._taken.setdefault(command.command_id, taken)

    def begin_append(self, events: "Sequence[StoredEvent]") -> Headers | None:
        """Begin the spans of the commands that these events come from; return headers for the events' record."""
        if not self._taken:
            return None
        headers: Headers = []
        for event in events:
            command_id = _command_of(event.state).command_id
            taken = self._taken.get(command_id)
            if taken is not None and command_id not in self._open:
                span = self._open[command_id] = self._begin(taken)
                carrier: dict[str, str] = {}
                _W3C.inject(carrier, set_span_in_context(span, Context()))
                headers.append(("traceparent", carrier["traceparent"].encode()))
        return headers or None

    def end(self, replies: "Sequence[tuple[Submitted, Reply]]") -> None:
        """End the spans of these commands: the log has them, or they needed no event."""
        if not self._taken:
            return
        for submitted, reply in replies:
            taken = self._taken.pop(submitted.command_id, None)
            if taken is not None:
                span = self._open.pop(submitted.command_id, None) or self._begin(taken)
                span.set_attributes({
                    "tidings.command": submitted.type,
                    "tidings.command_id": submitted.command_id,
                    "tidings.position": reply.position,
                })  # fmt: skip
                if reply.code is not None:
                    span.set_attribute("tidings.code", reply.code)
                span.end()

    def forget(self, command: "Submitted") -> None:
        """Drop a command that gets no reply."""
        self._taken.pop(command.command_id, None)
        self._open.pop(command.command_id, None)

    def drop(self) -> None:
        """End all spans as failed: whether the log has their events is in doubt, and the commands are taken again."""
        for span in self._open.values():
            span.set_status(StatusCode.ERROR, "it is not known whether the log has the events")
            span.end()
        self._open.clear()
        self._taken.clear()

    def _begin(self, taken: _Taken) -> Span:
        return self._tracer.start_span("append", taken.parent, SpanKind.CONSUMER, start_time=taken.at)


class FoldSpans:
    """The spans of a projector's transactions: see `FoldTraces`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._noted: deque[tuple[int, Context]] = deque(maxlen=NOTED_MAX)
        self._last = 0

    def note(self, position: int, headers: Sequence[tuple[str, bytes]]) -> None:
        """Note the headers of the log's record whose last event has this position."""
        if position <= self._last:  # another reader, which comes later, reads it again
            return
        self._last = position
        for header in headers:
            parent = _parent_of([header])
            if _is_sampled(parent):
                self._noted.append((position, parent))

    def folded(self, names: Sequence[str], after: int, position: int, seconds: float) -> None:
        """Keep a span for each trace whose events a transaction has just folded."""
        if self._last <= after:
            return
        ended = time_ns()
        began = ended - int(seconds * 1_000_000_000)
        attributes: Mapping[str, int | Sequence[str]] = {
            "tidings.read_models": names,
            "tidings.events": position - after,
            "tidings.position": position,
        }
        for last, parent in list(self._noted):
            if after < last <= position:
                self._tracer.start_span("fold", parent, SpanKind.CONSUMER, attributes, start_time=began).end(ended)


def _parent_of(headers: Iterable[tuple[str, str | bytes | None]]) -> Context:
    """Return the context that the headers name, an empty one if they name none. They may hold anything."""
    carrier = {
        name: value.decode("latin-1")
        for name, value in headers
        if name in _NAMES and isinstance(value, bytes) and len(value) <= _VALUE_BYTES_MAX
    }
    return _W3C.extract(carrier, Context()) if carrier else Context()


def _is_sampled(parent: Context) -> bool:
    return get_current_span(parent).get_span_context().trace_flags.sampled
