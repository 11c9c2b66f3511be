"""Settings from the environment, the safety of topics, and connections with TLS and SASL."""

from __future__ import annotations

import subprocess
from contextlib import closing
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.tests import persistence  # the module: pytest collects what is imported by name
from eventsourcing.utils import Environment
from kafka import KafkaAdminClient

from eventsourcing_kafka import (
    KafkaAggregateRecorder,
    KafkaApplicationRecorder,
    KafkaFactory,
    KafkaProcessRecorder,
    KafkaTrackingRecorder,
    Reader,
    Settings,
    UnsafeTopic,
    ensure_topic,
)
from eventsourcing_kafka.library import InfrastructureFactoryError, OperationalError
from eventsourcing_kafka.producer import Producer
from eventsourcing_kafka.topics import topic_config, unsafe_settings
from local.kafka import Broker
from local.processes import free_port
from tests.eventsourcing_kafka.events import stored, tracking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.eventsourcing_kafka.own_threads import OwnThreads


def environment(settings: Settings, **more: str) -> Environment:
    """Return the environment variables of these settings."""
    return Environment(
        "Bank",
        {
            "PERSISTENCE_MODULE": "eventsourcing_kafka",
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "KAFKA_TOPIC": settings.topic,
            "KAFKA_REPLICATION_FACTOR": "1",
            "KAFKA_INDEX_FOLDER": settings.index_folder,
        }
        | more,
    )


class OwnApplicationRecorder(KafkaApplicationRecorder):
    """An application's own recorder."""


class OwnTrackingRecorder(KafkaTrackingRecorder):
    """A view's own recorder."""


class OwnProcessRecorder(KafkaProcessRecorder):
    """A process application's own recorder."""


class TestFactory(persistence.InfrastructureFactoryTestCase[KafkaFactory]):
    """The library's cases."""

    @pytest.fixture(autouse=True)
    def _environment(self, settings: Settings) -> None:
        self.env = environment(settings)

    def expected_factory_class(self) -> type[KafkaFactory]:
        """Return the class the environment selects."""
        return KafkaFactory

    def expected_aggregate_recorder_class(self) -> type[KafkaAggregateRecorder]:
        """Return the class of recorders without positions."""
        return KafkaAggregateRecorder

    def expected_application_recorder_class(self) -> type[KafkaApplicationRecorder]:
        """Return the class of recorders with positions."""
        return KafkaApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[KafkaTrackingRecorder]:
        """Return the class of recorders of trackings."""
        return KafkaTrackingRecorder

    def expected_process_recorder_class(self) -> type[KafkaProcessRecorder]:
        """Return the class of recorders of process applications."""
        return KafkaProcessRecorder

    def application_recorder_subclass(self) -> type[KafkaApplicationRecorder]:
        """Return a class that the environment may name, since release 10.0."""
        return OwnApplicationRecorder

    def tracking_recorder_subclass(self) -> type[KafkaTrackingRecorder]:
        """Return a class that the environment may name."""
        return OwnTrackingRecorder

    def process_recorder_subclass(self) -> type[KafkaProcessRecorder]:
        """Return a class that the environment may name, since release 10.0."""
        return OwnProcessRecorder


def test_every_setting_comes_from_the_environment() -> None:
    """Each field of `Settings` is read from `KAFKA_<FIELD>`, with or without the application's name as a prefix."""
    values: dict[str, Any] = {
        spec.name: {"str": f"{spec.name}-1", "int": 3, "float": 2.5, "bool": False}[str(spec.type)]
        for spec in fields(Settings)
    }
    env = {f"KAFKA_{name.upper()}": str(value) for name, value in values.items()}

    assert Settings.from_env(Environment("Bank", env)) == Settings(**values)
    assert Settings.from_env(Environment("Bank", env | {"BANK_KAFKA_PARTITION": "7"})).partition == 7
    assert all(spec.metadata["doc"] for spec in fields(Settings))


def test_passwords_are_not_shown() -> None:
    """So settings may be logged."""
    assert "secret" not in repr(Settings(sasl_password="secret", ssl_password="secret"))  # noqa: S106


def test_the_topic_is_named_after_the_application() -> None:
    """If its name is not set."""
    env = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    assert Settings.from_env(Environment("Bank", env)).topic == "bank_events"
    assert Settings.from_env(Environment("", env)).topic == "stored_events"


@pytest.mark.parametrize(
    ("name", "value"),
    [("KAFKA_BOOTSTRAP_SERVERS", ""), ("KAFKA_PARTITION", "one"), ("KAFKA_CREATE_TOPIC", "perhaps")],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    """The error comes before any connection, and names the variable."""
    env = {"PERSISTENCE_MODULE": "eventsourcing_kafka", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"} | {name: value}
    with pytest.raises(InfrastructureFactoryError, match=name):
        InfrastructureFactory.construct(Environment("Bank", env))


def test_snapshots_have_a_topic_of_their_own(settings: Settings) -> None:
    """So have trackings that belong to no events. Closing the factory closes its recorders."""
    factory = KafkaFactory(environment(settings))
    snapshots = factory.aggregate_recorder("snapshots")
    events = factory.application_recorder()
    snapshots.insert_events([stored("a", 1, "Snapshot", b"{}")])
    factory.tracking_recorder().insert_tracking(tracking("upstream", 3))
    assert events.max_notification_id() is None
    with closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)) as admin:
        assert {f"{settings.topic}_snapshots", f"{settings.topic}_tracking"} <= set(admin.list_topics())
    factory.close()
    assert events.closed


def test_a_topic_that_does_not_exist_is_named(settings: Settings) -> None:
    """So is one that exists and lacks the partition."""
    with pytest.raises(UnsafeTopic, match="absent does not exist"):
        ensure_topic(replace(settings, topic="absent", create_topic=False))
    with pytest.raises(UnsafeTopic, match="no partition 2"):
        ensure_topic(replace(settings, partition=2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cleanup.policy", "compact"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "1000000"),
        ("max.message.bytes", "1048588"),
        ("unclean.leader.election.enable", "true"),
        ("message.timestamp.type", "CreateTime"),
    ],
)
def test_a_topic_that_could_lose_data_is_refused(settings: Settings, name: str, value: str) -> None:
    """The error names the setting."""
    unsafe = replace(settings, topic=f"{settings.topic}-unsafe")
    with closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)) as admin:
        configs = topic_config(1) | {name: value}
        admin.create_topics(
            {unsafe.topic: {"num_partitions": 1, "replication_factor": 1, "configs": configs}}, wait_for_metadata=True
        )
    factory = KafkaFactory(environment(unsafe))
    with pytest.raises(UnsafeTopic, match=rf"{name} is {value}, must be"):
        factory.application_recorder()


def test_too_few_replicas_are_refused(settings: Settings) -> None:
    """Three replicas are required unless the settings ask for fewer."""
    with pytest.raises(UnsafeTopic, match="replication factor is 1, must be at least 3"):
        ensure_topic(replace(settings, replication_factor=3))


def test_what_is_unsafe_is_said_in_full() -> None:
    """The message lists every unsafe setting, and also those that would make the topic read-only."""
    safe = topic_config(3)
    assert unsafe_settings(safe, 3, 3) == []
    assert unsafe_settings(safe | {"min.insync.replicas": "3"}, 3, 3) == []
    assert len(unsafe_settings({}, 3, 1)) == 8
    assert unsafe_settings(safe | {"min.insync.replicas": "1"}, 3, 3) == [
        "min.insync.replicas is 1, must be at least 2"
    ]
    assert "nothing can be written" in unsafe_settings(safe | {"min.insync.replicas": "4"}, 3, 3)[0]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see `lost_connections`
@pytest.mark.usefixtures("lost_connections")
def test_an_unreachable_broker_is_an_operational_error(own_threads: OwnThreads, settings: Settings) -> None:
    """It is raised within the time to connect. No attempt leaves a thread or an open file behind."""
    nowhere = replace(settings, bootstrap_servers=f"127.0.0.1:{free_port()}", connect_timeout=0.3)
    for _ in range(3):
        with pytest.raises(OperationalError, match="Cannot connect"):
            ensure_topic(nowhere)
        with pytest.raises(OperationalError, match="Cannot connect"):
            Reader(nowhere).end()
        with pytest.raises(OperationalError, match="Cannot connect"):
            Producer(nowhere)
    assert own_threads.left() == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see `lost_connections`
@pytest.mark.usefixtures("lost_connections")
def test_tls_and_sasl(tmp_path: Path) -> None:
    """Everything works over TLS with a password; nothing works with a wrong password or an untrusted certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    store = tmp_path / "store.pem"
    store.write_text(key.read_text() + certificate.read_text())
    port, plain, controller = free_port(), free_port(), free_port()
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    broker = Broker(
        tmp_path / "broker",
        port=plain,
        properties={
            "listeners": f"PLAINTEXT://127.0.0.1:{plain},SAFE://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain},SAFE://127.0.0.1:{port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SAFE:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.safe.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.safe.plain.sasl.jaas.config": f'{login} user_alice="wonder";',
            "listener.name.safe.ssl.keystore.type": "PEM",
            "listener.name.safe.ssl.keystore.location": str(store),
        },
    )
    with broker:
        settings = Settings(
            bootstrap_servers=f"127.0.0.1:{port}",
            topic="safe",
            replication_factor=1,
            index_folder="temporary",
            connect_timeout=10.0,
            security_protocol="SASL_SSL",
            ssl_cafile=str(certificate),
            sasl_mechanism="PLAIN",
            sasl_username="alice",
            sasl_password="wonder",  # noqa: S106
        )
        with closing(KafkaApplicationRecorder(settings)) as recorder:
            assert recorder.insert_events([stored("a", 1, "Made", b"{}")]) == [1]
            assert len(recorder.select_events("a")) == 1
            with recorder.subscribe() as subscription:
                assert next(subscription).id == 1
        for wrong in (
            replace(settings, sasl_password="wander"),  # noqa: S106
            replace(settings, ssl_cafile=""),
            replace(settings, security_protocol="PLAINTEXT"),
        ):
            with pytest.raises(OperationalError):
                KafkaApplicationRecorder(replace(wrong, connect_timeout=1.0))
