"""An engine's numbers for Prometheus: all metrics of an engine are here."""

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from consumers.engine.clock import system_clock

if TYPE_CHECKING:
    from consumers.engine.courier import TransferMeasures
    from consumers.engine.engine import Engine
    from consumers.engine.measures import Distribution
    from domain.money import Time

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
        if (transfers := self._engine.transfers()) is not None:
            yield from _of_transfers(transfers, system_clock())

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


def _of_transfers(transfers: "TransferMeasures", now: "Time") -> Iterator[Metric]:
    """Return the metrics of an engine that has neighbours."""
    for name, label, text, values in (
        ("sent", "to", "Number of the last transfer to a partition", transfers.sent),
        ("received", "from", "Number of the last transfer that came from a partition", transfers.received),
        ("waiting", "to", "Transfers that may not have been carried yet", transfers.waiting),
        ("missing", "from", "Number of the transfer that a channel lacks: it stands still", transfers.missing),
    ):
        yield _by_partition(f"transfers_{name}", label, text, values)
    ages = {to_partition: (now - since) / 1_000_000 for to_partition, since in transfers.oldest.items()}
    yield _by_partition("transfers_waiting_seconds", "to", "Age of the oldest of them", ages)
    yield GaugeMetricFamily(
        "tidings_engine_transit_credits",
        "Credits sent less received; the sum over all engines is in transit",
        transfers.transit / 1_000_000,
    )
    text = "Most by which a transfer came from the future, in seconds"
    yield GaugeMetricFamily("tidings_engine_clock_ahead_seconds", text, transfers.ahead_seconds)


def _by_partition(name: str, label: str, text: str, values: "Mapping[int, float]") -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"tidings_engine_{name}", text, labels=[label])
    for partition, value in sorted(values.items()):
        family.add_metric([str(partition)], value)
    return family


def _histogram(name: str, text: str, values: "Distribution") -> HistogramMetricFamily:
    buckets, below = [], 0
    for bound, count in zip([*values.bounds, float("inf")], values.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), float(below)))
    return HistogramMetricFamily(f"tidings_engine_{name}", text, buckets=buckets, sum_value=values.sum)
