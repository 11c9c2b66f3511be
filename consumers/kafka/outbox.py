"""Commands that a gateway has not sent yet, and those that have no reply yet."""

from collections import deque
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from consumers.engine.command_source import Waiter
from consumers.kafka.topics import RECORD_BYTES_MAX

PACK_COMMANDS_MAX: Final = 500
PACK_BYTES_MAX: Final = RECORD_BYTES_MAX - 64 * 1024
"""The most commands, and the most bytes of them, in one record."""

Key = tuple[str, str]
"""The id and the digest of a command: another command with the same id is refused by the engine."""


class SentTrace(Protocol):
    """The span of commands on their way to Kafka."""

    headers: list[tuple[str, bytes]]
    """The headers that their record gets, for the engine: the trace to go on with."""

    def end(self, error: str | None) -> None:
        """Note that the broker has acknowledged them, or why it has not; only the first call counts."""


class CommandTraces(Protocol):
    """Tells which trace a command belongs to. `consumers.traces` keeps them."""

    def begin_send(self, topic: str, commands: int) -> SentTrace | None:
        """Return the span for commands that the present task or thread sends; None if nobody traces its request."""


class Pending(msgspec.Struct):
    """A command that has no reply yet."""

    value: bytes
    sent_at: float
    waiters: list[tuple[Waiter, float]]
    """Each waiter with its deadline."""


class Unit(msgspec.Struct):
    """Commands that travel in one record, in their order: a batch, or one alone."""

    keys: list[Key]
    pause: float
    retry_at: float
    trace: SentTrace | None = None
    """The trace that they belong to. A record has one `traceparent`, so they share it with no others."""


def next_record(outbox: deque[Unit], pending: Mapping[Key, Pending]) -> tuple[list[Unit], list[bytes]]:
    """Take the commands of the next record from the outbox, and return them with their values; no batch is divided."""
    units: list[Unit] = []
    pack: list[bytes] = []
    size = 0
    while outbox:
        unit = outbox[0]
        values: list[bytes] = []
        for key in unit.keys:
            found = pending.get(key)
            if found is not None:  # it may have its reply by now
                values.append(found.value)
                size += len(found.value) + 1
        is_full = len(pack) + len(values) > PACK_COMMANDS_MAX or size > PACK_BYTES_MAX
        if pack and (is_full or unit.trace is not None):
            break
        outbox.popleft()
        units.append(unit)
        pack += values
        if pack and unit.trace is not None:
            break
    return units, pack
