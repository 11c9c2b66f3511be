"""Commands that a gateway has not sent yet, and those that have no reply yet."""

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from consumers.engine.command_source import Waiter
from consumers.kafka.topics import RECORD_BYTES_MAX

PACK_COMMANDS_MAX: Final = 500
PACK_BYTES_MAX: Final = RECORD_BYTES_MAX - 64 * 1024
"""The most commands, and the most bytes of them, in one record."""

Key = tuple[str, str]
"""The id and the digest of a command: another command with the same id is refused by the engine."""


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
        if pack and (len(pack) + len(values) > PACK_COMMANDS_MAX or size > PACK_BYTES_MAX):
            break
        outbox.popleft()
        units.append(unit)
        pack += values
    return units, pack
