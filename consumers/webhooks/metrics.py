"""The numbers of webhooks for Prometheus."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from consumers.webhooks.webhooks import Webhooks


class WebhookCollector(Collector):
    """Reads the numbers of the workers whenever Prometheus asks."""

    def __init__(self, webhooks: "Webhooks") -> None:
        self._webhooks = webhooks

    def collect(self) -> Iterator[Metric]:
        """Return the metrics as they are now; those of a process that does not send are empty."""
        delivered = CounterMetricFamily("tidings_webhook_delivered", "Deliveries that arrived", labels=["webhook"])
        failures = CounterMetricFamily("tidings_webhook_failures", "Attempts that failed", labels=["webhook"])
        position = GaugeMetricFamily(
            "tidings_webhook_position", "Position up to which the webhook has been told everything", labels=["webhook"]
        )
        for name, worker in self._webhooks.workers.items():
            delivered.add_metric([name], worker.delivered)
            failures.add_metric([name], worker.failed)
            position.add_metric([name], worker.position)
        failing = GaugeMetricFamily(
            "tidings_webhook_failing_seconds", "Seconds since the first failure in a row; 0: none", labels=["webhook"]
        )
        disabled = GaugeMetricFamily("tidings_webhook_disabled", "Whether it is disabled (1 or 0)", labels=["webhook"])
        for each in self._webhooks.known:
            since = each.failing_since
            seconds = 0.0 if since is None else (datetime.now(UTC) - since).total_seconds()
            failing.add_metric([each.webhook_id], max(0.0, seconds))
            disabled.add_metric([each.webhook_id], float(each.disabled_at is not None))
        yield from (delivered, failures, position, failing, disabled)
