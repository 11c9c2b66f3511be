"""The engine's source of commands and its log while traces are on: `traceparent` in and out.

The engine knows nothing of traces, and its loop has no branch for them. While they are off it gets the plain source and the
plain log. `consumers.traces` keeps the spans, by OpenTelemetry.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import Message
from eventsourcing.persistence import StoredEvent

from consumers.engine.command_source import CommandGroup, CommandReply
from consumers.engine.log import Append
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.log import KafkaLog
from consumers.kafka.records import Headers
from messages.commands import Submitted

if TYPE_CHECKING:
    from settings import Settings


class AppendTraces(Protocol):
    """The spans of the commands that an engine has taken and not replied to. Only sampled ones cost more than a look."""

    def take(self, commands: Sequence[Submitted], headers: Headers) -> None:
        """Note the commands of a record, if its headers say that they are sampled."""

    def begin_append(self, events: Sequence[StoredEvent]) -> list[tuple[str, bytes]] | None:
        """Begin the spans of the commands that these events come from; return headers for the events' record."""

    def end(self, replies: Sequence[CommandReply]) -> None:
        """End the spans of these commands: the log has them, or they needed no event."""

    def forget(self, command: Submitted) -> None:
        """Drop a command that gets no reply."""

    def drop(self) -> None:
        """End all spans as failed: whether the log has their events is in doubt, and the commands are taken again."""


class TracedCommandSource(KafkaCommandSource):
    """Commands from Kafka, and the traces that they belong to."""

    def __init__(self, settings: "Settings", traces: AppendTraces) -> None:
        super().__init__(settings)
        self._traces = traces

    def rewind(self, next_offsets: Mapping[str, int]) -> int:
        """Go on where the log says that this topic is read, without the spans of what was not confirmed."""
        self._traces.drop()
        return super().rewind(next_offsets)

    def send_replies(self, replies: Sequence[CommandReply]) -> None:
        """Send the replies, and end the spans of their commands."""
        super().send_replies(replies)
        self._traces.end(replies)

    def park(self, command: Submitted, reason: str) -> None:
        """Put a command into the dead letters."""
        super().park(command, reason)
        self._traces.forget(command)

    def close(self, error: BaseException | None) -> None:
        """Disconnect, and end all spans."""
        self._traces.drop()
        super().close(error)

    def _group_of(self, record: Message) -> CommandGroup:
        group = super()._group_of(record)
        if isinstance(headers := record.headers(), list):
            self._traces.take(group.commands, headers)
        return group


class TracedLog(KafkaLog):
    """The log in Kafka, whose records name the traces of their sampled commands. The bytes of events stay as they are."""

    def __init__(self, settings: "Settings", traces: AppendTraces) -> None:
        super().__init__(settings)
        self._traces = traces

    def begin(self, events: Sequence[StoredEvent]) -> Append:
        """Send the events as one record, with a header for each trace."""
        return self.begin_with(events, self._traces.begin_append(events))
