"""All events: the closed list that the log may hold, and the envelope in which they stand there."""

from typing import TYPE_CHECKING, Final, get_args

from domain.account import AccountEvent
from domain.market import LifecycleEvent, MarketDrafted
from domain.money import Time
from domain.orders import OrderEvent
from domain.partition import PartitionEvent
from domain.story import StoryPublished
from domain.values import Value

if TYPE_CHECKING:
    from typing_extensions import TypeIs  # in `typing` from Python 3.13 on

MarketEvent = MarketDrafted | LifecycleEvent | OrderEvent
Event = StoryPublished | MarketEvent | AccountEvent | PartitionEvent

EVENT_TYPES: Final[tuple[type[Event], ...]] = (
    StoryPublished,
    MarketDrafted,
    *get_args(LifecycleEvent),
    *get_args(OrderEvent),
    *get_args(AccountEvent),
    *get_args(PartitionEvent),
)

_ACCOUNT_EVENTS: Final = frozenset(get_args(AccountEvent))
_ORDER_EVENTS: Final = frozenset(get_args(OrderEvent))
_PARTITION_EVENTS: Final = frozenset(get_args(PartitionEvent))


def is_account_event(event: Event) -> "TypeIs[AccountEvent]":
    """Return whether the event belongs to an account (quicker than `isinstance` with a union of classes)."""
    return type(event) in _ACCOUNT_EVENTS


def is_order_event(event: Event) -> "TypeIs[OrderEvent]":
    """Return whether the event belongs to a market's orders."""
    return type(event) in _ORDER_EVENTS


def is_partition_event(event: Event) -> "TypeIs[PartitionEvent]":
    """Return whether the event belongs to the partition itself."""
    return type(event) in _PARTITION_EVENTS


class Recorded(Value):
    """An event with its place in the log.

    `position` orders the events of a partition; `stream` and `version` (from 1) are its place in its aggregate;
    `time` is when its command was accepted; `digest` (of the command) stands on the first event of a command only.
    """

    position: int
    stream: str
    version: int
    time: Time
    command_id: str
    event: Event
    digest: str | None = None
