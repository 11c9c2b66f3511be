"""Commands that serve, when they refuse to start."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient

from api.demo.run import free_or_other
from consumers.kafka.topics import COMMANDS, topic_name
from local.processes import free_port
from settings import Settings
from tests.api.command_line import tidings
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_parts_apart_need_kafka(settings: Settings) -> None:
    """With the log in PostgreSQL, `api` and `engine` end with 2 and say what to run instead."""
    for part in ("api", "engine"):
        done = tidings(settings, part)
        assert (done.returncode, "tidings serve" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "Address already in use; TIDINGS_PORT"),
        ({"host": "192.0.2.1"}, "of 192.0.2.1: Cannot assign requested address"),
        ({"host": "no-such-host.invalid"}, "of no-such-host.invalid: "),
    ],
    ids=str,
)
def test_an_address_that_cannot_be_listened_on_is_said_first(tmp_path: Path, change: dict[str, str], says: str) -> None:
    """Nothing is started, and the complaint names host, port and the settings that choose others."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = tidings(Settings(home=tmp_path / "home", port=port, **change), "serve")  # type: ignore[arg-type]

    assert (done.returncode, says in done.stderr, f"port {port} " in done.stderr) == (3, True, True), done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("part", ["engine", "feed"])
def test_a_setting_that_the_kafka_client_refuses_is_one_sentence(part: str, tmp_path: Path) -> None:
    """It names the setting, and no part tries again."""
    settings = Settings(
        home=tmp_path, log="kafka", kafka_security_protocol="SSL", kafka_ca_file=tmp_path / "missing.pem"
    )
    done = tidings(settings, part)

    assert done.returncode == 2
    assert done.stderr.startswith("tidings: TIDINGS_KAFKA_CA_FILE is refused: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["api", "serve", "feed", "orders", "webhooks", "lag", "rebuild accounts", "replay", "keys list"],
)
def test_what_knows_one_partition_refuses_several(command: str, tmp_path: Path) -> None:
    """It refuses at once, before anything is started."""
    settings = Settings(home=tmp_path / "home", log="kafka", partition=1, partitions=3)
    done = tidings(settings, *command.split())

    assert (done.returncode, done.stdout) == (2, "")
    why = "TIDINGS_PARTITIONS: this command does not support 3 partitions yet; leave it at 1"
    assert done.stderr == f"tidings: {why}\n"
    assert not (tmp_path / "home").exists()


def test_a_topic_that_could_lose_data_is_one_sentence(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """It names the topic and its setting."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    name = topic_name(settings, COMMANDS)
    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
        admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": {"retention.ms": "1000"}}})
    done = tidings(settings, "feed")

    assert done.returncode == 3
    assert done.stderr.startswith(f"tidings: Topic {name} could lose data: ")
    assert done.stderr.count("\n") == 1


def test_the_demo_takes_another_port_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is free is taken as it is."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert free_or_other(port) != port
    assert f"Port {port} is in use" in capsys.readouterr().err

    free = free_port()
    assert free_or_other(free) == free
    assert capsys.readouterr().err == ""
