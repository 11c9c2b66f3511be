"""What Prometheus is told of a status, and of one that could not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest

from api.status_metrics import PartitionsCollector, status_registry

if TYPE_CHECKING:
    from prometheus_client.registry import Collector


def samples(registry: CollectorRegistry | Collector) -> list[str]:
    """The samples of all metrics, without what describes them."""
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def unreadable() -> dict[str, Any]:
    """Fail as when the log cannot be read."""
    raise OSError("unreadable")


def test_what_is_not_known_is_not_told() -> None:
    """Without a status nothing says that no events were lost, or that the log is empty: alerts would fall silent."""
    assert samples(status_registry(None)) == ["tidings_status_up 0.0"]


def test_a_status_has_all_metrics() -> None:
    """Those of the log, and those of each read model."""
    row = {"projection": "markets", "partition": 0, "position": 7, "lag_events": 2, "lag_seconds": 0.5, "parked": 0}
    found = {"lost": True, "engine": {"position": 9}, "projections": [row]}
    told = samples(status_registry(found))

    assert told[:3] == ["tidings_status_up 1.0", "tidings_log_lost_events 1.0", "tidings_log_position 9.0"]
    assert len(told) == 7

    both = PartitionsCollector({0: lambda: found, 1: unreadable})
    registry = CollectorRegistry()
    registry.register(both)
    assert [line for line in samples(registry) if 'partition="1"' in line] == ['tidings_status_up{partition="1"} 0.0']
