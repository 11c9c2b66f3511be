"""An exchange in memory that decides recorded commands again, under its own terms, as the engine would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.terms import Terms, TermsInUse
from consumers.engine.decider import entries_of
from domain.events import Recorded
from domain.exchange import Exchange
from domain.rejections import Rejection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analysis.recovered import RecoveredCommand
    from domain.events import Event
    from domain.exchange import Entry
    from domain.money import Time
    from messages.commands import Submitted


class World:
    """Decides commands from nothing on. `position` counts its events.

    Time is the recorded one. What falls due happens when it happened in the log; what the log does not have, at its due time.

    Args:
        terms: what is different.
        partition: the log's partition number.
        is_recorded: whether this is the world of the log, in which all that falls due has its place.
    """

    def __init__(self, terms: Terms | None = None, partition: int = 0, *, is_recorded: bool = False) -> None:
        self.exchange = Exchange(partition)
        self.position = 0
        self.terms = TermsInUse(terms or Terms())
        self._is_recorded = is_recorded
        self.answer: Event | None = None
        """The first event of the last command; None if the last one was not sent by anybody."""
        self.left = 0
        """The number of events of the last step that are not yielded yet, though they are applied."""

    def decide(self, recovered: RecoveredCommand) -> Iterator[Recorded]:
        """Decide a command of the log, or let happen what fell due there; yield the events as they are applied.

        A command that is lost is refused again, as it was.
        """
        time = max(recovered.time, self.exchange.time)
        self.answer = None
        if not self._is_recorded:
            yield from self._missed(time, recovered.command_id)
        if recovered.certainty == "none":
            yield from self.advance(time)
        elif recovered.submitted is None:
            yield from self.advance(time)
            first = recovered.events[0]
            self.answer = first.event
            entry = self.exchange.emit_partition_event(first.event, time, recovered.command_id)  # type: ignore[arg-type]
            yield from self._place([entry], time, recovered.command_id, first.digest)
            yield from self.advance(time)
        else:
            yield from self.send(self.terms.change(recovered, self.exchange), time)

    def send(self, submitted: Submitted, time: Time) -> Iterator[Recorded]:
        """Decide a command at a time that is not before the last one, with what is due before and what it leaves to do."""
        yield from self.advance(time)
        entries = entries_of(self.exchange, submitted, time)
        assert not isinstance(entries, Rejection), "no command of a log asks for its funds"
        self.answer = entries[0].event
        yield from self._place(entries, time, submitted.command_id, submitted.digest)
        yield from self.advance(time)

    def advance(self, time: Time) -> Iterator[Recorded]:
        """Do what is unfinished or due by this time."""
        exchange = self.exchange
        while not exchange.is_idle(time):
            found = exchange.step(time)
            if found is None:
                return
            command_id, entries = found
            yield from self._place(entries, time, command_id, None)

    def _missed(self, time: Time, command_id: str) -> Iterator[Recorded]:
        """Let happen what falls due by a time and has no place in the log: it is due at another time than there."""
        exchange = self.exchange
        while (due := exchange.next_due()) is not None and due <= time:
            if exchange.due.heap[0].command_id == command_id:
                return
            yield from self.advance(max(due, exchange.time))

    def _place(self, entries: Sequence[Entry], time: Time, command_id: str, digest: str | None) -> Iterator[Recorded]:
        self.left = len(entries)
        for stream, version, event in entries:
            self.position += 1
            self.left -= 1
            yield Recorded(self.position, stream, version, time, command_id, event, digest)
            digest = None
