"""Positions and lags of the read models as metrics for Prometheus, made from what `api.lag.positions_of` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.core import Metric


def status_registry(found: dict[str, Any] | None) -> CollectorRegistry:
    """Return the metrics of a status, or of one that could not be read (None)."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"tidings_{name}", text, labels, registry=registry)

    up = gauge("status_up", "Whether the log and the read models could be read (1 or 0)")
    if found is None:
        up.set(0)
        return registry
    up.set(1)
    gauge("log_lost_events", "Whether the log has lost events that the read models know (1 or 0)").set(
        bool(found["lost"])
    )
    gauge("log_position", "Position of the last event in the log").set(found["engine"]["position"])
    labels = ("projection", "partition")
    gauges = {
        "position": gauge("projection_position", "Position of the last event that the read model has folded", labels),
        "lag_events": gauge(
            "projection_lag_events", "Events in the log that the read model has not folded yet", labels
        ),
        "lag_seconds": gauge(
            "projection_lag_seconds", "Seconds from the last folded event to the last event in the log", labels
        ),
        "parked": gauge(
            "projection_parked_events", "Events that could not be folded, and events that wait behind them", labels
        ),
    }
    for row in found["projections"]:
        for name, each in gauges.items():
            each.labels(row["projection"], row["partition"]).set(row[name])
    return registry


class StatusCollector(Collector):
    """Asks for the status whenever Prometheus asks."""

    def __init__(self, ask: Callable[[], dict[str, Any]]) -> None:
        self._ask = ask

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of the present status."""
        try:
            found = self._ask()
        except Exception:  # noqa: BLE001  the other numbers are worth having all the more
            return status_registry(None).collect()
        return status_registry(found).collect()

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering asks for nothing."""
        return ()
