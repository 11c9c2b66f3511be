"""The access rules that README.md names are enough, and each of them is needed: on a broker that checks them."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from eventsourcing_kafka import KafkaApplicationRecorder, Settings, ensure_topic
from eventsourcing_kafka.library import OperationalError
from local.kafka import Broker
from local.processes import free_port, polls
from tests.eventsourcing_kafka.events import stored
from tests.eventsourcing_kafka.test_readme import README

if TYPE_CHECKING:
    from collections.abc import Iterator

Rule = tuple[str, str]


def rules_of(whose: str) -> list[Rule]:
    """Return the operations and what they are on, from the table in README.md: those of its writers or its readers."""
    rows = re.findall(r"^\| \*(\w+)\* on the (\w+)\b.*?\| (.*?) \|$", README, re.MULTILINE)
    return [(operation, resource) for operation, resource, who in rows if whose in who]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, AdminClient]]:
    """Settings of the user `app` on a broker that allows it nothing, and an administrator."""
    ports = {name: free_port() for name in ("PLAINTEXT", "USERS", "CONTROLLER")}
    listeners = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    broker = Broker(
        tmp_path_factory.mktemp("guarded"),
        port=ports["PLAINTEXT"],
        properties={
            "listeners": ",".join(listeners.values()),
            "advertised.listeners": f"{listeners['PLAINTEXT']},{listeners['USERS']}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,USERS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.name.users.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.users.plain.sasl.jaas.config": f'{login} user_app="secret";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    broker.controller_port = ports["CONTROLLER"]
    with broker:
        settings = Settings(
            bootstrap_servers=f"127.0.0.1:{ports['USERS']}",
            topic="guarded",
            replication_factor=1,
            index_folder="temporary",
            connect_timeout=5.0,
            append_timeout=3.0,
            read_timeout=3.0,
            client_id="school",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username="app",
            sasl_password="secret",  # noqa: S106
        )
        ensure_topic(replace(settings, bootstrap_servers=broker.bootstrap, security_protocol="PLAINTEXT"))
        yield settings, AdminClient({"bootstrap.servers": broker.bootstrap})


@contextmanager
def allowed(admin: AdminClient, settings: Settings, rules: list[Rule]) -> Iterator[None]:
    """Allow the user these operations, and nothing else."""
    names = {"topic": settings.topic, "group": settings.client_id, "cluster": "kafka-cluster"}
    kinds: dict[str, Any] = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "cluster": ResourceType.BROKER,
    }
    bindings = [
        AclBinding(
            kinds[resource],
            names[resource],
            ResourcePatternType.LITERAL,
            "User:app",
            "*",
            AclOperation[re.sub(r"(?<!^)(?=[A-Z])", "_", operation).upper()],
            AclPermissionType.ALLOW,
        )
        for operation, resource in rules
    ]
    for made in admin.create_acls(bindings).values() if bindings else ():
        made.result(10)
    yield
    for binding in bindings:
        for gone in admin.delete_acls([_filter_of(binding)]).values():
            gone.result(10)


def _filter_of(binding: AclBinding) -> Any:
    return AclBindingFilter(
        binding.restype, binding.name, binding.resource_pattern_type, binding.principal, binding.host,
        binding.operation, binding.permission_type,
    )  # fmt: skip


def write(settings: Settings) -> None:
    """Take over, insert, look a version up, and read."""
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        version = len(recorder.select_events("a"))
        recorder.insert_events([stored("a", version, "Made", b"{}")])
        assert len(recorder.select_events("a")) == version + 1


def read(settings: Settings) -> None:
    """Read single records, and follow."""
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        assert recorder.select_events("a")
        with recorder.subscribe() as subscription:
            assert next(subscription).id == 1


@pytest.mark.usefixtures("kafka")
def test_the_rules_of_the_readme_are_enough(guarded: tuple[Settings, AdminClient]) -> None:
    """For writers and for readers; the topic exists, or is created with the rule for that."""
    settings, admin = guarded
    assert rules_of("writers") > rules_of("readers") != []
    works(settings, admin, rules_of("writers"), write)
    works(settings, admin, rules_of("readers"), read)
    new = replace(settings, topic="created")
    works(new, admin, [*rules_of("writers"), *rules_of("create")], write)


def works(settings: Settings, admin: AdminClient, rules: list[Rule], work: Any) -> None:
    """Do the work with these rules. A broker learns of a rule a moment later."""
    with allowed(admin, settings, rules):
        for left in polls(10):
            try:
                work(settings)
            except OperationalError:
                if left < 1:
                    raise
            else:
                return


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize("missing", rules_of("writers"), ids=" on ".join)
def test_each_rule_is_needed(guarded: tuple[Settings, AdminClient], missing: Rule) -> None:
    """Without one of them nothing is written, and the error says what is not authorized."""
    settings, admin = guarded
    refused = None
    with allowed(admin, settings, [rule for rule in rules_of("writers") if rule != missing]):
        for left in polls(5):  # a broker learns of a rule a moment later
            try:
                write(settings)
            except OperationalError as error:
                refused = error
                # Who may write to no topic at all gets no producer id, which is a matter of the cluster.
                named = "cluster" if missing == ("Write", "topic") else missing[1]
                if f"{named} authorization failed" in str(error).lower() and left < 4:
                    return
    raise AssertionError(f"it was not needed, or was not named: {refused}")
