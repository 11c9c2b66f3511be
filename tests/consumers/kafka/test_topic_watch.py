"""Topics are looked at again while the engine runs: a setting that could lose events stops it, even when it is idle."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import LogError, LogLost, UnsafeLog
from consumers.kafka.topics import ensure_topics
from consumers.wiring import open_log
from eventsourcing_kafka import topics
from local.processes import polls
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("topic", "config", "kind", "match"),
    [
        ("events", {"cleanup.policy": "compact"}, UnsafeLog, r"cleanup\.policy is compact"),
        ("commands", {"retention.ms": "1000"}, UnsafeLog, r"commands could lose data: retention\.ms is 1000"),
        ("events", None, LogLost, "made anew"),
        ("commands", None, UnsafeLog, "made anew"),
    ],
)
def test_an_engine_stops_when_a_topic_becomes_unsafe(  # noqa: PLR0917  fixtures and parameters
    tmp_path: Path,
    kafka: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    topic: str,
    config: dict[str, str] | None,
    kind: type[LogError],
    match: str,
) -> None:
    """Changed, or made anew, while nothing is appended."""
    monkeypatch.setattr(topics, "LOOK_SECONDS", 0.2)
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(settings)
    engine = Engine(open_log(settings), LocalCommandSource(), folder=tmp_path / "engine")
    engine.start()
    engine.wait_until_ready(30)
    name = f"{topic_prefix}{topic}"
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka_brokers)) as admin:
        for left in polls(1):  # long enough for a look
            assert engine.error is None or not left
        if config is None:
            admin.delete_topics([name])
            ensure_topics(settings)
        else:
            admin.alter_configs([ConfigResource("topic", name, config)])
    for _ in polls(30):
        if engine.error is not None:
            break
    engine.stop()

    assert isinstance(engine.error, kind)
    with pytest.raises(kind, match=match):
        raise engine.error
