"""A log in memory that tests write, and may take away for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventsourcing.popo import POPOApplicationRecorder

from domain.exchange import Entry
from messages.stored import to_stored

if TYPE_CHECKING:
    from eventsourcing.persistence import StoredEvent

    from domain.events import Recorded


def stored(events: list[Recorded]) -> list[StoredEvent]:
    """Return the events as a log holds them."""
    return [
        to_stored(Entry(r.stream, r.version, r.event), time=r.time, command_id=r.command_id, digest=r.digest)
        for r in events
    ]


class Log(POPOApplicationRecorder):
    """A log in memory that a test writes, and may take away for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def write(self, events: list[Recorded]) -> None:
        """Append events."""
        self.insert_events(stored(events))

    def select_notifications(self, *arguments: Any, **named: Any) -> Any:
        """Return events, unless the log is away."""
        if self.away:
            raise ConnectionError("the log is away")
        return super().select_notifications(*arguments, **named)
