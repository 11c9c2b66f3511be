"""The commands of a log, put together from their events again, each with the proof that it is the one that was sent.

The first event of a command has a digest of the command. A command that is rebuilt from its events and has the same digest is
the one that was sent, in every field.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Final, Literal

from domain.partition import CommandHadNoEffect, CommandRejected, CommandsRead, SnapshotWritten
from messages.commands import UnreadableError
from messages.events import UnreadableEventError
from messages.original_commands import original_command
from projections.machine.parking import UnreadableEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from domain.events import Recorded
    from domain.money import Time
    from messages.commands import Submitted

DUE: Final = "due:"
"""The beginning of the ids of what falls due by itself."""

FIRST_EVENTS: Final = 4_096
"""The most events of a command that are in memory at a time. What it leaves at once are fewer."""

Certainty = Literal["exact", "effect", "lost", "none"]
"""What is known of a command.

exact: it has the digest of the command that was sent. effect: it has another digest, but it would leave the same events.
lost: it was refused or had no effect, and the log does not have its body. none: no command was sent, something fell due.
"""

_BOOKKEEPING: Final = frozenset({CommandsRead, SnapshotWritten})


@dataclass(frozen=True, slots=True)
class RecoveredCommand:
    """A command of the log, or all that fell due at one time. `command_id` is that of its first event.

    `events` are the first ones; `remaining` are the others, as long as the next command has not been asked for.
    """

    command_id: str
    submitted: Submitted | None
    certainty: Certainty
    events: Sequence[Recorded]
    remaining: Iterator[Recorded]

    @property
    def time(self) -> Time:
        """When it was decided, or fell due."""
        return self.events[0].time

    @property
    def type(self) -> str:
        """The name of its type; empty if nothing was sent."""
        if self.submitted is not None:
            return self.submitted.type
        return str(getattr(self.events[0].event, "command", ""))

    def all_events(self) -> Iterator[Recorded]:
        """Yield its events in the order of the log. To be called once."""
        return chain(self.events, self.remaining)


def recovered_commands(events: Iterable[Recorded]) -> Iterator[RecoveredCommand]:
    """Yield the commands of a log from its first position on, with what fell due, in the order in which they were decided.

    The events that tell how far commands are read, and what snapshots hold, belong to none. Raises UnreadableEventError.
    """
    decided = (recorded for recorded in events if type(recorded.event) not in _BOOKKEEPING)
    for _, found in groupby(decided, key=_group):
        remaining = iter(found)
        first = list(islice(remaining, FIRST_EVENTS))
        for recorded in first:
            if isinstance(recorded.event, UnreadableEvent):
                raise UnreadableEventError(f"position {recorded.position}: {recorded.event.error}")
        submitted, certainty = recover(first)
        yield RecoveredCommand(first[0].command_id, submitted, certainty, first, remaining)


def _group(recorded: Recorded) -> str:
    """Return what events that belong together share: the command, or that they fell due at the same time."""
    return f"{DUE}{recorded.time}" if recorded.command_id.startswith(DUE) else recorded.command_id


def recover(events: Sequence[Recorded]) -> tuple[Submitted | None, Certainty]:
    """Return the command that left these events, the first of which is its first one, and what is known of it."""
    first = events[0]
    if first.digest is None:
        return None, "none"
    try:
        submitted = original_command(events)
    except UnreadableError:
        submitted = None
    if submitted is not None and submitted.digest == first.digest:
        return submitted, "exact"
    if submitted is None or isinstance(first.event, CommandRejected | CommandHadNoEffect):
        return None, "lost"
    return submitted, "effect"
