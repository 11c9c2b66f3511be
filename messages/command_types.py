"""The commands that the exchange itself does not know, and the structs in which commands arrive.

`messages.commands` reads and writes them. The structs stand here because that module is compiled (`local/compile.py`),
and mypyc drops the annotations that msgspec reads.
"""

from typing import Final, get_args

import msgspec

from domain import commands
from domain.money import Time
from domain.orders import PlaceOrder
from domain.values import NO_JSON, Value
from messages.fields import InvalidCommand

COMMAND_ID_MAX: Final = 200
"""The most characters of a command's id."""

RECORD_COMMANDS_MAX: Final = 1_000
"""The most commands in one record."""

BODY_BYTES_MAX: Final = 4096
"""The largest body that the log keeps of a command that changed nothing."""

THEN_BYTES_MAX: Final = 4096
"""The largest command that a transfer between partitions carries along."""


class AdvanceTime(Value):
    """Let everything happen that is due by now. A timer sends it when no other command comes."""


class QuoteOrder(Value):
    """Say what the order would do now; nothing changes and nothing is recorded."""

    order: PlaceOrder


Command = commands.Command | AdvanceTime | QuoteOrder

COMMANDS: Final[dict[str, type[Command]]] = {
    command_type.__name__: command_type for command_type in (*get_args(commands.Command), AdvanceTime, QuoteOrder)
}
"""Every command type by its name on the wire."""


class Submitted(msgspec.Struct):
    """A command as it reached the engine. `command` is the refusal where one of its fields is invalid.

    `body` is what the log keeps of the command if it changes nothing: its fields as JSON in one line, or empty. `top_up` and
    `then` are those of the envelope; `then` is the JSON of a command, or empty.
    """

    command_id: str
    command: Command | InvalidCommand
    digest: str
    at: Time | None = None
    reply_to: str | None = None
    type: str = ""
    body: bytes = b""
    top_up: bool = False
    then: bytes = b""


class UnreadableError(ValueError):
    """Not a command: not JSON, or without a usable `command_id` and a known `type`. Belongs into the dead letters."""


class Envelope(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The fields around a command's own, which are `data`.

    Two are for several partitions. With `top_up` a command that lacks funds leaves nothing, and its sender hears so. `then` is a
    command that a transfer carries along, to be decided where the funds arrive.
    """

    command_id: str
    type: str
    data: msgspec.Raw
    at: str | None = None
    reply_to: str | None = None
    top_up: bool = False
    then: msgspec.Raw = NO_JSON
