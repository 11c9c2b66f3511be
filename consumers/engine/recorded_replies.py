"""The outcome of every command that ever was, found again from the log alone."""

from typing import TYPE_CHECKING, Final, Protocol

from consumers.engine.log import Log
from messages.replies import Reply, make_reply
from messages.stored import from_stored

if TYPE_CHECKING:
    from domain.events import Event

RECENT_MAX: Final = 10_000
"""At most so many of the last outcomes are kept in memory, and half as many at least: most duplicates are retries of a moment
ago.
"""

REPLY_EVENTS_MAX: Final = 4_096
"""A reply is made from at most so many of a command's events; no command decides more at once (payouts follow later)."""


FIRST_EVENTS: Final = 64
"""So many events are read at first: nearly every command has no more."""


class Index(Protocol):
    """Where each command has its first event; `consumers.engine.command_index.CommandIndex` keeps it on disk."""

    position: int

    def positions(self, command_id: str) -> list[int]:
        """Return where the first event of the command may be: nearly always none or one."""

    def add(self, command_id: str, position: int) -> None:
        """Note the first event of a command."""

    def advance(self, position: int) -> None:
        """Note that every command up to this position is in the index."""

    def begin_again(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Close it."""


class MemoryIndex:
    """An index that is built from the log at each start: about 150 bytes a command."""

    def __init__(self) -> None:
        self.position = 0
        self._positions: dict[str, int] = {}

    def positions(self, command_id: str) -> list[int]:
        """Return the position of the command's first event, if there is such a command."""
        found = self._positions.get(command_id)
        return [] if found is None else [found]

    def add(self, command_id: str, position: int) -> None:
        """Note the first event of a command."""
        self._positions[command_id] = position

    def advance(self, position: int) -> None:
        """Note that every command up to this position is in the index."""
        self.position = position

    def begin_again(self) -> None:
        """Forget everything."""
        self.position = 0
        self._positions.clear()

    def close(self) -> None:
        """Nothing is open."""


class Outcomes:
    """All outcomes: the last ones in memory, the others in the log."""

    def __init__(self, log: Log, index: Index) -> None:
        self.index = index
        self._log = log
        # Two halves, of which the older is dropped as a whole: to take the oldest out of one dict costs more and more.
        self._recent: dict[str, Reply] = {}
        self._older: dict[str, Reply] = {}

    def find(self, command_id: str) -> Reply | None:
        """Return the outcome of the command, or None if it never came. Raises InDoubt when the log cannot be read."""
        recent = self._recent.get(command_id) or self._older.get(command_id)
        if recent is not None:
            return recent
        for position in self.index.positions(command_id):
            found = self._read(command_id, position)
            if found is not None:
                return found
        return None

    def remember(self, reply: Reply) -> None:
        """Keep an outcome that is in the log for certain."""
        self._recent[reply.command_id] = reply
        if 2 * len(self._recent) >= RECENT_MAX:
            self._recent, self._older = {}, self._recent

    def recent(self, count: int) -> list[Reply]:
        """Return the last outcomes that are remembered."""
        return [*self._older.values(), *self._recent.values()][-count:]

    def forget(self) -> None:
        """Forget what is in memory."""
        self._recent.clear()
        self._older.clear()

    def _read(self, command_id: str, first: int) -> Reply | None:
        """Return the outcome of the command whose first event has this position, None if another command is there."""
        events: list[Event] = []
        head = None
        last = position = first
        limit = FIRST_EVENTS
        while True:
            found = self._log.read(position, limit)
            limit = REPLY_EVENTS_MAX
            for notification in found:
                recorded = from_stored(notification.id, notification)
                if recorded.command_id == command_id:
                    head = head or recorded
                    last = recorded.position
                    if len(events) < REPLY_EVENTS_MAX:
                        events.append(recorded.event)
                elif recorded.command_id or head is None:
                    break  # another command begins; the end of a batch (no id) may stand in the middle of a long one
            else:
                if found:
                    position = found[-1].id + 1
                    continue
            break
        if head is None:
            return None
        return make_reply(command_id, head.digest or "", last, head.time, events)
