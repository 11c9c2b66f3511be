"""Dashboard, alert rules and page of metrics: every metric that they name is one of the code, and the page has all."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
import yaml
from eventsourcing.popo import POPOApplicationRecorder
from prometheus_client import REGISTRY, CollectorRegistry

import consumers.kafka.unreadable
import projections.machine.advance  # noqa: F401  like the one before: both register metrics
from api.http.middleware import Metrics
from api.status_metrics import status_registry
from consumers.engine.courier import TransferMeasures
from consumers.engine.measures import EngineMeasures
from consumers.engine.metrics import EngineCollector
from consumers.webhooks.metrics import WebhookCollector
from consumers.webhooks.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumers.engine.engine import Engine

DOCS: Final = Path(__file__).parents[2] / "docs"
RULE_TESTS: Final = Path(__file__).parent / "alerts.yml"
SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
OF_THE_FEED: Final = "tidings_feed_position"  # made when the feed runs; tests/consumers/test_ops_server.py sees it


class IdleEngine:
    """An engine that has done nothing, as its collector sees one."""

    position = 0
    measures = EngineMeasures()

    def transfers(self) -> TransferMeasures:
        """Return numbers of one channel."""
        return TransferMeasures({1: 1}, {1: 1}, {1: 1}, {1: 1}, {1: 1}, 1, 1.0)

    def snapshot_age(self) -> float | None:
        """Return an age, so that the metric is there."""
        return 1.0


def known_metrics() -> set[str]:
    """Return the names of all series that our processes expose."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(cast("Engine", IdleEngine())))
    registry.register(WebhookCollector(Webhooks(POPOApplicationRecorder(), "", private=False)))
    assert consumers.kafka.unreadable is not None
    row = {"projection": "markets", "partition": 0, "position": 1, "lag_events": 0, "lag_seconds": 0.0, "parked": 0}
    status = {"lost": None, "engine": {"position": 1}, "projections": [row]}
    found = {OF_THE_FEED}
    for each in (registry, REGISTRY, Metrics().registry, status_registry(status)):
        for metric in each.collect():
            if metric.name.startswith("tidings_"):
                found |= {metric.name + suffix for suffix in SUFFIXES[metric.type]}
    return found


def expressions() -> Iterator[str]:
    """Return every expression of the rules and of the dashboard."""
    rules: Any = yaml.safe_load((DOCS / "prometheus" / "alerts.yml").read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
            yield rule["expr"]
    dashboard: Any = json.loads((DOCS / "grafana" / "operations.json").read_text("utf-8"))
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def test_every_metric_that_is_asked_for_exists() -> None:
    """A metric that was renamed would leave an alert silent for ever."""
    known = known_metrics()
    for expression in expressions():
        named = set(re.findall(r"tidings_\w+", expression))
        assert named or expression.startswith("up"), expression
        assert named <= known, f"{expression}: {named - known}"
        assert expression.count("(") == expression.count(")")


def test_every_alert_has_its_line_on_the_page() -> None:
    """Whoever is woken finds what to look at."""
    page = (DOCS / "operations.md").read_text("utf-8")
    for name in re.findall(r"alert: (\w+)", (DOCS / "prometheus" / "alerts.yml").read_text("utf-8")):
        assert f"`{name}`" in page


def test_all_processes_are_scraped() -> None:
    """Each service of compose.yaml that runs for ever is scraped at the port of its settings."""
    scraped: Any = yaml.safe_load((DOCS / "prometheus" / "prometheus.yml").read_text("utf-8"))
    targets = {
        target for job in scraped["scrape_configs"] for one in job["static_configs"] for target in one["targets"]
    }
    compose: Any = yaml.safe_load((DOCS.parent / "compose.yaml").read_text("utf-8"))
    ours = {
        f"{name}:{service['environment']['TIDINGS_OPS_PORT']}"
        for name, service in compose["services"].items()
        if service.get("image") == "tidings" and service["restart"] != "no"
    }
    assert targets == ours
    (away,) = [each for each in expressions() if each.startswith("up")]
    jobs = {job["job_name"] for job in scraped["scrape_configs"]}
    assert set(re.findall(r"\w+", away.partition('"')[2].partition('"')[0])) == jobs, "one that is away is told"


def test_the_example_of_each_alert_is_there() -> None:
    """tests/docs/alerts.yml has one for each, on which promtool lets it fire."""
    told: Any = yaml.safe_load(RULE_TESTS.read_text("utf-8"))
    fired = [each["alertname"] for test in told["tests"] for each in test["alert_rule_test"] if each.get("exp_alerts")]
    rules = re.findall(r"alert: (\w+)", (DOCS / "prometheus" / "alerts.yml").read_text("utf-8"))
    assert sorted(fired) == sorted(rules)


@pytest.mark.chaos  # few machines have it
@pytest.mark.skipif(shutil.which("promtool") is None, reason="it comes with Prometheus")
def test_prometheus_takes_the_files_and_each_alert_fires(tmp_path: Path) -> None:
    """Its own tool reads the configuration and the rules, and evaluates the rules on numbers of a good and a bad time."""
    for name in ("prometheus.yml", "alerts.yml"):
        text = (DOCS / "prometheus" / name).read_text("utf-8").replace("/etc/prometheus", str(tmp_path))
        (tmp_path / name).write_text(text, "utf-8")
    shutil.copy(RULE_TESTS, tmp_path / "tests.yml")
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", "tests.yml"]):
        done = subprocess.run(["promtool", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
