"""The page for other services: its example runs; its table, links and codes are true."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from consumers.engine.engine import Engine
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.topics import EVENTS, TOPICS, ensure_topics
from consumers.wiring import open_log
from domain.events import Recorded
from messages.commands import RECORD_COMMANDS_MAX, UnreadableError, parse_command
from settings import Settings
from tests.consumers.checks import reading, recorded
from tests.consumers.processes import ROOT, kafka_settings

DOCS = ROOT / "docs"
PAGE = (DOCS / "kafka.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the first piece of code of a language."""
    found = re.search(rf"^( *)```{language}\n(.*?)^\1```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[2]


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker; its topics exist."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(settings)
    return settings


def test_its_example_runs_as_printed(settings: Settings, tmp_path: Path) -> None:
    """In a process of its own that has nothing but the settings; a second run changes nothing."""
    script = tmp_path / "example.py"
    script.write_text(block("python"), encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "KAFKA": settings.kafka_brokers,
        "TOPIC_PREFIX": settings.kafka_topic_prefix,
    }
    engine = Engine(open_log(settings), KafkaCommandSource(settings))
    engine.start()
    outputs, positions = [], []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
        positions.append([event.command_id for event in log_of(settings) if event.digest])
    engine.stop()

    assert re.fullmatch(r"filled \d+\.\d{6} at position \d+\nrefused: INSUFFICIENT_FUNDS \{.*\}\n", outputs[0])
    assert outputs[0] == outputs[1]
    assert positions[0] == positions[1]


def log_of(settings: Settings) -> list[Recorded]:
    """Return all events of the log."""
    with reading(settings) as recorder:
        return recorded(recorder)


def test_its_record_is_a_command() -> None:
    """The JSON for other languages is a command; without its type it is none."""
    value = block("json").encode()

    assert parse_command(value).type == "DepositCash"
    del (fields := json.loads(value))["type"]
    with pytest.raises(UnreadableError, match="type"):
        parse_command(json.dumps(fields).encode())


def test_its_table_names_every_topic() -> None:
    """And how long each topic is kept when it is made."""
    rows = dict(re.findall(r"^\| `tidings\.([\w-]+)` \|.*\| ([\w ]+) \|$", PAGE, re.MULTILINE))
    kept = {7 * 86_400_000: "7 days", 86_400_000: "1 day", -1: "for ever"}

    for_others = {
        topic: spec for topic, spec in TOPICS.items() if topic not in {"heartbeats", "transfers"}
    }  # between engines only
    assert {topic: kept[spec.kept_ms] for topic, spec in for_others.items()} | {EVENTS: "for ever"} == rows
    assert f"more than {RECORD_COMMANDS_MAX:,} commands" in PAGE


def test_its_links_lead_somewhere() -> None:
    """All are files of ours, and where they name a heading, it is there."""
    links = re.findall(r"\]\(([^)]+)\)", PAGE)

    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        assert (DOCS / name).exists(), link
        headings = re.findall(r"^#+ (.+)$", (DOCS / name).read_text("utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, (
            link
        )
