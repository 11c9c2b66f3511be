"""Heartbeats between the engines of one partition. They decide who takes over, and when; the log decides who may write.

Every engine sends heartbeats to the topic `heartbeats` several times a second, from its working loop. A standby takes
over when it has heard nothing from the writer for `SILENCE_SECONDS` and the log has not grown. It measures that time
between its own heartbeats as they come back to it. So while the broker is away the time stands still; and an engine
that was paused first reads all that the others have sent meanwhile, and only then its own next heartbeat. The patience
of two standbys differs at random. If both claim the log, one claim wins. While one takes over, the others are more patient.

    {"name": "9f..", "role": "writer", "epoch": 4, "position": 17, "sent": 12.5}      "standby", "claiming", "ended", or:
    {"name": "77..", "role": "caller", "successor": "9f.."}                           the standby 9f.. is to take over

A writer that hears of a higher epoch, or that it is to end, does not believe it: whoever may write to the topic can send
that. It appends, and the log tells whether another engine has claimed it; and it ends only for a standby that it has heard
within `HEARD_SECONDS`. A record that is no heartbeat is counted and skipped.
"""

import math
import random
from contextlib import suppress
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import structlog
from eventsourcing.persistence import OperationalError

from consumers.engine.log import Fenced, InDoubt, mapped_errors
from consumers.kafka.errors import TOPIC_ERRORS
from consumers.kafka.records import RecordReader, RecordSender
from consumers.kafka.topics import HEARTBEATS, ensure_topics_once, topic_name
from consumers.kafka.unreadable import UnreadableRecords
from messages.json_text import decode_untrusted

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()

SECONDS: Final = 0.1
"""The time from one heartbeat to the next."""

ALONE_SECONDS: Final = 0.25
"""The same of a writer that has heard no standby for `HEARD_SECONDS`: a third of the longest silence."""

SILENCE_SECONDS: Final = 0.7
"""The silence after which a standby succeeds the writer, alive or not. A shorter one would punish a slow moment."""

PATIENCE_SECONDS: Final = 0.2
"""The most that a standby adds to that silence, at random, so that two standbys differ."""

CLAIM_SECONDS: Final = 1.5
"""The time that other standbys add to that silence when one of them claims the log: it sends nothing until it writes."""

HAND_OVER_SECONDS: Final = 1.0
"""The longest wait of a standby that was told to take over for the writer to end by itself."""

HEARD_SECONDS: Final = 3.0
"""The age of a standby's last heartbeat up to which the writer hands over to it, and sends heartbeats at its pace."""

STANDBYS_MAX: Final = 100
"""The most standbys that a writer keeps in mind."""

DOUBT_SECONDS: Final = 1.0
"""The least time between two appends that find out whether another engine has claimed the log."""

LISTEN_SECONDS: Final = 1.0
"""The time for which the caller of a hand-over listens for standbys."""

TAKE_OVER_SECONDS: Final = 10.0
"""The longest wait of that caller, after `HAND_OVER_SECONDS`, until the standby has taken over."""


class Heartbeat(msgspec.Struct, omit_defaults=True):
    """One heartbeat."""

    name: str
    role: Literal["writer", "standby", "claiming", "ended", "caller"]
    epoch: int = 0
    position: int = 0
    sent: float = 0.0
    successor: str = ""


_decode: Final = msgspec.json.Decoder(Heartbeat).decode


class KafkaHeartbeats:
    """The heartbeats that one engine sends and hears. It belongs to the engine's thread."""

    def __init__(self, settings: "Settings", *, at_once: bool = False) -> None:
        """Nothing is connected before the first heartbeat. `at_once`: take over as soon as the log is read."""
        self.seconds = SECONDS
        self.name = token_hex(8)
        self._settings = settings
        self._topic = topic_name(settings, HEARTBEATS)
        self._at_once = at_once
        self._called_at: float | None = None  # when this engine was called to take over
        self._epoch = 0  # of this engine's claim
        self._highest_epoch = 0  # of the others
        self._heard_writer_at = 0.0
        self._own_came_back = 0.0  # when the last of our heartbeats that came back was sent
        self._ended_for: str | None = None  # the successor for which the writer has ended
        self._successor = ""  # the engine for which this one is to end
        self._standbys: dict[str, float] = {}  # when each standby was heard last
        self._doubt_again_at = 0.0
        self._unreadable = UnreadableRecords(self._topic)
        self._next_at = 0.0
        self._silence_seconds = SILENCE_SECONDS
        self._reader: RecordReader | None = None
        self._sender: RecordSender | None = None

    def stand_by(self) -> None:
        """Begin to listen. Raises InDoubt when no broker answers."""
        self._connect()
        self._silence_seconds = SILENCE_SECONDS + random.uniform(0, PATIENCE_SECONDS)  # noqa: S311  no secret
        self._heard_writer_at = max(self._heard_writer_at, monotonic())  # later where another standby is taking over
        self._called_at, self._ended_for = None, None

    def is_my_turn(self, position: int, *, log_grew: bool) -> bool:
        """Send a heartbeat, and return whether to take over now."""
        if log_grew:
            self._heard_writer_at = monotonic()
        self._beat("standby", position)
        if log_grew:
            return False  # first read the rest of the log
        if self._at_once and self._called_at is None:
            self._send_call(self.name)
        if self._called_at is not None and (
            self._ended_for == self.name or monotonic() > self._called_at + HAND_OVER_SECONDS
        ):
            return True
        if self._own_came_back - self._heard_writer_at <= self._silence_seconds:
            return False
        self._send(Heartbeat(self.name, "claiming", position=position))
        return True

    def hold(self, epoch: int, position: int) -> None:
        """Say that this engine writes the log from now on."""
        self._connect()
        self._epoch, self._successor, self._next_at = epoch, "", 0.0
        self._beat("writer", position)

    def must_end(self, position: int) -> bool:
        """Send a heartbeat; return whether another engine was told to take over."""
        self._beat("writer", position)
        return bool(self._successor)

    def is_doubted(self) -> bool:
        """Return whether somebody says that another engine writes the log; forget it, for an append tells."""
        doubted = self._highest_epoch > self._epoch
        self._highest_epoch = 0
        if not doubted or monotonic() < self._doubt_again_at:
            return False
        self._doubt_again_at = monotonic() + DOUBT_SECONDS
        return True

    def check(self) -> None:
        """Raise Fenced when another engine has taken over. Hears all heartbeats before one that is sent now."""
        now = monotonic()
        self._send(Heartbeat(self.name, "standby", sent=now))
        while self._own_came_back < now and monotonic() < now + SILENCE_SECONDS:
            self._listen(0.05)
        if self._highest_epoch > self._epoch:
            raise Fenced(f"another engine writes the log, under epoch {self._highest_epoch}")

    def end(self, position: int) -> None:
        """Say that this engine has ended, so that its successor need not wait."""
        self._send(Heartbeat(self.name, "ended", self._epoch, position, successor=self._successor))
        with suppress(OperationalError):
            self._connected_sender().flush(1.0)

    def call_hand_over(self) -> str | None:
        """Tell a standby to take over, and wait until it has; return its name, None if there is no standby.

        Raises InDoubt when no broker answers, or the standby did not take over in time.
        """
        self._connect()
        until = monotonic() + LISTEN_SECONDS
        standbys: dict[str, int] = {}
        while monotonic() < until:
            for beat in self._listen(0.05):
                if beat.role == "standby":
                    standbys[beat.name] = beat.position
        if not standbys:
            return None
        successor = max(standbys, key=standbys.__getitem__)
        self._send_call(successor)
        until = monotonic() + HAND_OVER_SECONDS + TAKE_OVER_SECONDS
        while monotonic() < until:
            if any(beat.name == successor and beat.role == "writer" for beat in self._listen(0.05)):
                return successor
        raise InDoubt(f"the standby {successor} has not taken over in time")

    def close(self) -> None:
        """Disconnect."""
        reader, sender, self._reader, self._sender = self._reader, self._sender, None, None
        if reader is not None:
            reader.close()
        if sender is not None:
            sender.close()

    def _send_call(self, successor: str) -> None:
        self._send(Heartbeat(self.name, "caller", successor=successor))

    def _beat(self, role: Literal["writer", "standby"], position: int) -> None:
        """Send a heartbeat if one is due, and hear those of the others."""
        now = monotonic()
        if now < self._next_at:
            if role == "writer":
                return
        else:
            self.seconds = SECONDS if role == "standby" or self._hears_standby(now) else ALONE_SECONDS
            self._next_at = now + self.seconds
            self._send(Heartbeat(self.name, role, self._epoch if role == "writer" else 0, position, now))
        self._listen(0.0)

    def _listen(self, timeout_seconds: float) -> list[Heartbeat]:
        """Hear what has come, and return it."""
        assert self._reader is not None, "connect first"
        beats: list[Heartbeat] = []
        try:
            for record in self._reader.take(1_000, timeout_seconds):
                try:
                    beats.append(decode_untrusted(_decode, record.value() or b""))
                except ValueError as error:
                    self._unreadable.note(record, error)
        except OperationalError as error:
            _log.warning("heartbeats_unreadable", error=str(error))
        for beat in beats:
            self._hear(beat)
        return beats

    def _hear(self, beat: Heartbeat) -> None:
        if beat.name == self.name:
            self._own_came_back = beat.sent or self._own_came_back
            if beat.role == "caller":
                self._called_at = monotonic()
        elif beat.role in {"writer", "claiming"}:
            self._heard_writer_at = monotonic() + (CLAIM_SECONDS if beat.role == "claiming" else 0.0)
            self._highest_epoch = max(self._highest_epoch, beat.epoch)
        elif beat.role == "standby":
            self._hear_standby(beat.name)
        elif beat.role == "ended":
            self._ended_for = beat.successor
        elif beat.role == "caller":
            if beat.successor == self.name:
                self._called_at = monotonic()
            heard = self._standbys.get(beat.successor, -math.inf)
            self._successor = beat.successor if monotonic() - heard < HEARD_SECONDS else ""

    def _hears_standby(self, now: float) -> bool:
        return any(now - at < HEARD_SECONDS for at in self._standbys.values())

    def _hear_standby(self, name: str) -> None:
        """Note a standby; forget those that are silent when there are many."""
        now = monotonic()
        self._standbys[name] = now
        if len(self._standbys) > STANDBYS_MAX:
            self._standbys = {each: at for each, at in self._standbys.items() if now - at < HEARD_SECONDS}
            while len(self._standbys) > STANDBYS_MAX:
                del self._standbys[next(iter(self._standbys))]

    def _send(self, beat: Heartbeat) -> None:
        try:
            self._connected_sender().send(self._topic, msgspec.json.encode(beat), partition=self._settings.partition)
        except OperationalError as error:
            _log.warning("heartbeat_not_sent", error=str(error))
        self._connected_sender().report()

    def _connected_sender(self) -> RecordSender:
        assert self._sender is not None, "connect first"
        return self._sender

    def _connect(self) -> None:
        if self._reader is not None:
            return
        try:
            with mapped_errors(TOPIC_ERRORS, "no heartbeats"):
                ensure_topics_once(self._settings)
                self._sender = RecordSender(self._settings, retries=0, give_up_seconds=1.0)
                self._reader = RecordReader(self._settings, self._topic, self._settings.partition, may_skip=True)
                self._reader.seek_to_end()
        except InDoubt:
            self.close()
            raise
