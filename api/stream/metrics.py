"""The figures of the stream for Prometheus, in the registry of the HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class StreamMetrics:
    """Counts of streams. Streams are not in the histogram of requests: they last for hours."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "tidings_stream_connections", "Open streams by transport", ["transport"], registry=registry
        )
        self.frames = Counter("tidings_stream_frames", "Frames sent", registry=registry)
        self.bytes = Counter("tidings_stream_bytes", "Bytes sent in frames, before chunks and masks", registry=registry)
        self.closed = Counter("tidings_stream_closed", "Streams that ended, by reason", ["reason"], registry=registry)
        self.lag = Gauge(
            "tidings_stream_lag_seconds", "Seconds from the last event's time to its handing over", registry=registry
        )
        self.behind = Gauge(
            "tidings_stream_slowest_events", "Positions that the slowest stream is behind the log", registry=registry
        )
        self.position = Gauge(
            "tidings_stream_position", "Last position handed to live streams, 0 while nobody follows", registry=registry
        )
        self.replaying = Gauge(
            "tidings_stream_replaying", "Streams that read the log because they are far behind", registry=registry
        )
