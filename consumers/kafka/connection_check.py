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

if TYPE_CHECKING:
    from settings import Settings

ANSWER_SECONDS: Final = 10.0
"""The longest wait for a broker that neither answers nor refuses."""

_LINE: Final = re.compile(r"\]: (?:[a-z_]+://)?([^/\s]+)/[^/\s]*: (?P<told>.*?) \(after \d+ms in state (?P<state>\w+)")
_ADDRESS: Final = "nothing answers at this address (TIDINGS_KAFKA_BROKERS)"
_TLS: Final = "TLS does not work (TIDINGS_KAFKA_SECURITY_PROTOCOL, TIDINGS_KAFKA_CA_FILE)"
_LOGIN: Final = "the login is refused (TIDINGS_KAFKA_SASL_MECHANISM, TIDINGS_KAFKA_USERNAME, TIDINGS_KAFKA_PASSWORD)"
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
        client = AdminClient(settings.rdkafka_client(), logger=logger)
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
        if len(failed.told) >= len(brokers) or time.monotonic() > deadline:
            break
    told = "; ".join(f"{broker}: {why}" for broker, why in failed.told.items())
    raise NoKafkaError(f"Kafka cannot be reached at {settings.kafka_brokers}: {told or _ADDRESS}")


class _Failures(logging.Handler):
    """Takes the lines of librdkafka's log; `told` has the cause for each broker that has failed."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if found := _LINE.search(record.getMessage()):
            told = found["told"].partition(": verify that ")[0]
            self.told[found[1]] = f"{_CAUSES.get(found['state'], found['state'])}: {told}"
