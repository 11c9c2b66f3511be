"""Events of the partition itself: how far its commands are read, and replies that belong to no aggregate."""

from typing import ClassVar

from domain.rejections import Code
from domain.values import Value


class CommandRejected(Value):
    """The reply to a refused command: `command` is its type, `code` is stable, `details` are the values that decided it."""

    TOPIC: ClassVar[str] = "CommandRejected.v1"

    command: str
    code: Code
    message: str
    details: dict[str, str | int]
    account_id: str | None = None
    market_id: str | None = None


class CommandHadNoEffect(Value):
    """The reply to a command that was accepted but changed nothing: what it asks for was already so."""

    TOPIC: ClassVar[str] = "CommandHadNoEffect.v1"

    command: str
    account_id: str | None = None
    market_id: str | None = None


class CommandsRead(Value):
    """The last event of every batch: the commands of `source` before `next` have their replies up to here."""

    TOPIC: ClassVar[str] = "CommandsRead.v1"

    source: str
    next: int


PartitionEvent = CommandRejected | CommandHadNoEffect | CommandsRead
