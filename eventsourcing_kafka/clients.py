"""Making clients of kafka-python that leave nothing behind when they cannot connect."""

from __future__ import annotations

from typing import Any

from kafka.net.compat import KafkaNetClient

from eventsourcing_kafka.errors import translated

__all__ = ["connected"]


def connected(kind: Any, arguments: dict[str, Any]) -> Any:
    """Return a consumer or admin client that has reached a broker.

    kafka-python 3.0.12 starts a thread for a client's network before it connects, and lets it run on when that fails:
    a service that waits for its broker by trying again would run out of files.

    Raises:
        OperationalError: no broker answered within the time to connect.
    """
    networks: list[Any] = []

    def network(**config: Any) -> Any:
        networks.append(KafkaNetClient(**config))
        return networks[-1]

    with translated(f"Cannot connect to {','.join(arguments['bootstrap_servers'])}"):
        try:
            return kind(**arguments, kafka_client=network)
        except BaseException:
            for each in networks:
                each.close()
            raise
