"""The reply to every command that ever was, found again from the log alone."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from eventsourcing.persistence import Notification

from consumers.engine.command_index import CommandIndex
from consumers.engine.log import Log
from messages.replies import Reply, make_reply
from messages.stored import from_stored

if TYPE_CHECKING:
    from domain.events import Event

RECENT_MAX: Final = 10_000
"""The most replies in memory. At least half as many are kept: most duplicates are retries of a moment ago."""

REPLY_EVENTS_MAX: Final = 4_096
"""The most events of a command from which its reply is made. No command decides more at once (payouts follow later)."""

PAGE_EVENTS: Final = 64
"""The number of events that are read at first: nearly every command has no more."""


class RecordedReplies:
    """All replies: the last ones from memory, the others from the log."""

    def __init__(self, log: Log, index: CommandIndex) -> None:
        self.index = index
        self._log = log
        # Two halves. The older half is dropped as a whole: taking the oldest out of one dict costs more and more.
        self._recent: dict[str, Reply] = {}
        self._older: dict[str, Reply] = {}
        self._page: Sequence[Notification] = ()  # what was read last

    def in_memory(self, command_id: str) -> Reply | None:
        """Return the reply to the command if it is in memory."""
        return self._recent.get(command_id) or self._older.get(command_id)

    def may_be_in_log(self, command_id: str) -> bool:
        """Return whether the log may have a reply to the command. If not, the command never came."""
        return bool(self.index.positions(command_id))

    def find(self, command_id: str) -> Reply | None:
        """Return the reply to the command, None if it never came. Remembers what it had to read from the log.

        Raises InDoubt when the log cannot be read.
        """
        recent = self.in_memory(command_id)
        if recent is not None:
            return recent
        for position in self.index.positions(command_id):
            found = self._read(command_id, position)
            if found is not None:
                self.remember(found)
                return found
        return None

    def remember(self, reply: Reply) -> None:
        """Keep a reply in memory; its command must be in the log for certain."""
        self._recent[reply.command_id] = reply
        if 2 * len(self._recent) >= RECENT_MAX:
            self._recent, self._older = {}, self._recent

    def recent(self, count: int) -> list[Reply]:
        """Return the last replies in memory."""
        return [*self._older.values(), *self._recent.values()][-count:]

    def forget(self) -> None:
        """Forget the replies in memory, and what was read of the log."""
        self._recent.clear()
        self._older.clear()
        self._page = ()

    def _read(self, command_id: str, first: int) -> Reply | None:
        """Return the reply to the command, None if the event at `first` is not the first one of the command."""
        events: list[Event] = []
        head = None
        last = first
        for notification in self._events_from(first):
            recorded = from_stored(notification.id, notification)
            if recorded.command_id == command_id:
                head = head or recorded
                last = recorded.position
                if len(events) < REPLY_EVENTS_MAX:
                    events.append(recorded.event)
            elif recorded.command_id or head is None:
                break  # another command begins; the end of a batch (no id) may stand in the middle of a long one
        if head is None:
            return None
        return make_reply(command_id, head.digest or "", last, head.time, events)

    def _events_from(self, first: int) -> Iterator[Notification]:
        """Yield the events from a position on. Who sends old commands again sends neighbours: the last page is kept."""
        at = bisect_left(self._page, first, key=_position)
        if at == len(self._page) or self._page[at].id != first:
            self._page, at = self._log.read(first, PAGE_EVENTS), 0
        limit = PAGE_EVENTS
        while self._page:
            yield from self._page[at:]
            limit = min(8 * limit, REPLY_EVENTS_MAX)
            self._page, at = self._log.read(self._page[-1].id + 1, limit), 0


def _position(event: Notification) -> int:
    return event.id
