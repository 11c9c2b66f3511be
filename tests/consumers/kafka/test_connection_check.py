"""Why Kafka cannot be reached: each cause with a real broker that has a plain, a TLS and a SASL listener."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from consumers.kafka.connection_check import NoKafkaError, check_connection
from local.kafka import Broker
from local.processes import free_port
from settings import Settings, environment
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Made for these tests, for 127.0.0.1 and a hundred years.
KEY_AND_CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguNHILPSBTInYHLDo
LpHP5Y9u5yjEzA7efYnkNK/W8YqhRANCAATBLhPY9votqVRmM9ORJk/LgkCdsrW6
XcsVApHqb75JpdxHYFfRmb0qVUBcjkArDuolCn1ytNJte9tsIo9XyKmt
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBjzCCATagAwIBAgIUOQ8vmxSAg4ryi6zF4rYvFeWgFSYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyOTIzMDkxM1oYDzIxMjYxMTA1
MjMwOTEzWjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATBLhPY9votqVRmM9ORJk/LgkCdsrW6XcsVApHqb75JpdxHYFfRmb0q
VUBcjkArDuolCn1ytNJte9tsIo9XyKmto2QwYjAdBgNVHQ4EFgQUJA4l5Wy/4ter
c1fdtQMjQ9129UgwHwYDVR0jBBgwFoAUJA4l5Wy/4terc1fdtQMjQ9129UgwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0cAMEQC
IFrVBu97vcPM0f2a3ea1f3ZqdnlTXY6jUKeqP3tLyIFqAiAr9Lnyo08TlCRbqcaw
ut6QfIhGQSKsxbr7UaoZ/c6vkg==
-----END CERTIFICATE-----
"""
CERTIFICATE = KEY_AND_CERTIFICATE[KEY_AND_CERTIFICATE.index("-----BEGIN CERTIFICATE") :]


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of the broker's listeners, by protocol."""
    folder = tmp_path_factory.mktemp("kafka")
    (folder / "both.pem").write_text(KEY_AND_CERTIFICATE)
    ports = {protocol: free_port() for protocol in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "CONTROLLER")}
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    broker = Broker(
        folder,
        port=ports["PLAINTEXT"],
        properties={
            "listeners": ",".join(f"{protocol}://127.0.0.1:{port}" for protocol, port in ports.items()),
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,"
            "SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{module} required user_ada="secret";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "both.pem"),
        },
    )
    broker.controller_port = ports["CONTROLLER"]
    with broker:
        yield {protocol: f"127.0.0.1:{port}" for protocol, port in ports.items()}


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """The file with the certificate that signed the broker's: itself."""
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    return tmp_path / "ca.pem"


def client(protocol: str, password: str = "secret", **more: Any) -> Settings:  # noqa: S107  a test's
    """Return the settings of a client of this protocol."""
    login = {"kafka_sasl_mechanism": "PLAIN", "kafka_username": "ada", "kafka_password": SecretStr(password)}
    return Settings(
        log="kafka",
        kafka_security_protocol=protocol,
        **(login if "SASL" in protocol else {}) | more,  # type: ignore[arg-type]
    )


@pytest.mark.usefixtures("kafka")
def test_what_fits_is_reached(listeners: dict[str, str], ca_file: Path) -> None:
    """Each listener answers the client that speaks its protocol; of several brokers one is enough."""
    check_connection(client("PLAINTEXT", kafka_brokers=listeners["PLAINTEXT"]))
    check_connection(client("SSL", kafka_brokers=listeners["SSL"], kafka_ca_file=ca_file))
    check_connection(client("SASL_PLAINTEXT", kafka_brokers=listeners["SASL_PLAINTEXT"]))
    check_connection(client("PLAINTEXT", kafka_brokers=f"127.0.0.1:{free_port()},{listeners['PLAINTEXT']}"))


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize(
    ("listener", "settings", "says"),
    [
        ("PLAINTEXT", client("SSL"), "TLS does not work"),
        ("SSL", client("SSL"), "TLS does not work"),
        ("SSL", client("PLAINTEXT"), "expects TLS or a login"),
        ("SASL_PLAINTEXT", client("PLAINTEXT"), "expects TLS or a login"),
        ("PLAINTEXT", client("SASL_PLAINTEXT"), "the login is refused"),
        ("SASL_PLAINTEXT", client("SASL_PLAINTEXT", "wrong"), "the login is refused"),
        ("SASL_PLAINTEXT", client("SASL_PLAINTEXT", kafka_sasl_mechanism="SCRAM-SHA-256"), "the login is refused"),
    ],
    ids=range(7),
)
def test_what_does_not_fit_is_named(listeners: dict[str, str], settings: Settings, says: str, listener: str) -> None:
    """TLS, login or protocol: the cause, the broker and the settings, after a second or two."""
    begun = time.monotonic()
    settings = settings.model_copy(update={"kafka_brokers": listeners[listener]})

    with pytest.raises(NoKafkaError, match=says) as error:
        check_connection(settings)

    assert listeners[listener] in str(error.value)
    assert "TIDINGS_KAFKA_" in str(error.value)
    assert time.monotonic() - begun < 8


def test_a_wrong_address_is_named() -> None:
    """A port where nobody listens, a host that is not known, a server that says nothing."""
    for brokers in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:9092"):
        with pytest.raises(NoKafkaError, match="nothing answers at this address"):
            check_connection(client("PLAINTEXT", kafka_brokers=brokers))


@pytest.mark.parametrize(
    "arguments",
    [
        ("topics", "check"), ("topics", "create"), ("replay",), ("lag",), ("verify",), ("rebuild", "candles"),
        ("dead-letters", "list"), ("dead-letters", "show", "commands", "1"), ("api",), ("projector",),
        ("engine", "--take-over"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_names_a_missing_broker_at_once(
    database: str, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """The exit code is 3, and the last line names the address."""
    brokers = f"127.0.0.1:{free_port()}"
    settings = Settings(log="kafka", kafka_brokers=brokers, dsn=database, home=tmp_path, port=free_port())

    done = tidings(settings, *arguments)

    assert (done.returncode, brokers in done.stderr.splitlines()[-1]) == (3, True), done.stderr
    assert "nothing answers at this address" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("part", ["engine", "feed"])
def test_what_waits_for_kafka_says_so(tmp_path: Path, part: str) -> None:
    """Engine and feed go on trying; their first lines name the address and the cause."""
    brokers = f"127.0.0.1:{free_port()}"
    settings = Settings(log="kafka", kafka_brokers=brokers, home=tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-m", "api", part], env=environment(settings), stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stderr is not None
        assert any("nothing answers at this address" in child.stderr.readline() for _ in range(5))
    finally:
        child.kill()
        child.communicate()
