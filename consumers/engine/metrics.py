"""An engine's numbers for Prometheus: all metrics of an engine are here."""

from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from consumers.engine.engine import Engine
    from consumers.engine.measures import Distribution

STATES: Final = ("starting", "standby", "taking_over", "serving", "stopped")
"""All states of an engine."""


class EngineCollector(Collector):
    """Reads an engine's numbers whenever Prometheus asks; the engine itself does nothing for it."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Return the metrics as they are now."""
        measures = self._engine.measures
        state = GaugeMetricFamily(
            "tidings_engine_state", "What the engine does now (1 for one state)", labels=["state"]
        )
        for name in STATES:
            state.add_metric([name], float(measures.state == name))
        yield state
        yield _histogram(
            "append_seconds", "Seconds from a batch's first command to the log's answer", measures.append_seconds
        )
        yield _histogram("batch_commands", "Commands in a batch", measures.batch_commands)
        yield CounterMetricFamily("tidings_engine_events", "Events appended to the log", measures.events)
        yield CounterMetricFamily("tidings_engine_accepted", "Commands that were accepted", measures.accepted)
        refused = CounterMetricFamily("tidings_engine_refused", "Commands that the rules refused", labels=["code"])
        for code, count in sorted(measures.refused.copy().items()):
            refused.add_metric([code], count)
        yield refused
        yield CounterMetricFamily(
            "tidings_engine_duplicates", "Commands that came again, and got the first reply", measures.duplicates
        )
        yield CounterMetricFamily(
            "tidings_engine_take_overs",
            "Take-overs of the log: at a start, by a standby, and after a doubt",
            measures.take_overs,
        )
        yield CounterMetricFamily("tidings_engine_doubts", "Appends that were in doubt", measures.doubts)
        served = monotonic() - measures.served_since if measures.served_since else 0.0
        yield CounterMetricFamily(
            "tidings_engine_busy_seconds",
            "Seconds in which the engine did not wait for commands",
            max(0.0, served - measures.idle_seconds),
        )
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        engine, measures = self._engine, self._engine.measures
        yield GaugeMetricFamily(
            "tidings_engine_queue_commands", "Commands that were taken together last", measures.waiting
        )
        yield GaugeMetricFamily(
            "tidings_engine_position", "Position up to which the engine knows the log", engine.position
        )
        behind = monotonic() - measures.followed_at if measures.state == "standby" and measures.followed_at else 0.0
        yield GaugeMetricFamily(
            "tidings_engine_behind_seconds",
            "Seconds since the standby last knew the whole log; 0 while it serves",
            behind,
        )
        if (age := engine.snapshot_age()) is not None:
            yield GaugeMetricFamily("tidings_engine_snapshot_age_seconds", "Seconds since the last snapshot", age)


def _histogram(name: str, text: str, values: "Distribution") -> HistogramMetricFamily:
    buckets, below = [], 0
    for bound, count in zip([*values.bounds, float("inf")], values.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), float(below)))
    return HistogramMetricFamily(f"tidings_engine_{name}", text, buckets=buckets, sum_value=values.sum)
