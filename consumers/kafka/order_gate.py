"""The gate of trading services: takes signed records from `orders`, and passes those that are right on to `commands`.

A service may write to `orders` and to nothing else. Its record is passed on byte for byte if a key of the exchange has
signed it, and if it is an order, a cancel or an amendment for the account of this key. Everything else becomes a dead
letter. The engine then treats it as any command, and replies on `replies`.

The gate commits how far it has read after `commands` and `dead-letters` hold what came before. Killed at any moment it
passes a record on twice at most, which has no second effect.
"""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from confluent_kafka import Message
from eventsourcing.persistence import OperationalError

from consumers.kafka.records import FROM_GATE, RecordReader, RecordSender, offset_of
from consumers.kafka.topics import COMMANDS, DEAD_LETTERS, ORDERS, RECORD_BYTES_MAX, ensure_topics, topic_name
from messages.command_ids import check_owner
from messages.commands import UnreadableError, parse_command
from messages.dead_letters import dump_letter, make_letter
from messages.signed_orders import check_service_command, check_signature, signed_headers

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()

IDLE_SECONDS: Final = 0.5
"""The longest wait for records before the gate looks whether to stop."""

WRITE_SECONDS: Final = 10.0
"""The longest wait until the broker has what was passed on."""

KNOWN_SECONDS: Final = 1.0
"""The time for which the gate remembers a key: so soon a revoked key signs no more."""

KNOWN_MAX: Final = 10_000
"""The most keys that the gate remembers, unknown ones included."""

RETRY_SECONDS_MAX: Final = 5.0
"""The longest pause after an interruption."""

STUCK_SECONDS: Final = 10.0
"""The time for one record, or without a look for records, after which the gate counts as stuck."""


class Signer(NamedTuple):
    """A key that may sign: the SHA-256 of its secret, and the account that it trades for."""

    key_hash: bytes
    account_id: str


class OrderGate:
    """One partition of `orders`, in the caller's thread."""

    def __init__(self, settings: "Settings", find_signer: Callable[[str], Signer | None]) -> None:
        """Nothing is connected before `run`.

        `find_signer` returns the signer with a key's id, None if there is no such trader's key or it ended; it raises
        OperationalError when it cannot know.
        """
        self._settings = settings
        self._find_signer = find_signer
        self._known: dict[str, tuple[float, Signer | None]] = {}
        self._topic = topic_name(settings, ORDERS)
        self._stopping = threading.Event()
        self._following = False
        self._looked_at = 0.0
        self.passed = 0
        """The number of records that were passed on."""

    def missing(self) -> list[str]:
        """Return what it lacks for its work: Kafka or the database, or a loop that is not stuck. For any thread."""
        if not self._following:
            return ["kafka or database"]
        return ["orders are stuck"] if monotonic() - self._looked_at > STUCK_SECONDS else []

    def request_stop(self) -> None:
        """End soon; returns at once, may be called in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Run until stopped; tries again while no broker or no database answers. Raises UnsafeTopic."""
        wait = 0.1
        while not self._stopping.is_set():
            try:
                ensure_topics(self._settings, create=False)
                self._follow()
            except OperationalError as error:
                self._following = False
                _log.warning("order_gate_interrupted", error=str(error), retry_seconds=wait)
                self._stopping.wait(wait)
                wait = min(2 * wait, RETRY_SECONDS_MAX)

    def _follow(self) -> None:
        reader = RecordReader(self._settings, self._topic, self._settings.partition)
        sender = RecordSender(self._settings, in_order=True)
        try:
            reader.seek_to_committed()
            _log.info("order_gate_started", topic=self._topic)
            self._looked_at = monotonic()
            self._following = True
            while not self._stopping.is_set():
                self._looked_at = monotonic()
                records = reader.take(500, IDLE_SECONDS)
                if records:
                    self._pass(sender, records)
                    reader.commit(offset_of(records[-1]) + 1)
        finally:
            sender.close()
            reader.close()

    def _pass(self, sender: RecordSender, records: Sequence[Message]) -> None:
        """Pass records on, or park them; return when the topics have them."""
        for record in records:
            self._looked_at = monotonic()
            value = record.value() or b""
            try:
                self._check(record, value)
            except UnreadableError as error:
                place = (self._topic, self._settings.partition, offset_of(record))
                letter = dump_letter(make_letter(str(error), place, None, value, record.key()))
                sender.write(topic_name(self._settings, DEAD_LETTERS), [letter], WRITE_SECONDS)
                _log.warning("order_refused", offset=offset_of(record), reason=str(error))
            else:
                sender.write(
                    topic_name(self._settings, COMMANDS),
                    [value],
                    WRITE_SECONDS,
                    partition=self._settings.partition,
                    headers=FROM_GATE,
                )
                self.passed += 1

    def _check(self, record: Message, value: bytes) -> None:
        if len(value) > RECORD_BYTES_MAX:
            raise UnreadableError(f"the record has {len(value)} bytes, more than {RECORD_BYTES_MAX}")
        headers = signed_headers(record.headers())  # type: ignore[arg-type]  # what was read is bytes
        signer = self._signer(headers["key-id"])
        if signer is None:
            raise UnreadableError("the header key-id names no key of a trader, or one that has ended")
        check_signature(value, headers, signer.key_hash, record.timestamp()[1] * 1_000)
        submitted = parse_command(value)
        check_service_command(submitted, signer.account_id)
        check_owner(submitted, sender="orders")

    def _signer(self, key_id: str) -> Signer | None:
        now = monotonic()
        known = self._known.get(key_id)
        if known is None or known[0] < now:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[key_id] = now + KNOWN_SECONDS, self._find_signer(key_id)
        return known[1]
