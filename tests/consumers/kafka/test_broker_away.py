"""A broker that is away: each process says so in one line, and once a minute how many lines it has left out."""

import logging
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from consumers.kafka.gateway import KafkaGateway
from eventsourcing_kafka import quiet
from local.kafka import Broker
from messages.commands import AdvanceTime
from tests.consumers.processes import EngineProcess, kafka_settings


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("lost_connections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_every_process_says_it_once(own_kafka: Broker, database: str, tmp_path: Path, topic_prefix: str) -> None:
    """They wrote up to fifty lines a second each. A doubt about the log is another line. All go on when it is back."""
    settings = kafka_settings(tmp_path, own_kafka.bootstrap, topic_prefix)
    parts = {"engine": "", "standby": "--standby", "api": "", "projector": ""}
    environment = {"TIDINGS_DSN": database, "TIDINGS_PORT": "0"}
    # Whoever of the two engines is first writes the log; the other one follows it.
    ready = {"engine": "engine_started", "standby": "standby_started", "api": "serves at", "projector": ""}
    with ExitStack() as stack:
        processes = {}
        for part, option in parts.items():
            command = "engine" if part == "standby" else part
            processes[part] = EngineProcess(
                settings,
                tmp_path / f"{part}.txt",
                *([option] if option else []),
                environment=environment,
                command=command,
            )
            stack.enter_context(processes[part])
        for part, process in processes.items():
            await_words(process, ready[part])
        own_kafka.kill()
        sleep(4)
        own_kafka.start()
        with KafkaGateway(settings, retry_seconds=0.5) as gateway:
            gateway.submit_blocking("t:1", AdvanceTime())
        for part, process in processes.items():
            about = [line for line in process.output.splitlines() if any(word in line for word in ABOUT_KAFKA)]
            assert len(about) <= 2, (part, about)
            assert "Traceback" not in process.output, part
        assert processes["api"].running
        assert processes["projector"].running
        assert processes["engine"].running or processes["standby"].running  # one may have taken over from the other


ABOUT_KAFKA = (
    '"logger":"kafka.net.t',
    '"logger":"kafka.net.c',
    '"logger":"kafka.c',
    "FAIL [",
    "heartbeat",
    "in_doubt",
    "away",
)


def await_words(process: EngineProcess, words: str) -> None:
    """Wait until the process has printed these words."""
    deadline = monotonic() + 60
    while words not in process.output:
        assert monotonic() < deadline, process.output
        sleep(0.05)


def test_lines_that_are_left_out_are_counted() -> None:
    """The first line of each stretch says how many were left out since the last one."""
    lines = quiet.LeaveOut(0.2)
    assert lines.count() == 0
    assert [lines.count() for _ in range(3)] == [None] * 3
    sleep(0.25)
    assert lines.count() == 3
    assert lines.count() is None


def test_a_line_about_settings_is_always_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with the level DEBUG every line is."""
    monkeypatch.setattr(quiet, "broker_away", quiet.LeaveOut())
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    quiet.librdkafka_log.addHandler(handler)
    try:
        for text in ("FAIL [x]: one", "FAIL [x]: two", "CONFWARN [x]: three", "FAIL [x]: four"):
            quiet.librdkafka_log.error(text)
        assert lines == ["FAIL [x]: one", "CONFWARN [x]: three"]
        monkeypatch.setattr(quiet, "broker_away", quiet.LeaveOut())
        logging.getLogger("eventsourcing_kafka").setLevel(logging.DEBUG)
        quiet.librdkafka_log.error("FAIL [x]: five")
        quiet.librdkafka_log.error("FAIL [x]: six")
        assert lines[2:] == ["FAIL [x]: five", "FAIL [x]: six"]
    finally:
        logging.getLogger("eventsourcing_kafka").setLevel(logging.NOTSET)
        quiet.librdkafka_log.removeHandler(handler)
