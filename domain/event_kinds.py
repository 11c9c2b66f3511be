"""What an event belongs to: an account, a market's orders, an invitation, the partition, or a transfer between partitions.

Every event is asked, so this is compiled (`local/compile.py`), and sets of types are used: faster than `isinstance` with unions.
"""

from typing import TYPE_CHECKING, Final, get_args

from domain.account import AccountEvent
from domain.events import Event
from domain.invitations import InvitationEvent
from domain.orders import OrderEvent
from domain.partition import PartitionEvent
from domain.transfers import TransferEvent

if TYPE_CHECKING:
    from typing_extensions import TypeIs  # in `typing` from Python 3.13 on

_ACCOUNT_EVENTS: Final = frozenset(get_args(AccountEvent))
_ORDER_EVENTS: Final = frozenset(get_args(OrderEvent))
_INVITATION_EVENTS: Final = frozenset(get_args(InvitationEvent))
_PARTITION_EVENTS: Final = frozenset(get_args(PartitionEvent))
_TRANSFER_EVENTS: Final = frozenset(get_args(TransferEvent))


def is_account_event(event: Event) -> "TypeIs[AccountEvent]":
    """Return whether the event belongs to an account."""
    return type(event) in _ACCOUNT_EVENTS


def is_order_event(event: Event) -> "TypeIs[OrderEvent]":
    """Return whether the event belongs to a market's orders."""
    return type(event) in _ORDER_EVENTS


def is_invitation_event(event: Event) -> "TypeIs[InvitationEvent]":
    """Return whether the event belongs to an invitation."""
    return type(event) in _INVITATION_EVENTS


def is_partition_event(event: Event) -> "TypeIs[PartitionEvent]":
    """Return whether the event belongs to the partition itself."""
    return type(event) in _PARTITION_EVENTS


def is_transfer_event(event: Event) -> "TypeIs[TransferEvent]":
    """Return whether the event belongs to an account's balance in one of several partitions."""
    return type(event) in _TRANSFER_EVENTS
