"""Why Kafka cannot be reached, in words: the address, TLS, or the login.

The clients only say that time is up. But librdkafka logs each failed attempt with the state that it was in, and that state
tells what is wrong. So this module makes one short connection and reads that log.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumers.kafka.log_settings import log_settings

if TYPE_CHECKING:
    from settings import Settings

ANSWER_SECONDS: Final = 10.0
"""The longest wait for a broker that neither answers nor refuses."""

_LINE: Final = re.compile(r"\]: (?:[a-z_]+://)?([^/\s]+)/[^/\s]*: (?P<told>.*?) \(after \d+ms in state (?P<state>\w+)")
_NO_TOKEN: Final = re.compile(r"Failed to retrieve OIDC token from (.*)")
_ADDRESS: Final = "nothing answers at this address (TIDINGS_KAFKA_BROKERS)"
_TLS: Final = (
    "TLS does not work (TIDINGS_KAFKA_SECURITY_PROTOCOL, TIDINGS_KAFKA_CA_FILE, "
    "TIDINGS_KAFKA_CERT_FILE where the broker asks for a certificate)"
)
_LOGIN: Final = "the login is refused (TIDINGS_KAFKA_SASL_MECHANISM, TIDINGS_KAFKA_USERNAME, TIDINGS_KAFKA_PASSWORD)"
_NEEDS_TOKEN: Final = "no token (TIDINGS_KAFKA_TOKEN_URL, TIDINGS_KAFKA_USERNAME, TIDINGS_KAFKA_PASSWORD)"  # noqa: S105  none
_PROTOCOL: Final = "the broker ends the connection: it expects TLS or a login (TIDINGS_KAFKA_SECURITY_PROTOCOL)"
_CAUSES: Final = {
    "CONNECT": _ADDRESS,
    "SSL_HANDSHAKE": _TLS,
    "AUTH_LEGACY": _LOGIN,
    "AUTH_HANDSHAKE": _LOGIN,
    "AUTH_REQ": _LOGIN,
    "APIVERSION_QUERY": _PROTOCOL,
    "UP": _PROTOCOL,
}


_SETTINGS: Final = {
    "ssl.ca.location": "TIDINGS_KAFKA_CA_FILE",
    "ssl.certificate.location": "TIDINGS_KAFKA_CERT_FILE",
    "ssl.key.location": "TIDINGS_KAFKA_KEY_FILE or TIDINGS_KAFKA_KEY_PASSWORD",
    "https.ca.location": "TIDINGS_KAFKA_TOKEN_CA_FILE",
    "sasl.oauthbearer": "TIDINGS_KAFKA_TOKEN_*",
    "sasl.mechanism": "TIDINGS_KAFKA_SASL_MECHANISM",
    "bootstrap.servers": "TIDINGS_KAFKA_BROKERS",
    "broker": "TIDINGS_KAFKA_BROKERS",
}
"""The words by which librdkafka names a setting that it refuses, and our name of that setting."""


class KafkaSettingsError(ValueError):
    """A client cannot even be made with these settings; the message names the setting. Trying again does not help."""


class NoKafkaError(OSError):
    """No broker can be used; the message names the brokers, the cause and the settings to look at."""


def check_connection(settings: Settings) -> None:
    """Return if a broker of the settings answers.

    Raises:
        KafkaSettingsError: a setting is refused.
        NoKafkaError: all brokers have refused, or time is up.
    """
    failed = _Failures()
    logger = logging.Logger("librdkafka")  # noqa: LOG001  of this connection only
    logger.addHandler(failed)
    try:
        client = AdminClient(log_settings(settings).rdkafka_client(), logger=logger)
    except KafkaException as error:
        told = error.args[0].str()
        name = next((ours for theirs, ours in _SETTINGS.items() if theirs in told), "TIDINGS_KAFKA_*")
        raise KafkaSettingsError(f"{name} is refused: {told.partition(': ')[2] or told}") from error
    brokers = {broker.strip() for broker in settings.kafka_brokers.split(",")}
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            client.list_topics(timeout=0.5)
        except KafkaException:
            client.poll(0)  # delivers the log
        else:
            return
        if failed.no_token or len(failed.told) >= len(brokers) or time.monotonic() > deadline:
            break
    told = failed.no_token or "; ".join(f"{broker}: {why}" for broker, why in failed.told.items())
    raise NoKafkaError(f"Kafka cannot be reached at {settings.kafka_brokers}: {told or _ADDRESS}")


class _Failures(logging.Handler):
    """Takes the lines of librdkafka's log; `told` has the cause for each broker that has failed."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, str] = {}
        self.no_token = ""
        """Why there is no token for the login; then no broker is asked."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if found := _NO_TOKEN.search(message):
            self.no_token = f"{_NEEDS_TOKEN}: {found[1]}"
        elif found := _LINE.search(message):
            told = found["told"].partition(": verify that ")[0]
            # With TLS 1.3 a broker refuses a client's certificate only after the handshake.
            cause = _TLS if "SSL alert" in told else _CAUSES.get(found["state"], found["state"])
            self.told[found[1]] = f"{cause}: {told}"
