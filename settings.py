"""All settings, read once from environment variables `TIDINGS_*`. No other file of the program reads the environment.

`tidings settings` lists them. The name of a number ends with its unit (`_ms`, `_bytes`, `_max`,
`_per_second`).
"""

import os
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from local.folders import default_home
from local.languages import Language

PREFIX = "TIDINGS_"

_TESTS_PREFIX = f"{PREFIX}TEST_"
OTLP_PACKAGE = "opentelemetry-exporter-otlp-proto-http"
_MIB = 1024 * 1024


class Settings(BaseSettings):
    """The settings of one process, made once when it starts. They do not change afterwards."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # the input may be a password
    )

    home: Path = Field(
        default_factory=default_home,
        description="folder of all data on this machine: embedded PostgreSQL, local Kafka, snapshots and indexes of the engine",
    )

    # The event log.
    log: Literal["postgres", "kafka"] = Field(default="postgres", description="the store of the event log")
    partition: int = Field(default=0, ge=0, description="partition of the log that this engine writes")
    partitions: int = Field(
        default=1, ge=1, description="number of partitions of the log; engines, projectors and verify know more than 1"
    )
    placing: str = Field(
        default="",
        description="partitions in which new stories and accounts are placed, as 0,1,3; none: all partitions",
    )
    append_ms: int = Field(
        default=5_000,
        gt=0,
        description="time after which an unacknowledged append is in doubt; the engine then takes the log over again",
    )

    # PostgreSQL.
    dsn: str | None = Field(
        default=None,
        repr=False,
        description="the PostgreSQL database, as a URL or conninfo; none: a server of its own under the home",
    )
    database_password: SecretStr | None = Field(
        default=None,
        description="password for the DSN, instead of a password in it; unlike in a URL, nothing is escaped",
    )
    pool_connections_max: int = Field(
        default=10, ge=2, description="the most PostgreSQL connections that one process reads with"
    )
    entry_connections_max: int = Field(
        default=4,
        ge=1,
        description="the most PostgreSQL connections for keys, references, readiness and the answers of writes",
    )

    sql_port: int | None = Field(
        default=None,
        ge=1024,
        le=65_535,
        description="port on 127.0.0.1 at which tools such as Grafana reach the server of its own; none: it has no port",
    )
    sql_password: SecretStr | None = Field(
        default=None, min_length=12, description="password of the roles that `tidings sql-role` makes; none: random"
    )

    # Kafka.
    kafka_brokers: str = Field(
        default="127.0.0.1:9092", description="bootstrap servers of Kafka, host:port, comma-separated"
    )
    kafka_topic_prefix: str = Field(
        default="tidings.", pattern=r"^[A-Za-z0-9._-]*$", description="prefix of the names of all topics"
    )
    kafka_replication: int = Field(
        default=3,
        ge=1,
        description="copies of each topic; 1 only where a lost disk may lose data, as on a developer's machine",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="protocol of the connections to Kafka"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        default=None, description="mechanism of the login to Kafka; required with SASL_PLAINTEXT and SASL_SSL"
    )
    kafka_username: str | None = Field(default=None, description="Kafka user; with OAUTHBEARER the client's id")
    kafka_password: SecretStr | None = Field(
        default=None, description="password of the Kafka user; with OAUTHBEARER the client's secret"
    )
    kafka_token_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="the OpenID provider's endpoint for tokens; required with OAUTHBEARER",
    )
    kafka_token_scope: str | None = Field(default=None, description="the scope to ask for, with OAUTHBEARER")
    kafka_token_extensions: str | None = Field(
        default=None, description="SASL extensions, with OAUTHBEARER, as key=value,key=value"
    )
    kafka_token_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) that must have signed that of kafka_token_url; none: those of the system",
    )
    kafka_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) that must have signed the brokers' certificates; none: those of the system",
    )
    kafka_cert_file: Path | None = Field(
        default=None, description="this program's own certificate (PEM), for brokers that ask for one (mTLS)"
    )
    kafka_key_file: Path | None = Field(default=None, description="the key (PEM) of that certificate")
    kafka_key_password: SecretStr | None = Field(default=None, description="password of that key, if it has one")

    # The engine.
    batch_commands_max: int = Field(default=1_000, ge=1, description="the most commands decided and appended together")
    batch_events_max: int = Field(default=4_000, ge=1, le=4_000, description="the most events appended together")
    batch_bytes_max: int = Field(default=_MIB, ge=64 * 1024, le=_MIB, description="the largest append")
    queue_commands_max: int = Field(
        default=10_000,
        ge=1,
        description="the most commands that wait for the engine; further ones are refused (503, BUSY)",
    )
    clock: Literal["system", "command"] = Field(
        default="system",
        description="source of the time of events; 'command' (for demos and imports) takes the sender's",
    )
    withdrawal_hold_seconds: int = Field(
        default=24 * 3600,
        ge=0,
        le=90 * 24 * 3600,
        description="time for which payouts cannot be withdrawn, only traded; gains in a market cannot be withdrawn either "
        "before it is finalized; 0: all available cash can be withdrawn",
    )

    # HTTP.
    host: str = Field(default="127.0.0.1", description="address that the HTTP server listens on")
    port: int = Field(
        default=8000, ge=0, le=65_535, description="port that the HTTP server listens on; 0: any free one"
    )
    allowed_hosts: str = Field(
        default="",
        description="names that the header Host may have, comma-separated, besides addresses, localhost and the host; "
        "'.example.org' allows all names in it, '*' all names",
    )
    cors_origins: str = Field(
        default="",
        description="origins of web pages that may call the API from a browser, comma-separated, such as "
        "https://app.example.org; '*' allows all",
    )
    ops_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="port at which each process answers /healthz, /readyz and /metrics without a key (those with the API "
        "also /v1/status); processes on one machine need one each; 0: any free one; none: no such server, and the API's "
        "/metrics and /v1/status need a key",
    )
    ops_host: str = Field(default="127.0.0.1", description="address that this second server listens on")
    public_reads: bool = Field(
        default=True, description="whether reads of what is public (stories, markets, the leaderboard) need no key"
    )
    accounts_public: bool = Field(
        default=False,
        description="whether everybody may read what is else private to an account: balances, orders, fills, the log",
    )
    operator_key: SecretStr | None = Field(
        default=None,
        min_length=20,
        description="the first API key, with the roles operator and admin; none: random, and printed once",
    )
    body_bytes_max: int = Field(default=_MIB, gt=0, description="the largest body of a request")
    bodies_bytes_max: int = Field(
        default=16 * _MIB,
        gt=0,
        description="the most bytes of bodies over 8 KiB that are being read, a quarter for one sender (503, BUSY)",
    )
    header_bytes_max: int = Field(
        default=16 * 1024, ge=1024, description="the longest request line with all headers (431, HEADERS_TOO_LARGE)"
    )
    header_ms: int = Field(
        default=10_000, gt=0, description="time that a client has for its headers (408, REQUEST_TIMEOUT)"
    )
    body_ms: int = Field(default=30_000, gt=0, description="time that a client has for its body (408, REQUEST_TIMEOUT)")
    body_bytes_per_second: int = Field(
        default=1_024, ge=0, description="the least bytes of a body in each second after the first one (408)"
    )
    idle_ms: int = Field(default=75_000, gt=0, description="time that a connection may stay open between two requests")
    unread_ms: int = Field(
        default=30_000, gt=0, description="time after which a client that reads nothing of its answer is hung up on"
    )
    connections_max: int = Field(
        default=4_096,
        ge=1,
        description="the most HTTP connections; another one takes the place of an idle one, "
        "or is refused (503, TOO_MANY_CONNECTIONS)",
    )
    address_connections_max: int = Field(
        default=512, ge=1, description="the most HTTP connections of one address; likewise. An IPv6 /64 counts as one"
    )
    proxies: str = Field(
        default="",
        description="addresses of reverse proxies, comma-separated: their X-Forwarded-For is believed, "
        "and their connections are not limited by address",
    )
    read_ms: int = Field(
        default=5_000,
        gt=0,
        description="the longest time of a read in the database, and of any statement of the API (503, READ_TIMEOUT)",
    )
    costly_reads_max: int = Field(
        default=0,
        ge=0,
        description="the most reads at a time of those that take long: equity histories, leaderboards of the past; "
        "0 is half of the CPUs",
    )
    burst_ms: int = Field(
        default=10_000, gt=0, description="time in which unused requests gather: a burst may be so many times the rate"
    )
    key_writes_per_second: float = Field(
        default=2_000,
        ge=0,
        description="the most writes with the keys of one account, or with one key without an account (429, "
        "RATE_LIMITED); an order of a batch is a third of one. For all rates: 0 is no limit",
    )
    key_reads_per_second: float = Field(default=1_000, ge=0, description="the most reads, likewise")
    key_costly_reads_per_second: float = Field(
        default=50, ge=0, description="the most equity histories and leaderboards of the past, likewise"
    )
    refusals_per_second: float = Field(
        default=50,
        ge=0,
        description="the most commands, likewise, that the rules refuse: the log keeps each. Further writes are not taken",
    )
    address_writes_per_second: float = Field(
        default=50, ge=0, description="the most writes without a valid key from one address"
    )
    address_reads_per_second: float = Field(
        default=500, ge=0, description="the most reads without a valid key from one address"
    )
    address_costly_reads_per_second: float = Field(
        default=20, ge=0, description="the most equity histories and leaderboards of the past, likewise"
    )
    failed_keys_per_second: float = Field(
        default=10, ge=0, description="the most requests with unknown keys from one address; it then waits"
    )
    search_language: Language = Field(
        default="simple",
        description="language of stories and markets: a search finds other forms of a word, too; 'simple': only the same word",
    )
    wait_ms: int = Field(default=2_000, ge=0, description="longest wait of a read with min_position that names none")
    wait_ms_max: int = Field(default=30_000, ge=0, description="longest wait that a read may name")
    waits_max: int = Field(
        default=500,
        ge=0,
        description="the most reads without a key that wait for a position at a time, reads with one, and writes; "
        "further reads are refused (503, TOO_MANY_WAITS), further writes answer without waiting",
    )
    stream_connections_max: int = Field(
        default=1_000, ge=1, description="the most open streams; further ones are refused (503, TOO_MANY_STREAMS)"
    )
    stream_owner_connections_max: int = Field(
        default=50, ge=1, description="the most open streams of one account, or of one address without a key"
    )
    stream_seconds_max: int = Field(
        default=3_600,
        ge=1,
        description="time after which a stream ends, give or take a tenth; its client connects again",
    )
    stream_beat_ms: int = Field(
        default=12_000, ge=100, description="time without an event after which a stream gets a beat"
    )
    webhook_private_addresses: bool = Field(default=False, description="whether webhooks may go to private addresses")
    reply_ms: int = Field(default=10_000, gt=0, description="longest wait of a write for its reply; then it gets 503")
    stop_ms: int = Field(default=10_000, gt=0, description="time that requests in progress have when the program stops")

    # Logging.
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="format of log lines; 'json': of all lines; 'auto': console on a terminal, otherwise json",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )

    # Traces.
    traces: bool = Field(
        default=False,
        description="whether to send OpenTelemetry traces, as the standard variables OTEL_* say; needs the extra `traces`",
    )

    @model_validator(mode="before")
    @classmethod
    def _put_password_into_dsn(cls, values: dict[str, Any]) -> dict[str, Any]:
        dsn, password = values.get("dsn"), values.get("database_password")
        if not dsn or not password:
            return values
        if isinstance(password, SecretStr):
            password = password.get_secret_value()
        with suppress(psycopg.ProgrammingError):  # `_is_dsn` complains
            return {**values, "dsn": make_conninfo(dsn, password=password)}
        return values

    @field_validator("dsn")
    @classmethod
    def _is_dsn(cls, value: str | None) -> str | None:
        try:
            conninfo_to_dict(value or "")
        except psycopg.ProgrammingError:
            raise ValueError("expected a PostgreSQL URL or conninfo string") from None
        return value

    @field_validator("traces")
    @classmethod
    def _has_opentelemetry(cls, value: bool) -> bool:
        if value and not any(distributions(name=OTLP_PACKAGE)):
            raise ValueError(f"the package {OTLP_PACKAGE} is not installed; the extra `traces` has it")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.partitions > 1 and self.log != "kafka":
            raise ValueError(f"partitions is {self.partitions}, expected 1 with a log in PostgreSQL")
        if self.partition >= self.partitions:
            raise ValueError(f"partition is {self.partition}, expected less than partitions, {self.partitions}")
        if bad := [each for each in listed(self.placing) if not each.isdecimal() or int(each) >= self.partitions]:
            raise ValueError(f"placing names {bad[0]}, expected numbers below partitions, {self.partitions}")
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_mechanism and self.kafka_username and self.kafka_password
        ):
            raise ValueError(
                f"kafka_security_protocol is {self.kafka_security_protocol}, "
                "expected kafka_sasl_mechanism, kafka_username and kafka_password with it"
            )
        if self.kafka_sasl_mechanism == "OAUTHBEARER" and not self.kafka_token_url:
            raise ValueError("kafka_sasl_mechanism is OAUTHBEARER, expected kafka_token_url with it")
        if bool(self.kafka_cert_file) != bool(self.kafka_key_file):
            raise ValueError("expected kafka_cert_file and kafka_key_file together, or neither")
        if self.kafka_cert_file and not self.kafka_security_protocol.endswith("SSL"):
            raise ValueError(
                f"kafka_cert_file is set, expected kafka_security_protocol SSL or SASL_SSL with it, "
                f"not {self.kafka_security_protocol}"
            )
        return self


def listed(text: str) -> list[str]:
    """Return the items of a comma-separated setting."""
    return [item for each in text.split(",") if (item := each.strip())]


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of another process of this program, with exactly these settings."""
    variables = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            variables[f"{PREFIX}{name.upper()}"] = str(value).lower() if isinstance(value, bool) else str(value)
    return variables


def environment_of_strangers() -> dict[str, str]:
    """Return the environment of a process that runs somebody's code: nothing in it says where an exchange keeps its data."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith((PREFIX, "PG"))}


def wants_no_color() -> bool:
    """Return whether the user wants text without colors (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def wants_json_logs() -> bool:
    """Return whether the environment asks for JSON in every line, whatever else is wrong with the settings."""
    return os.environ.get(f"{PREFIX}LOG_FORMAT", "").lower() == "json"


def unknown_variables() -> list[str]:
    """Return the names of environment variables that look like settings but are none; they are most likely misspelt."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.upper().startswith(PREFIX) and not name.upper().startswith(_TESTS_PREFIX) and name.upper() not in known
    )
