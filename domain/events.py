"""All events: the closed list that the log may hold, and the envelope in which they stand there."""

from typing import Final, get_args

from domain.account import AccountEvent
from domain.market import LifecycleEvent, MarketDrafted
from domain.money import Time
from domain.orders import OrderEvent
from domain.partition import PartitionEvent
from domain.story import StoryPublished
from domain.values import Value

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
