"""Connecting clients of kafka-python without leaking a thread when that fails."""

from __future__ import annotations

from typing import Any

from kafka.net.compat import KafkaNetClient

from eventsourcing_kafka.errors import translate_errors
from eventsourcing_kafka.quiet import quiet_kafka_python

__all__ = ["connect"]


def connect(client_class: Any, arguments: dict[str, Any]) -> Any:
    """Return a consumer or admin client that has reached a broker.

    kafka-python 3.0.12 starts a network thread before it connects, and does not stop the thread if connecting fails. A
    service that keeps trying to reach its broker would run out of file descriptors. So this function closes the thread's
    network client.

    Raises:
        OperationalError: no broker answered within ``bootstrap_timeout_ms`` of the arguments.
    """
    quiet_kafka_python()
    networks: list[Any] = []

    def network(**config: Any) -> Any:
        networks.append(KafkaNetClient(**config))
        return networks[-1]

    with translate_errors(f"Cannot connect to {','.join(arguments['bootstrap_servers'])}"):
        try:
            return client_class(**arguments, kafka_client=network)
        except BaseException:
            for each in networks:
                each.close()
            raise
