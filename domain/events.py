"""All events: the closed list that the log may hold, and the envelope that they have there."""

from typing import Final, get_args

from domain.account import AccountEvent
from domain.invitations import InvitationEvent
from domain.market import LifecycleEvent, MarketDrafted
from domain.money import Time
from domain.orders import OrderEvent
from domain.partition import PartitionEvent
from domain.story import StoryPublished
from domain.transfers import TransferEvent
from domain.values import Value

MarketEvent = MarketDrafted | LifecycleEvent | OrderEvent
Event = StoryPublished | MarketEvent | AccountEvent | TransferEvent | InvitationEvent | PartitionEvent

EVENT_TYPES: Final[tuple[type[Event], ...]] = (
    StoryPublished,
    MarketDrafted,
    *get_args(LifecycleEvent),
    *get_args(OrderEvent),
    *get_args(AccountEvent),
    *get_args(InvitationEvent),
    *get_args(PartitionEvent),
    *get_args(TransferEvent),
)


class Recorded(Value):
    """An event with its place in the log.

    `position` orders the events of a partition. `stream` and `version` (from 1) give the event's place in its aggregate.
    `time` is when its command was accepted. Only the first event of a command has a `digest`, that of the command.
    """

    position: int
    stream: str
    version: int
    time: Time
    command_id: str
    event: Event
    digest: str | None = None
