"""The local Kafka broker: starting, the jars, and the recovery after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from local import jars
from local.kafka import Broker, java
from local.processes import PORTS, StartError, free_port, polls

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]

STARTER = """
import sys
from pathlib import Path
from local.kafka import Broker
broker = Broker(Path(sys.argv[1]))
broker.launch()
print(broker.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def admin(own_kafka: Broker) -> Iterator[KafkaAdminClient]:
    """An admin client of the broker for this test."""
    client = KafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)
    yield client
    client.close()


def test_keeps_what_was_acknowledged_when_killed(own_kafka: Broker) -> None:
    """After kill -9, a start restores the record on the same port, and returns only when the broker is ready."""
    admin = KafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)
    admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=own_kafka.bootstrap, acks="all")
    producer.send("kept", b"hello").get(timeout=20)
    producer.close()
    bootstrap = own_kafka.bootstrap

    own_kafka.kill()
    assert own_kafka.pid is None
    own_kafka.start()

    assert bootstrap == own_kafka.bootstrap
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    assert producer.send("kept", b"again").get(timeout=20).offset == 1
    producer.close()


def test_makes_no_topic_that_nobody_asked_for(kafka: str, topic_prefix: str) -> None:
    """A misspelt topic name creates no topic."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.create_topics([NewTopic(f"{topic_prefix}right", num_partitions=1, replication_factor=1)])
    admin.describe_topics([f"{topic_prefix}wrong"])

    assert [f"{topic_prefix}right"] == [name for name in admin.list_topics() if name.startswith(topic_prefix)]
    admin.close()


def test_listens_on_this_machine_only(own_kafka: Broker) -> None:
    """Every listening socket of the broker is on 127.0.0.1, at a port that no system gives to clients."""
    sockets = psutil.Process(own_kafka.pid).net_connections("tcp")
    listening = [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]

    assert {own_kafka.port, own_kafka.controller_port} == {address.port for address in listening}
    assert all(address.ip.endswith("127.0.0.1") for address in listening)
    assert all(address.port in PORTS for address in listening)


def test_ends_with_its_starter(tmp_path: Path) -> None:
    """Kill -9 of the process that started a broker leaves no broker behind."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "kafka")],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout
    broker = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.communicate()

    broker.wait(timeout=20)


def test_says_why_it_did_not_start(tmp_path: Path) -> None:
    """If the broker ends at once, `start` raises at once, with the last lines of its log."""
    broker = Broker(tmp_path / "kafka", properties={"num.io.threads": "0"})

    with pytest.raises(StartError, match=r"num\.io\.threads"):
        broker.start()


def test_a_paused_broker_can_be_stopped(own_kafka: Broker) -> None:
    """`stop` ends a broker that got SIGSTOP."""
    own_kafka.pause()
    own_kafka.stop()

    assert own_kafka.pid is None


def test_a_jar_that_is_not_the_one_we_know_is_refused(tmp_path: Path) -> None:
    """A jar whose hash differs from that in `kafka_jars.txt` never reaches the cache."""
    jar = jars.Jar("org.slf4j", "slf4j-simple", "1.7.36", sha256="0" * 64)

    with pytest.raises(StartError, match="expected SHA-256 0000"):
        jars._fetch_one(jar, tmp_path / "scratch", tmp_path)

    assert not (tmp_path / jar.file_name).exists()


def test_the_cache_has_every_jar_and_nothing_half_fetched(kafka: str) -> None:
    """After a start the cache holds the jars of `kafka_jars.txt`, perhaps those of a measurement too, and no partial file."""
    paths = jars.fetch()

    assert {path.name for path in paths} <= {path.name for path in jars.default_folder().glob("*.jar")}
    assert not list(jars.default_folder().glob("fetching-*"))


def test_a_java_is_found() -> None:
    """The Java from the wheel runs."""
    done = subprocess.run([java(), "-version"], capture_output=True, text=True, check=True)

    assert "version" in done.stderr


def test_a_free_port_is_free_and_no_client_port() -> None:
    """The port is in a range that no system gives to clients."""
    assert free_port() in PORTS


def test_polls_end() -> None:
    """The wait is bounded, and the seconds that are left only decrease."""
    left = list(polls(0.2))

    assert left == sorted(left, reverse=True)
    assert 0 < left[-1] <= left[0] <= 0.2
