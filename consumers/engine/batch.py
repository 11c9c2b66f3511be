"""What is appended together, and the commands whose replies wait for it.

BatchLimits       the most that is appended together
AppendBatch       events that are appended together
DecidedCommand    a command and what its reply is made from
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.events import Event
from domain.money import Time
from messages.commands import Submitted
from messages.replies import Reply, make_reply

if TYPE_CHECKING:
    from eventsourcing.persistence import StoredEvent

    from consumers.engine.transfer_topic import Outgoing


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The most that one batch may hold."""

    commands_max: int = 1_000
    events_max: int = 4_000
    bytes_max: int = 1024 * 1024


class AppendBatch:
    """Events that are appended together, and the commands that get their replies when the events are in the log."""

    __slots__ = (
        "bytes",
        "commands",
        "decided",
        "duplicates",
        "events",
        "first_events",
        "parked",
        "position_before",
        "positions",
        "refused_codes",
        "sent",
        "started",
    )

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.bytes = 0
        self.commands = self.duplicates = 0
        self.refused_codes: list[str] = []  # of the commands that the rules refused
        self.decided: list[DecidedCommand] = []
        self.first_events: list[tuple[str, int]] = []  # for each new command id: the index of its first event
        self.sent: list[Outgoing] = []  # the transfers to other partitions
        self.parked = False  # whether dead letters were written: then progress is appended even without events
        self.started = 0.0  # when its first command or event came
        self.positions: Sequence[int] = ()
        self.position_before = 0

    def position_of(self, index: int) -> int:
        """Return the position of the event at this index once the batch is in the log.

        -1 means the last event before this batch.
        """
        return self.positions[index] if index >= 0 else self.position_before

    def make_replies(self) -> None:
        """Make the replies while the events are on their way to the log. The log positions are still unknown (0)."""
        for decided in self.decided:
            if decided.events:
                decided.reply = decided.make_reply()


class DecidedCommand:
    """A command that was decided in memory, and its reply.

    `last` is the index of its last event in `batch`. A repeated command has one of two: `original`, the command that
    came first with its id and is still unconfirmed, or `recorded`, the confirmed reply to that one.
    """

    __slots__ = ("batch", "events", "last", "original", "recorded", "reply", "submitted", "time")

    def __init__(
        self, submitted: Submitted, time: Time, batch: AppendBatch, last: int = -1, events: Sequence[Event] = ()
    ) -> None:
        self.submitted = submitted
        self.time = time
        self.batch = batch
        self.last = last
        self.events = events
        self.reply: Reply | None = None
        self.original: DecidedCommand | None = None
        self.recorded: Reply | None = None

    def make_reply(self) -> Reply:
        """Return the reply. Its log position is still unknown (0)."""
        return make_reply(self.submitted.command_id, self.submitted.digest, 0, self.time, self.events)
