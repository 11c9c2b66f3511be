"""Positions and lags of the read models as metrics for Prometheus, made from what `api.lag.positions_of` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.core import Metric


_TEXTS: Final = {
    "status_up": "Whether the log and the read models could be read (1 or 0)",
    "log_lost_events": "Whether the log has lost events that the read models know (1 or 0)",
    "log_position": "Position of the last event in the log",
    "projection_position": "Position of the last event that the read model has folded",
    "projection_lag_events": "Events in the log that the read model has not folded yet",
    "projection_lag_seconds": "Seconds from the last folded event to the last event in the log",
    "projection_parked_events": "Events that could not be folded, and events that wait behind them",
}
_OF_EACH: Final = {
    "projection_position": "position",
    "projection_lag_events": "lag_events",
    "projection_lag_seconds": "lag_seconds",
    "projection_parked_events": "parked",
}


class _Gauges:
    """The metrics of a status. With `labels`, each has the partition as a label: there are those of several.

    Each is made when its first value comes: one without a value would be told as 0.
    """

    def __init__(self, registry: CollectorRegistry, labels: Sequence[str] = ()) -> None:
        self._registry, self._labels = registry, labels
        self._made: dict[str, Gauge] = {}

    def set(self, found: dict[str, Any], *partition: int) -> None:
        """Take in a status; with labels, that of this partition."""
        self._of_log("status_up", partition).set(1)
        self._of_log("log_lost_events", partition).set(bool(found["lost"]))
        self._of_log("log_position", partition).set(found["engine"]["position"])
        for row in found["projections"]:
            for name, key in _OF_EACH.items():
                gauge = self._gauge(name, ("projection", "partition"))
                gauge.labels(row["projection"], *(partition or [row["partition"]])).set(row[key])

    def set_unknown(self, *partition: int) -> None:
        """Note that there is no status."""
        self._of_log("status_up", partition).set(0)

    def _of_log(self, name: str, partition: Sequence[int]) -> Gauge:
        gauge = self._gauge(name, self._labels)
        return gauge.labels(*partition) if partition else gauge

    def _gauge(self, name: str, labels: Sequence[str]) -> Gauge:
        if name not in self._made:
            self._made[name] = Gauge(f"tidings_{name}", _TEXTS[name], labels, registry=self._registry)
        return self._made[name]


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
