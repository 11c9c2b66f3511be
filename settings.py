"""All settings, read once from environment variables `TIDINGS_*`. No other file of the program reads the environment.

`tidings settings` prints what `described` returns. The name of a number ends with its unit (`_ms`, `_bytes`, `_max`).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import platformdirs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "TIDINGS_"

_TESTS_PREFIX = f"{PREFIX}TEST_"
_MIB = 1024 * 1024


def _default_home() -> Path:
    """Return the user's data folder. Root's is closed, but PostgreSQL, which does not run as root, must reach its data."""
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/tidings")
    return platformdirs.user_data_path("tidings")


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
        default_factory=_default_home,
        description="folder of all data on this machine: embedded PostgreSQL, local Kafka, snapshots and indexes of the engine",
    )

    # The event log.
    log: Literal["postgres", "kafka"] = Field(default="postgres", description="the store of the event log")
    partition: int = Field(default=0, ge=0, description="partition of the log that this engine writes")
    partitions: int = Field(default=1, ge=1, description="number of partitions of the log; only 1 is supported")
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
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="mechanism of the login to Kafka; required with SASL_PLAINTEXT and SASL_SSL"
    )
    kafka_username: str | None = Field(default=None, description="Kafka user")
    kafka_password: SecretStr | None = Field(default=None, description="password of the Kafka user")
    kafka_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) that must have signed the brokers' certificates; none: those of the system",
    )

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
    public_reads: bool = Field(default=True, description="whether reads need no key")
    operator_key: SecretStr | None = Field(
        default=None,
        min_length=20,
        description="the first API key, with the roles operator and admin; none: random, and printed once",
    )
    body_bytes_max: int = Field(default=_MIB, gt=0, description="the largest body of a request")
    wait_ms: int = Field(
        default=2_000, ge=0, description="longest wait of a read with min_position that does not name one"
    )
    wait_ms_max: int = Field(default=30_000, ge=0, description="longest wait that a read may name")
    waits_max: int = Field(
        default=500,
        ge=0,
        description="the most reads without a key that wait for a position at a time, reads with one, and writes; "
        "further reads are refused (503, TOO_MANY_WAITS), further writes answer without waiting",
    )
    reply_ms: int = Field(
        default=10_000, gt=0, description="longest wait of a write for its reply; then it answers 503"
    )
    stop_ms: int = Field(default=10_000, gt=0, description="time that requests in progress have when the program stops")

    # Logging.
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="format of log lines; 'json': of all lines; 'auto': console on a terminal, otherwise json",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
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

    @field_validator("partitions")
    @classmethod
    def _is_one_partition(cls, value: int) -> int:
        # The read models of two partitions would overwrite each other's rows in one database.
        if value > 1:
            raise ValueError(f"a log of {value} partitions is not supported yet; leave it at 1")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        if self.partition >= self.partitions:
            raise ValueError(f"partition is {self.partition}, expected less than partitions, {self.partitions}")
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_mechanism and self.kafka_username and self.kafka_password
        ):
            raise ValueError(
                f"kafka_security_protocol is {self.kafka_security_protocol}, "
                "expected kafka_sasl_mechanism, kafka_username and kafka_password with it"
            )
        return self

    def kafka_client(self) -> dict[str, Any]:
        """Return the options that every client of kafka-python needs: where Kafka is and how to log in."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.kafka_brokers.split(","),
            "security_protocol": self.kafka_security_protocol,
        }
        if self.kafka_sasl_mechanism:
            options["sasl_mechanism"] = self.kafka_sasl_mechanism
            options["sasl_plain_username"] = self.kafka_username
            options["sasl_plain_password"] = self.kafka_password and self.kafka_password.get_secret_value()
        if self.kafka_ca_file:
            options["ssl_cafile"] = str(self.kafka_ca_file)
        return options

    def rdkafka_client(self) -> dict[str, Any]:
        """Return the same options for the clients of librdkafka."""
        options: dict[str, Any] = {
            "bootstrap.servers": self.kafka_brokers,
            "security.protocol": self.kafka_security_protocol,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 500,
        }
        if self.kafka_sasl_mechanism:
            options["sasl.mechanism"] = self.kafka_sasl_mechanism
            options["sasl.username"] = self.kafka_username
            options["sasl.password"] = self.kafka_password and self.kafka_password.get_secret_value()
        if self.kafka_ca_file:
            options["ssl.ca.location"] = str(self.kafka_ca_file)
        return options


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


def wants_no_color() -> bool:
    """Return whether the user wants text without colors (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def wants_json_logs() -> bool:
    """Return whether the environment asks for JSON in every line, whatever else is wrong with the settings."""
    return os.environ.get(f"{PREFIX}LOG_FORMAT", "").lower() == "json"


class Described(NamedTuple):
    """One setting in the list of `tidings settings`."""

    variable: str
    value: str
    default: str
    description: str


def described(settings: Settings) -> list[Described]:
    """Return every setting, in the order of the file, with secrets masked."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        rows.append(
            Described(
                variable=f"{PREFIX}{name.upper()}",
                value=_display(name, getattr(settings, name)),
                default=_display(name, default),
                description=field.description or "",
            )
        )
    return rows


def unknown_variables() -> list[str]:
    """Return the names of environment variables that look like settings but are none; they are most likely misspelt."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.upper().startswith(PREFIX) and not name.upper().startswith(_TESTS_PREFIX) and name.upper() not in known
    )


def _display(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if name == "dsn":
        masked = {"password": "***"} if "password" in conninfo_to_dict(value) else {}
        return make_conninfo(value, **masked)
    return str(value)
