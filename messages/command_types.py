"""The commands beyond those of the exchange, and the shapes in which commands come. `messages.commands` reads and writes them.

Apart from those functions because every order passes there, so that module is compiled (`local/compile.py`).
"""

from typing import Final, get_args

import msgspec

from domain import commands
from domain.book import Side
from domain.money import Time
from domain.orders import OrderType, PlaceOrder, SelfTradePrevention, TimeInForce
from domain.values import Value
from messages.fields import InvalidCommand

COMMAND_ID_MAX: Final = 200

RECORD_COMMANDS_MAX: Final = 1_000
"""How many commands one record may hold."""


class AdvanceTime(Value):
    """Let what is due by now happen, although no other command comes; what a timer sends."""


class QuoteOrder(Value):
    """Say what the order would do now; nothing changes and nothing is recorded."""

    order: PlaceOrder


Command = commands.Command | AdvanceTime | QuoteOrder

COMMANDS: Final[dict[str, type[Command]]] = {
    command_type.__name__: command_type for command_type in (*get_args(commands.Command), AdvanceTime, QuoteOrder)
}
"""Every command type by its name on the wire."""


class Submitted(msgspec.Struct):
    """A command as it reached the engine: `command` is the refusal where a field of it is not what it may be."""

    command_id: str
    command: Command | InvalidCommand
    digest: str
    at: Time | None = None
    reply_to: str | None = None
    type: str = ""


class UnreadableError(ValueError):
    """It is no command at all: not JSON, or without a usable `command_id` and a known `type`; belongs to dead-letters."""


class Envelope(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What surrounds a command's own fields."""

    command_id: str
    type: str
    data: msgspec.Raw
    at: str | None = None
    reply_to: str | None = None


class OrderData(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of an order on the wire, in the order of the command's."""

    account_id: str
    market_id: str
    client_order_id: str
    outcome: str
    side: Side
    type: OrderType
    quantity: str | None = None
    spend: str | None = None
    limit_price: str | None = None
    time_in_force: TimeInForce | None = None
    expires_at: str | None = None
    post_only: bool = False
    reduce_only: bool = False
    max_cost: str | None = None
    min_proceeds: str | None = None
    self_trade_prevention: SelfTradePrevention = "cancel_taker"


def order_command_id(account_id: str, client_order_id: str) -> str:
    """Return the id that the command of this order must have: one order a client's id, for ever."""
    return f"order:{account_id}:{client_order_id}"
