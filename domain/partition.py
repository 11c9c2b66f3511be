"""Events of the partition itself: how far its commands are read, and outcomes that belong to no aggregate."""

from typing import ClassVar

from domain.rejections import Code
from domain.values import Value


class CommandRejected(Value):
    """The outcome of a command that was refused: `command` is its type, `code` stable, `details` what decided it."""

    TOPIC: ClassVar[str] = "CommandRejected.v1"

    command: str
    code: Code
    message: str
    details: dict[str, str | int]
    account_id: str | None = None
    market_id: str | None = None


class CommandHadNoEffect(Value):
    """The outcome of a command that was accepted although what it asks for was so already."""

    TOPIC: ClassVar[str] = "CommandHadNoEffect.v1"

    command: str
    account_id: str | None = None
    market_id: str | None = None


class CommandsRead(Value):
    """The last event of every batch: commands of `source` before `next` have their outcome up to here."""

    TOPIC: ClassVar[str] = "CommandsRead.v1"

    source: str
    next: int


PartitionEvent = CommandRejected | CommandHadNoEffect | CommandsRead
