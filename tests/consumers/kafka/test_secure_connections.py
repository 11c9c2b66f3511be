"""Every connection to Kafka with a client's certificate, with SCRAM and with OAUTHBEARER, on a real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from consumers.kafka.connection_check import KafkaSettingsError, NoKafkaError, check_connection
from consumers.kafka.event_publisher import EventPublisher
from consumers.kafka.log_settings import log_settings
from consumers.kafka.topics import ensure_topics
from settings import Settings
from tests.consumers.exchange_fixtures import engine_over_kafka
from tests.consumers.kafka.secure_broker import PASSWORD, USER, secure_broker
from tidings_client.kafka import KafkaClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.consumers.kafka.secure_broker import SecureBroker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """The broker of these tests."""
    with secure_broker(tmp_path_factory.mktemp("secure")) as running:
        yield running


def settings_for(broker: SecureBroker, listener: str, home: Path, **changed: Any) -> Settings:
    """Return the settings of a program that uses this listener."""
    login: dict[str, Any] = {"kafka_username": USER, "kafka_password": SecretStr(PASSWORD)}
    fitting: dict[str, dict[str, Any]] = {
        "MTLS": {
            "kafka_security_protocol": "SSL",
            "kafka_cert_file": broker.certificate,
            "kafka_key_file": broker.key,
            "kafka_key_password": SecretStr(PASSWORD),
        },
        "SCRAM": login | {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "SCRAM-SHA-512"},
        "OAUTH": login
        | {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "OAUTHBEARER",
            "kafka_token_url": broker.token_url,
            "kafka_token_scope": "kafka",
        },
    }
    common: dict[str, Any] = {
        "home": home,
        "log": "kafka",
        "kafka_brokers": broker.addresses[listener],
        "kafka_ca_file": broker.ca,
        "kafka_replication": 1,
        "kafka_topic_prefix": f"{listener}.",
    }
    return Settings(**common | fitting[listener] | changed)


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize("listener", ["MTLS", "SCRAM", "OAUTH"])
def test_the_whole_exchange_works(broker: SecureBroker, listener: str, tmp_path: Path) -> None:
    """Topics, engine with log and heartbeats, a client with commands and replies, and the feed."""
    settings = settings_for(broker, listener, tmp_path)
    before = len(broker.tokens)

    check_connection(settings)
    ensure_topics(settings)
    with (
        engine_over_kafka(settings),
        KafkaClient(log_settings(settings).rdkafka_client(), topic_prefix=settings.kafka_topic_prefix) as client,
        EventPublisher(settings) as feed,
    ):
        reply = client.submit("OpenAccount", {"name": "Ada"}, "one")
        assert feed.wait_for(reply.position, 30)

    assert reply.code is None
    tokens = broker.tokens[before:]
    assert bool(tokens) == (listener == "OAUTH")
    assert all(asked.startswith(f"{USER}:{PASSWORD} grant_type=client_credentials&scope=kafka") for asked in tokens)


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize(
    ("listener", "changed", "says"),
    [
        ("MTLS", {"kafka_cert_file": None, "kafka_key_file": None}, "TLS does not work .*TIDINGS_KAFKA_CERT_FILE"),
        ("MTLS", {"kafka_cert_file": "stranger.pem", "kafka_key_file": "stranger.key"}, "TLS does not work"),
        ("MTLS", {"kafka_key_password": SecretStr("wrong")}, "TIDINGS_KAFKA_KEY_PASSWORD is refused"),
        ("MTLS", {"kafka_key_file": "absent.key"}, "TIDINGS_KAFKA_KEY_FILE.* is refused"),
        ("SCRAM", {"kafka_password": SecretStr("wrong")}, "the login is refused"),
        ("OAUTH", {"kafka_password": SecretStr("wrong")}, "no token .*TIDINGS_KAFKA_TOKEN_URL"),
        ("OAUTH", {"kafka_token_url": "http://127.0.0.1:1/token"}, "no token .*TIDINGS_KAFKA_TOKEN_URL"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    broker: SecureBroker, listener: str, changed: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """The cause and the settings to look at; never the password."""
    files = {
        name: broker.ca.with_name(value) for name, value in changed.items() if str(value).endswith((".pem", ".key"))
    }
    settings = settings_for(broker, listener, tmp_path, **changed | files)

    with pytest.raises((NoKafkaError, KafkaSettingsError), match=says) as error:
        check_connection(settings)

    assert PASSWORD not in str(error.value)
