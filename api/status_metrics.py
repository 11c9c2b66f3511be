"""Positions and lags of the read models as metrics for Prometheus, made from what `api.lag.positions_of` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.core import Metric


class _Gauges:
    """The metrics of a status. With `labels`, each has the partition as a label: there are those of several."""

    def __init__(self, registry: CollectorRegistry, labels: Sequence[str] = ()) -> None:
        def gauge(name: str, text: str, labels: Sequence[str] = labels) -> Gauge:
            return Gauge(f"tidings_{name}", text, labels, registry=registry)

        self._up = gauge("status_up", "Whether the log and the read models could be read (1 or 0)")
        self._lost = gauge("log_lost_events", "Whether the log has lost events that the read models know (1 or 0)")
        self._position = gauge("log_position", "Position of the last event in the log")
        of_each = ("projection", "partition")
        self._of_each = {
            "position": gauge(
                "projection_position", "Position of the last event that the read model has folded", of_each
            ),
            "lag_events": gauge(
                "projection_lag_events", "Events in the log that the read model has not folded yet", of_each
            ),
            "lag_seconds": gauge(
                "projection_lag_seconds", "Seconds from the last folded event to the last event in the log", of_each
            ),
            "parked": gauge(
                "projection_parked_events", "Events that could not be folded, and events that wait behind them", of_each
            ),
        }

    def set(self, found: dict[str, Any], *partition: int) -> None:
        """Take in a status; with labels, that of this partition."""
        _child(self._up, partition).set(1)
        _child(self._lost, partition).set(bool(found["lost"]))
        _child(self._position, partition).set(found["engine"]["position"])
        for row in found["projections"]:
            for name, each in self._of_each.items():
                each.labels(row["projection"], *(partition or [row["partition"]])).set(row[name])

    def set_unknown(self, *partition: int) -> None:
        """Note that there is no status."""
        _child(self._up, partition).set(0)


def _child(gauge: Gauge, labels: Sequence[int]) -> Gauge:
    return gauge.labels(*labels) if labels else gauge


def status_registry(found: dict[str, Any] | None) -> CollectorRegistry:
    """Return the metrics of a status, or of one that could not be read (None)."""
    registry = CollectorRegistry()
    gauges = _Gauges(registry)
    if found is None:
        gauges.set_unknown()
    else:
        gauges.set(found)
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


class PartitionsCollector(Collector):
    """Asks for the status of each partition whenever Prometheus asks."""

    def __init__(self, asks: Mapping[int, Callable[[], dict[str, Any]]]) -> None:
        self._asks = asks

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of the present status of all partitions."""
        registry = CollectorRegistry()
        gauges = _Gauges(registry, ("partition",))
        for partition, ask in self._asks.items():
            try:
                gauges.set(ask(), partition)
            except Exception:  # noqa: BLE001  as above
                gauges.set_unknown(partition)
        return registry.collect()

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering asks for nothing."""
        return ()
