"""Events of the partition itself: commands that changed no aggregate, and how far the commands are read."""

from typing import ClassVar

from domain.rejections import Code
from domain.values import Value


class CommandRejected(Value):
    """A command was refused: `command` is its type, `code` is stable, `details` are the values that decided it."""

    TOPIC: ClassVar[str] = "CommandRejected.v1"

    command: str
    code: Code
    message: str
    details: dict[str, str | int]
    account_id: str | None = None
    market_id: str | None = None


class CommandHadNoEffect(Value):
    """A command was accepted but changed nothing: what it asks for was already so."""

    TOPIC: ClassVar[str] = "CommandHadNoEffect.v1"

    command: str
    account_id: str | None = None
    market_id: str | None = None


class CommandsRead(Value):
    """The last event of every batch. All commands of `source` before `next` have been answered."""

    TOPIC: ClassVar[str] = "CommandsRead.v1"

    source: str
    next: int


PartitionEvent = CommandRejected | CommandHadNoEffect | CommandsRead
