"""Our settings as `eventsourcing_kafka` takes them."""

from pathlib import Path
from typing import TYPE_CHECKING

from eventsourcing.utils import Environment

import eventsourcing_kafka as es_kafka
from eventsourcing_kafka import accept_lost_log

__all__ = ["accept_lost_log", "kafka_environment", "log_settings"]

if TYPE_CHECKING:
    from pydantic import SecretStr

    from settings import Settings


def kafka_environment(settings: "Settings") -> dict[str, str]:
    """Return our settings as the environment of `eventsourcing_kafka`."""
    folder = Path(settings.home) / "index"
    return {
        "PERSISTENCE_MODULE": "eventsourcing_kafka",
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_brokers,
        "KAFKA_CLIENT_ID": "tidings",  # also the name of the group that no client joins
        "KAFKA_TOPIC": f"{settings.kafka_topic_prefix}events",
        "KAFKA_PARTITION": str(settings.partition),
        "KAFKA_PARTITIONS": str(settings.partitions),
        "KAFKA_REPLICATION_FACTOR": str(settings.kafka_replication),
        "KAFKA_INDEX_FOLDER": str(folder),
        "KAFKA_APPEND_TIMEOUT": str(settings.append_ms / 1000),
        "KAFKA_SECURITY_PROTOCOL": settings.kafka_security_protocol,
        "KAFKA_SASL_MECHANISM": settings.kafka_sasl_mechanism or "",
        "KAFKA_SASL_USERNAME": settings.kafka_username or "",
        "KAFKA_SASL_PASSWORD": _secret(settings.kafka_password),
        "KAFKA_SASL_TOKEN_URL": settings.kafka_token_url or "",
        "KAFKA_SASL_TOKEN_SCOPE": settings.kafka_token_scope or "",
        "KAFKA_SASL_TOKEN_EXTENSIONS": settings.kafka_token_extensions or "",
        "KAFKA_SASL_TOKEN_CAFILE": str(settings.kafka_token_ca_file or ""),
        "KAFKA_SSL_CAFILE": str(settings.kafka_ca_file or ""),
        "KAFKA_SSL_CERTFILE": str(settings.kafka_cert_file or ""),
        "KAFKA_SSL_KEYFILE": str(settings.kafka_key_file or ""),
        "KAFKA_SSL_PASSWORD": _secret(settings.kafka_key_password),
    }


def _secret(value: "SecretStr | None") -> str:
    return value.get_secret_value() if value else ""


def log_settings(settings: "Settings") -> es_kafka.Settings:
    """Return the settings of the log's reader and writer. Every other client of Kafka connects with them too."""
    return es_kafka.Settings.from_env(Environment("", kafka_environment(settings)))
