"""Events of the partition itself: commands that changed no aggregate, how far commands are read, what snapshots hold."""

from typing import ClassVar

from domain.assignments import PartitionAssigned
from domain.rejections import Code
from domain.transfers import FundsCarried
from domain.values import NO_JSON, Json, Value, always_stored


class CommandRejected(Value, omit_defaults=True):
    """A command was refused: `command` is its type, `code` is stable, `details` are the values that decided it.

    `body` has the command's fields as the schema of the command describes them (`data`), or as they were sent if one of them is
    invalid. It is null if they take more than 4 KiB, or if some readers of JSON would refuse them (a key twice, deep nesting).
    """

    TOPIC: ClassVar[str] = "CommandRejected.v1"

    command: str
    code: Code
    message: str
    details: dict[str, str | int]
    account_id: str | None = always_stored(None)
    market_id: str | None = always_stored(None)
    body: Json = NO_JSON


class CommandHadNoEffect(Value, omit_defaults=True):
    """A command was accepted but changed nothing: what it asks for was already so. `body` as in `CommandRejected`."""

    TOPIC: ClassVar[str] = "CommandHadNoEffect.v1"

    command: str
    account_id: str | None = always_stored(None)
    market_id: str | None = always_stored(None)
    body: Json = NO_JSON


class CommandsRead(Value):
    """The last event of every batch. All commands of `source` before `next` have been answered."""

    TOPIC: ClassVar[str] = "CommandsRead.v1"

    source: str
    next: int


class SnapshotWritten(Value):
    """The engine wrote a snapshot of its state after the event at `position`; `hash` is that of the file.

    An engine starts from no snapshot whose hash does not stand in the log after its position.
    """

    TOPIC: ClassVar[str] = "SnapshotWritten.v1"

    position: int
    hash: str


PartitionEvent = (
    CommandRejected | CommandHadNoEffect | CommandsRead | SnapshotWritten | FundsCarried | PartitionAssigned
)
