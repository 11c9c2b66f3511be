"""Whose ids are whose: no sender over Kafka can take the id that another sender's command has, or will have.

| id | belongs to |
|---|---|
| `order:{account}:{client_order_id}` | the order of this account with this client id, whoever sends it |
| `{type}:{key}`, `{account}:{type}:{key}` | writes over HTTP with this `Idempotency-Key` |
| `due:...` | the engine |
| any other | services that write to the topic `commands`; they agree on prefixes among themselves |

The first command with an id takes it for ever, a refused one too. So a command with an id of another sender gets no
reply: it becomes a dead letter, and the log does not have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from domain.orders import PlaceOrder
from messages.command_types import COMMANDS, UnreadableError
from messages.json_text import decode_untrusted
from messages.order import order_command_id

if TYPE_CHECKING:
    from messages.commands import Submitted

_ORDERS: Final = "order"
_ACCOUNT: Final = "ac_"
"""The beginning of every account's id."""


class _OrderNames(msgspec.Struct):
    account_id: str
    client_order_id: str


_names: Final = msgspec.json.Decoder(_OrderNames)


def check_owner(submitted: Submitted, *, from_http: bool) -> None:
    """Raise UnreadableError when the id of a command from Kafka belongs to another sender.

    `from_http`: the record comes from an HTTP process of the exchange.
    """
    first, _, rest = submitted.command_id.partition(":")
    if first == _ORDERS and rest:
        if not isinstance(submitted.command, PlaceOrder) and submitted.command_id != _id_of_order(submitted):
            raise UnreadableError("command_id is that of another order")
    elif not from_http and rest and (first in COMMANDS or _is_traders(first, rest)):
        raise UnreadableError("command_id is one of a write over HTTP")


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
