"""Signs of life between the engines of one partition: who takes over, and when. Never who may write: that is the log's.

Every engine gives a sign on the topic `heartbeats` several times a second, from the loop in which it works. A standby takes
over when it has heard nothing of the engine that writes for `silence_seconds`, and the log has not grown. It measures that
between its own signs as they come back to it: while the broker is away none come, and an engine that was paused finds all
that was said meanwhile before its own next sign. Two standbys have different patience, by chance; of two claims one wins.

    {"name": "9f..", "role": "writer", "epoch": 4, "position": 17, "sent": 12.5}      "standby", "ended", or:
    {"name": "77..", "role": "caller", "heir": "9f.."}                                the standby 9f.. is to take over

An engine that writes and hears of a higher epoch is fenced, and stops; it would learn that at its next append anyway.
"""

import random
from contextlib import suppress
from secrets import token_hex
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import structlog
from eventsourcing.persistence import OperationalError
from kafka.errors import KafkaError

from consumers.engine.log import Fenced, InDoubt
from consumers.kafka.records import RecordReader, RecordSender
from consumers.kafka.topics import HEARTBEATS, ensure_topics_once, topic_name

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()

SECONDS: Final = 0.1
SILENCE_SECONDS: Final = 0.7
"""An engine that gives no sign for so long is succeeded, alive or not: shorter, and a slow moment of it would do."""

PATIENCE_SECONDS: Final = 0.2
"""Two standbys differ by up to so much."""

HAND_OVER_SECONDS: Final = 1.0
"""So long a standby that was told to take over waits for the other to end by itself."""

LISTEN_SECONDS: Final = 1.0
"""So long one who calls for a hand-over listens for standbys."""


class Beat(msgspec.Struct, omit_defaults=True):
    """One sign."""

    name: str
    role: Literal["writer", "standby", "claiming", "ended", "caller"]
    epoch: int = 0
    position: int = 0
    sent: float = 0.0
    heir: str = ""


_decode: Final = msgspec.json.Decoder(Beat).decode


class Heartbeats:
    """The signs of one engine. It belongs to the engine's thread."""

    def __init__(self, settings: "Settings", *, at_once: bool = False) -> None:
        """Nothing is connected before the first sign. `at_once`: take over as soon as the log is read."""
        self.seconds = SECONDS
        self.name = token_hex(8)
        self._settings = settings
        self._topic = topic_name(settings, HEARTBEATS)
        self._at_once = at_once
        self._asked_at: float | None = None
        self._epoch = 0
        self._highest = 0
        self._heard = 0.0
        self._mine = 0.0
        self._ended_for: str | None = None
        self._ending = ""
        self._next = 0.0
        self._silence = SILENCE_SECONDS
        self._reader: RecordReader | None = None
        self._sender: RecordSender | None = None

    def stand_by(self) -> None:
        """Begin to listen. Raises InDoubt when no broker answers."""
        self._connect()
        self._silence = SILENCE_SECONDS + random.uniform(0, PATIENCE_SECONDS)  # noqa: S311  no secret
        self._heard, self._asked_at, self._ended_for = monotonic(), None, None

    def is_my_turn(self, position: int, *, behind: bool) -> bool:
        """Give a sign, and return whether to take over now."""
        if behind:
            self._heard = monotonic()
        self._turn("standby", position)
        if behind:
            return False  # first read what there is
        if self._at_once and self._asked_at is None:
            self._ask(self.name)
        if self._asked_at is not None and (
            self._ended_for == self.name or monotonic() > self._asked_at + HAND_OVER_SECONDS
        ):
            return True
        if self._mine - self._heard <= self._silence:
            return False
        self._send(Beat(self.name, "claiming", position=position))
        return True

    def hold(self, epoch: int, position: int) -> None:
        """Say that this engine writes the log from now on."""
        self._connect()
        self._epoch, self._ending, self._next = epoch, "", 0.0
        self._turn("writer", position)

    def must_end(self, position: int) -> bool:
        """Give a sign, and return whether another engine was told to take over. Raises Fenced when one has done so."""
        self._turn("writer", position)
        self._raise_if_fenced()
        return bool(self._ending)

    def check(self) -> None:
        """Raise Fenced when another engine has taken over: hear all that was said before a sign that is given now."""
        now = monotonic()
        self._send(Beat(self.name, "standby", sent=now))
        while self._mine < now and monotonic() < now + SILENCE_SECONDS:
            self._listen(0.05)
        self._raise_if_fenced()

    def end(self, position: int) -> None:
        """Say that this engine has ended, so that its heir need not wait."""
        self._send(Beat(self.name, "ended", self._epoch, position, heir=self._ending))
        with suppress(OperationalError):
            self._sending().flush(1.0)

    def call(self) -> str | None:
        """Tell a standby to take over, and wait until it has; return its name, None if there is no standby.

        Raises InDoubt when no broker answers, or the standby did not take over in time.
        """
        self._connect()
        until = monotonic() + LISTEN_SECONDS
        heirs: dict[str, int] = {}
        while monotonic() < until:
            for beat in self._listen(0.05):
                if beat.role == "standby":
                    heirs[beat.name] = beat.position
        if not heirs:
            return None
        heir = max(heirs, key=heirs.__getitem__)
        self._ask(heir)
        until = monotonic() + HAND_OVER_SECONDS + 10
        while monotonic() < until:
            if any(beat.name == heir and beat.role == "writer" for beat in self._listen(0.05)):
                return heir
        raise InDoubt(f"the standby {heir} has not taken over in time")

    def close(self) -> None:
        """Disconnect."""
        reader, sender, self._reader, self._sender = self._reader, self._sender, None, None
        if reader is not None:
            reader.close()
        if sender is not None:
            sender.close()

    def _raise_if_fenced(self) -> None:
        if self._highest > self._epoch:
            raise Fenced(f"another engine writes the log, under epoch {self._highest}")

    def _ask(self, heir: str) -> None:
        self._send(Beat(self.name, "caller", heir=heir))

    def _turn(self, role: Literal["writer", "standby"], position: int) -> None:
        now = monotonic()
        if now < self._next:
            if role == "writer":
                return
        else:
            self._next = now + SECONDS
            self._send(Beat(self.name, role, self._epoch if role == "writer" else 0, position, now))
        self._listen(0.0)

    def _listen(self, timeout_seconds: float) -> list[Beat]:
        """Take in what others have said."""
        assert self._reader is not None, "connect first"
        beats: list[Beat] = []
        try:
            for record in self._reader.take(1_000, timeout_seconds):
                with suppress(msgspec.MsgspecError):
                    beats.append(_decode(record.value() or b""))
        except OperationalError as error:
            _log.warning("heartbeats cannot be read", error=str(error))
        for beat in beats:
            self._hear(beat)
        return beats

    def _hear(self, beat: Beat) -> None:
        if beat.name == self.name:
            self._mine = beat.sent or self._mine
            if beat.role == "caller":
                self._asked_at = monotonic()
        elif beat.role in {"writer", "claiming"}:
            self._heard = monotonic()
            self._highest = max(self._highest, beat.epoch)
        elif beat.role == "ended":
            self._ended_for = beat.heir
        elif beat.role == "caller":
            if beat.heir == self.name:
                self._asked_at = monotonic()
            self._ending = beat.heir if beat.heir != self.name else ""

    def _send(self, beat: Beat) -> None:
        try:
            self._sending().send(self._topic, msgspec.json.encode(beat), partition=self._settings.partition)
        except OperationalError as error:
            _log.warning("no heartbeat", error=str(error))
        self._sending().report()

    def _sending(self) -> RecordSender:
        assert self._sender is not None, "connect first"
        return self._sender

    def _connect(self) -> None:
        if self._reader is not None:
            return
        try:
            ensure_topics_once(self._settings)
            self._sender = RecordSender(self._settings, retries=0, give_up_seconds=1.0)
            self._reader = RecordReader(self._settings, self._topic, self._settings.partition, may_skip=True)
            self._reader.seek_to_end()
        except (KafkaError, OperationalError) as error:
            self.close()
            raise InDoubt(f"no heartbeats: {type(error).__name__}: {error}") from error
