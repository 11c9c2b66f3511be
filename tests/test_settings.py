"""The settings: read from the environment, checked, and shown without their secrets."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from api.cli.described_settings import described
from settings import Settings, environment, unknown_variables

SECRET = "a-long-enough-operator-key"  # noqa: S105  # an example
PASSWORDS = ["p@ss/w#rd", "a%b", "50%20off", 'it\'s \\ "one"', "password=1 host=x", "$x:y?z&"]
"""Passwords with characters that mean something in a URL or in a conninfo string."""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all settings from the environment of a test."""
    for row in described(Settings.model_construct()):
        monkeypatch.delenv(row.variable, raising=False)


def test_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TIDINGS_<NAME>` sets a setting; an empty variable counts as none."""
    monkeypatch.setenv("TIDINGS_PORT", "8123")
    monkeypatch.setenv("TIDINGS_HOME", "/somewhere")
    monkeypatch.setenv("TIDINGS_DSN", "")

    settings = Settings()

    assert (8123, Path("/somewhere"), None) == (settings.port, settings.home, settings.dsn)


def test_do_not_change() -> None:
    """Settings are read once; assigning to one is an error."""
    settings = Settings()

    with pytest.raises(pydantic.ValidationError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"partition": 1}, "expected less than partitions"),
        ({"partitions": 2}, "partitions is 2, expected 1 with a log in PostgreSQL"),
        ({"log": "kafka", "partition": 2, "partitions": 2}, "partition is 2, expected less than partitions, 2"),
        ({"placing": "0,1"}, "placing names 1, expected numbers below partitions, 1"),
        ({"placing": "0-3"}, "placing names 0-3"),
        ({"kafka_security_protocol": "SASL_SSL"}, "expected kafka_sasl_mechanism"),
        ({"batch_events_max": 4_001}, "4000"),
        ({"operator_key": "short"}, "20"),
        ({"dsn": "hunter2"}, "expected a PostgreSQL URL"),
        ({"no_such": "1"}, "Extra inputs"),
    ],
)
def test_invalid_settings_are_refused(values: dict[str, object], reason: str) -> None:
    """A setting out of its limits, or in conflict with another, is refused with the reason."""
    with pytest.raises(pydantic.ValidationError, match=reason) as error:
        Settings.model_validate(values)

    assert "hunter2" not in str(error.value)


def test_every_setting_is_described() -> None:
    """`tidings settings` describes every setting."""
    assert [row.variable for row in described(Settings()) if not row.description] == []


def test_secrets_are_not_shown() -> None:
    """Neither the list of settings nor a settings object in a log line has a password or key."""
    settings = Settings(
        dsn="postgresql://ann:hunter2@db.example/tidings",
        operator_key=SecretStr(SECRET),
        kafka_password=SecretStr("hunter2"),
    )
    shown = f"{settings!r} {described(settings)}"

    assert "hunter2" not in shown
    assert SECRET not in shown
    assert "db.example" in shown


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_database_password_is_taken_as_it_is(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may contain any characters. A process that gets its settings from another one has the same DSN."""
    monkeypatch.setenv("TIDINGS_DSN", "postgresql://ann@db.example/tidings?application_name=x")
    monkeypatch.setenv("TIDINGS_DATABASE_PASSWORD", password)
    settings = Settings()
    wanted = {
        "host": "db.example",
        "user": "ann",
        "dbname": "tidings",
        "application_name": "x",
        "password": password,
    }

    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    assert conninfo_to_dict(settings.dsn or "") == wanted
    assert conninfo_to_dict(Settings().dsn or "") == wanted
    assert password not in f"{settings!r} {described(settings)}"


def test_a_database_password_alone_names_no_database() -> None:
    """It belongs to the DSN; an embedded server needs no password."""
    assert Settings(database_password=SecretStr("p")).dsn is None
    with pytest.raises(pydantic.ValidationError, match="expected a PostgreSQL URL") as error:
        Settings(dsn="hunter2", database_password=SecretStr("p"))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "kafka_username and kafka_password"),
        (
            {
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": "OAUTHBEARER",
                "username": "exchange",
                "password": SecretStr("hunter2"),
            },
            "kafka_token_url",
        ),
        ({"security_protocol": "SSL", "cert_file": Path("own.pem")}, "kafka_cert_file and kafka_key_file together"),
        ({"security_protocol": "SSL", "key_file": Path("own.key")}, "kafka_cert_file and kafka_key_file together"),
        ({"cert_file": Path("own.pem"), "key_file": Path("own.key")}, "kafka_security_protocol SSL or SASL_SSL"),
    ],
)
def test_what_is_missing_for_the_login_to_kafka_is_named(settings: dict[str, object], expected: str) -> None:
    """Before anything connects."""
    with pytest.raises(pydantic.ValidationError, match=expected):
        Settings(**{f"kafka_{name}": value for name, value in settings.items()})  # type: ignore[arg-type]


def test_misspelt_settings_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `TIDINGS_` variable that is no setting is reported, unless it belongs to the tests."""
    monkeypatch.setenv("TIDINGS_PROT", "8123")
    monkeypatch.setenv("TIDINGS_TEST_DSN", "x")
    monkeypatch.setenv("TIDINGS_PORT", "8123")

    assert unknown_variables() == ["TIDINGS_PROT"]
