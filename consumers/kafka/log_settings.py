"""Our settings as `eventsourcing_kafka` takes them."""

from pathlib import Path
from typing import TYPE_CHECKING

from eventsourcing.utils import Environment

import eventsourcing_kafka as es_kafka
from eventsourcing_kafka import accept_lost_log

__all__ = ["accept_lost_log", "kafka_environment", "log_settings"]

if TYPE_CHECKING:
    from settings import Settings


def kafka_environment(settings: "Settings") -> dict[str, str]:
    """Return our settings as the environment of `eventsourcing_kafka`."""
    folder = Path(settings.home) / "index"
    password = settings.kafka_password.get_secret_value() if settings.kafka_password else ""
    return {
        "PERSISTENCE_MODULE": "eventsourcing_kafka",
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_brokers,
        "KAFKA_TOPIC": f"{settings.kafka_topic_prefix}events",
        "KAFKA_PARTITION": str(settings.partition),
        "KAFKA_PARTITIONS": str(settings.partitions),
        "KAFKA_REPLICATION_FACTOR": str(settings.kafka_replication),
        "KAFKA_INDEX_FOLDER": str(folder),
        "KAFKA_APPEND_TIMEOUT": str(settings.append_ms / 1000),
        "KAFKA_SECURITY_PROTOCOL": settings.kafka_security_protocol,
        "KAFKA_SASL_MECHANISM": settings.kafka_sasl_mechanism or "",
        "KAFKA_SASL_USERNAME": settings.kafka_username or "",
        "KAFKA_SASL_PASSWORD": password,
        "KAFKA_SSL_CAFILE": str(settings.kafka_ca_file or ""),
    }


def log_settings(settings: "Settings") -> es_kafka.Settings:
    """Return the settings of the log's reader and writer."""
    return es_kafka.Settings.from_env(Environment("", kafka_environment(settings)))
