"""The services of compose.yaml, read as Docker Compose reads them. They are not started, because CI has no Docker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from api.cli.described_settings import described
from api.cli.main import main
from settings import Settings

FILE = Path(__file__).parents[1] / "compose.yaml"
OURS = {"topics", "engine", "standby", "projector", "orders", "feed", "webhooks", "api", "sql-role"}
THIS_MACHINE = "127.0.0.1"


def substituted(value: Any, variables: dict[str, str]) -> Any:
    """Return a value of the file with each `${NAME:-default}` replaced, as Compose does after it has read the YAML."""
    if isinstance(value, dict):
        return {key: substituted(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [substituted(each, variables) for each in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1]) or found[2], value)
    return value


def services(**variables: str) -> dict[str, Any]:
    """Return the services by name, as if the shell had set these variables."""
    found: dict[str, Any] = substituted(yaml.safe_load(FILE.read_text("utf-8"))["services"], variables)
    return found


def settings_of(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of our program in this service."""
    for row in described(Settings.model_construct()):
        monkeypatch.delenv(row.variable, raising=False)
    for name, value in service["environment"].items():
        assert name in {row.variable for row in described(Settings.model_construct())}, f"{name} is no setting"
        monkeypatch.setenv(name, value)
    return Settings()


def listeners(service: dict[str, Any], setting: str) -> dict[str, tuple[str, str]]:
    """Return the host and port of each listener of Kafka, by name."""
    return {
        name: (host, port)
        for name, host, port in re.findall(r"(\w+)://([^:,]*):(\d+)", service["environment"][f"KAFKA_{setting}"])
    }


def published(service: dict[str, Any]) -> dict[str, str]:
    """Return the published ports of a container, by their addresses on this machine."""
    return {address: inside for address, _, inside in (port.rpartition(":") for port in service.get("ports", ()))}


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_of_our_services_can_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command exists, its settings are valid, and they name Kafka as the services know it."""
    service = services()[name]

    with pytest.raises(SystemExit) as ended:
        main([*service["command"], "--help"])

    assert ended.value.code == 0
    assert settings_of(service, monkeypatch).kafka_brokers == "kafka:9092"


def test_a_standby_and_the_feed_run_beside_the_engine() -> None:
    """They are services like the others. The standby has files of its own."""
    found = services()

    assert found.keys() >= OURS
    assert (found["engine"]["command"], found["standby"]["command"]) == (["engine"], ["engine", "--standby"])
    assert found["feed"]["command"] == ["feed"]
    assert found["engine"]["volumes"] != found["standby"]["volumes"]


@pytest.mark.parametrize("password", ["", "p@ss/w#rd", "a%b", 'it\'s \\ "one"', "50%20off", "x${y"])
def test_any_database_password_works(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server and our processes get exactly the same one."""
    found = services(TIDINGS_DATABASE_PASSWORD=password)
    expected = {"host": "postgres", "dbname": "tidings", "user": "tidings", "password": password or "tidings"}

    assert conninfo_to_dict(settings_of(found["api"], monkeypatch).dsn or "") == expected
    assert found["postgres"]["environment"]["POSTGRES_PASSWORD"] == expected["password"]


def test_the_operator_key_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first key is the one that the shell sets. Without it, the first key is random, as everywhere."""
    key = "operator-key-of-the-tests-0123456789"
    given = settings_of(services(TIDINGS_OPERATOR_KEY=key)["api"], monkeypatch).operator_key
    none = settings_of(services()["api"], monkeypatch).operator_key

    assert given is not None
    assert (given.get_secret_value(), none) == (key, None)


def test_the_broker_is_reached_from_this_machine_and_from_the_services() -> None:
    """Each listener advertises an address that its own clients can reach."""
    kafka = services()["kafka"]
    inside, advertised = listeners(kafka, "LISTENERS"), listeners(kafka, "ADVERTISED_LISTENERS")
    protocols = dict(
        pair.split(":") for pair in kafka["environment"]["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    default = Settings.model_fields["kafka_brokers"].default

    assert inside.keys() == protocols.keys()
    assert advertised.keys() == inside.keys() - {kafka["environment"]["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    assert len({port for _, port in inside.values()}) == len(inside)
    assert advertised["PLAINTEXT"] == ("kafka", inside["PLAINTEXT"][1])
    assert ":".join(advertised["HOST"]) == default
    assert published(kafka) == {default: inside["HOST"][1]}


def test_nothing_is_published_beyond_this_machine() -> None:
    """Every published port is bound to this machine's loopback address, and each address is used once."""
    addresses = [address for service in services().values() for address in published(service)]

    assert {address.partition(":")[0] for address in addresses} == {THIS_MACHINE}
    assert len(set(addresses)) == len(addresses)


def test_postgresql_is_healthy_only_when_it_can_be_reached() -> None:
    """The check goes over TCP. While the image creates the database, its server listens on a Unix socket only."""
    assert f"--host={THIS_MACHINE}" in services()["postgres"]["healthcheck"]["test"]


def test_services_wait_for_what_exists() -> None:
    """They wait for the health of services with a check, or for the end of services that end. All volumes are declared."""
    found = services()
    volumes = yaml.safe_load(FILE.read_text("utf-8"))["volumes"]
    for name, service in found.items():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in found[other], f"{name} waits for the health of {other}"
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert found[other]["restart"] == "no", f"{name} waits for the end of {other}"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (FILE.parent / source).exists() if source.startswith(".") else source in volumes
