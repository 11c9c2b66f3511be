"""All settings, in one frozen value. ``Settings.from_env`` reads them from the library's environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from eventsourcing.utils import strtobool

if TYPE_CHECKING:
    from eventsourcing.utils import Environment

__all__ = ["Settings"]

MIB = 1024 * 1024
FETCH_BYTES_SINGLE = 128 * 1024
"""The size of a broker's answer to a request for a single record."""


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The connection to one log, and the longest waits for it. Each field has the environment variable ``KAFKA_<FIELD>``."""

    bootstrap_servers: str = _setting("", "host:port of one or more brokers, separated by commas; required")
    topic: str = _setting("stored_events", "the log's topic; default <application name>_events")
    partition: int = _setting(0, "the log's partition")
    create_topic: bool = _setting(default=True, doc="whether to create the topic if it does not exist")
    partitions: int = _setting(1, "the number of partitions of a topic that is created")
    replication_factor: int = _setting(3, "the least replication of the topic; 1 only if you may lose a disk's data")
    index_folder: str = _setting(
        "", "folder of the local index; default: the user's cache folder; 'temporary' for none"
    )
    connect_timeout: float = _setting(10.0, "seconds to wait for the first connection")
    append_timeout: float = _setting(5.0, "seconds to wait for an acknowledgement; then the append is in doubt")
    read_timeout: float = _setting(10.0, "seconds to wait for the next record that must exist")
    record_bytes_max: int = _setting(7 * MIB, "largest record to write; the topic accepts 8 MiB")
    client_id: str = _setting("eventsourcing-kafka", "name of this client in the broker's logs")
    security_protocol: str = _setting("PLAINTEXT", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    ssl_cafile: str = _setting("", "file with the certificate of the authority that signed the brokers' certificates")
    ssl_certfile: str = _setting("", "file with this client's certificate")
    ssl_keyfile: str = _setting("", "file with this client's key")
    ssl_password: str = field(default="", repr=False, metadata={"doc": "password of that key"})
    ssl_check_hostname: bool = _setting(default=True, doc="whether to compare the broker's name with its certificate")
    sasl_mechanism: str = _setting("", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER")
    sasl_username: str = _setting("", "user name for SASL; with OAUTHBEARER the client's id")
    sasl_password: str = field(
        default="", repr=False, metadata={"doc": "password for SASL; with OAUTHBEARER the client's secret"}
    )
    sasl_token_url: str = _setting("", "with OAUTHBEARER: the OpenID provider's endpoint for tokens, an http(s) URL")
    sasl_token_scope: str = _setting("", "with OAUTHBEARER: the scope to ask for")
    sasl_token_extensions: str = _setting("", "with OAUTHBEARER: SASL extensions, as key=value,key=value")
    sasl_token_cafile: str = _setting(
        "", "with OAUTHBEARER: file with the authority of that endpoint's certificate; default: those of the system"
    )

    @classmethod
    def from_env(cls, env: Environment) -> Self:
        """Read the environment variables. The library allows the application's name as a prefix of each.

        Raises:
            OSError: a setting is missing or invalid.
        """
        values: dict[str, Any] = {"topic": f"{env.name.lower() or 'stored'}_events"}
        for spec in fields(cls):
            key = f"KAFKA_{spec.name.upper()}"
            text = env.get(key)
            if not text:
                continue
            try:
                values[spec.name] = _PARSERS[str(spec.type)](text)
            except ValueError as error:
                raise OSError(f"Invalid value for environment variable {key!r}: {text!r}") from error
        if not values.get("bootstrap_servers"):
            raise OSError("Environment variable 'KAFKA_BOOTSTRAP_SERVERS' not set: host:port of a broker")
        return cls(**values)

    def for_topic(self, topic: str) -> Self:
        """Return the same settings for another topic."""
        return replace(self, topic=topic)

    def index_path(self) -> str:
        """Return the path of this log's SQLite file, or "" for a temporary one. Creates the folder."""
        if self.index_folder == "temporary":
            return ""
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(self.index_folder or Path(cache) / "eventsourcing_kafka")
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder / f"{self.topic}-{self.partition}.sqlite")

    def rdkafka_client(self) -> dict[str, Any]:
        """Return the arguments for every client of librdkafka."""
        options = {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.client_id,
            "security.protocol": self.security_protocol,
            "ssl.ca.location": self.ssl_cafile,
            "ssl.certificate.location": self.ssl_certfile,
            "ssl.key.location": self.ssl_keyfile,
            "ssl.key.password": self.ssl_password,
            "ssl.endpoint.identification.algorithm": "https" if self.ssl_check_hostname else "none",
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 500,
            "retry.backoff.ms": 5,
            "retry.backoff.max.ms": 500,
        } | self._login()
        return {key: value for key, value in options.items() if value != ""}

    def _login(self) -> dict[str, Any]:
        if self.sasl_mechanism != "OAUTHBEARER":
            return {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password,
            }
        return {
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.oauthbearer.method": "oidc",  # asks for a token, and for the next one before it expires
            "sasl.oauthbearer.client.id": self.sasl_username,
            "sasl.oauthbearer.client.secret": self.sasl_password,
            "sasl.oauthbearer.token.endpoint.url": self.sasl_token_url,
            "sasl.oauthbearer.scope": self.sasl_token_scope,
            "sasl.oauthbearer.extensions": self.sasl_token_extensions,
            "https.ca.location": self.sasl_token_cafile,
        }

    def rdkafka_producer(self) -> dict[str, Any]:
        """Return the arguments for librdkafka's producer: idempotent, all replicas, one request at a time, bounded waits."""
        timeout_ms = int(self.append_timeout * 1000)
        return self.rdkafka_client() | {
            "enable.idempotence": True,
            "acks": "all",
            "max.in.flight": 1,
            "linger.ms": 0,
            "message.max.bytes": self.record_bytes_max + MIB,
            "message.timeout.ms": timeout_ms,
            "request.timeout.ms": timeout_ms,
        }

    def rdkafka_consumer(self, fetch_wait_ms: int) -> dict[str, Any]:
        """Return the arguments for librdkafka's consumer: no commits, no reset to another offset, all records."""
        return self.rdkafka_client() | {
            "group.id": self.client_id,  # required; creates no group unless a client subscribes or commits
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_uncommitted",  # the rules of the protocol decide which records count
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "check.crcs": True,
            "max.poll.interval.ms": 86_400_000,
            # A leader that is frozen is left, not waited for.
            "socket.timeout.ms": max(fetch_wait_ms + 1_000, int(self.read_timeout * 1000)),
            "fetch.wait.max.ms": fetch_wait_ms,
            "fetch.error.backoff.ms": 20,
            "fetch.queue.backoff.ms": 2,
            "fetch.message.max.bytes": 8 * MIB,
            "fetch.max.bytes": 8 * MIB,
            "queued.max.messages.kbytes": 16 * 1024,
        }

    def rdkafka_fetcher(self) -> dict[str, Any]:
        """Return the arguments for librdkafka's consumer of single records: it asks for little, and waits for nothing."""
        return self.rdkafka_consumer(1) | {  # the next request waits behind this one
            "fetch.message.max.bytes": FETCH_BYTES_SINGLE,
            "queued.min.messages": 1,  # no fetching ahead
            "fetch.error.backoff.ms": 0,
            "fetch.queue.backoff.ms": 0,
        }


_PARSERS: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": strtobool}
