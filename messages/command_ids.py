"""Whose ids are whose: no sender over Kafka can take the id that another sender's command has, or will have.

| id | belongs to |
|---|---|
| `order:{account}:{client_order_id}` | the order of this account with this client id, whoever sends it |
| `{type}:{key}`, `{account}:{type}:{key}` | writes over HTTP with this `Idempotency-Key` |
| `{account}:orders:...` | commands that a trading service signs with a key of this account |
| `due:...`, `transfer:...` | the engine |
| any other | services that write to the topic `commands`; they agree on prefixes among themselves |

The first command with an id takes it for ever, a refused one too. So a command with an id of another sender gets no
reply: it becomes a dead letter, and the log does not have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from domain.orders import PlaceOrder
from messages.command_types import COMMANDS, UnreadableError
from messages.json_text import decode_untrusted
from messages.order import order_command_id
from messages.signed_orders import OWN_IDS

if TYPE_CHECKING:
    from messages.commands import Submitted

Sender = Literal["http", "orders", "service"]
"""The HTTP processes and the gate of trading services (`tidings orders`), and all others that write to `commands`."""

_ORDERS: Final = "order"
_ACCOUNT: Final = "ac_"
"""The beginning of every account's id."""


class _OrderNames(msgspec.Struct):
    account_id: str
    client_order_id: str


_names: Final = msgspec.json.Decoder(_OrderNames)


def check_owner(submitted: Submitted, *, sender: Sender) -> None:
    """Raise UnreadableError when the id of a command from Kafka belongs to another sender.

    `sender` is what its record says of where it comes from.
    """
    first, _, rest = submitted.command_id.partition(":")
    if first == _ORDERS and rest:
        if not isinstance(submitted.command, PlaceOrder) and submitted.command_id != _id_of_order(submitted):
            raise UnreadableError("command_id is that of another order")
    elif sender != "http" and rest and (first in COMMANDS or _is_traders(first, rest)):
        raise UnreadableError("command_id is one of a write over HTTP")
    elif sender != "orders" and first.startswith(_ACCOUNT) and rest.startswith(f"{OWN_IDS}:"):
        raise UnreadableError("command_id is one of a trading service")


def _is_traders(first: str, rest: str) -> bool:
    kind, colon, _ = rest.partition(":")
    return first.startswith(_ACCOUNT) and kind in COMMANDS and bool(colon)


def _id_of_order(submitted: Submitted) -> str | None:
    """Return the id that an invalid order would have, None if its fields do not tell."""
    if submitted.type != PlaceOrder.__name__:
        return None
    try:
        names = decode_untrusted(_names.decode, submitted.body)
    except ValueError:
        return None
    return order_command_id(names.account_id, names.client_order_id)
