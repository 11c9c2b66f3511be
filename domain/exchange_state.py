"""The state of one partition: all its aggregates, and how recorded events change them.

`domain.exchange` decides commands on it. Whoever only reads the log needs no more than this.
"""

from typing import Final, NamedTuple

from domain.account import Account, AccountOpened, CashDeposited, CashWithdrawn
from domain.account_rules import evolve_account
from domain.assignments import Assignments, PartitionAssigned, evolve_assignments
from domain.due import DueTimes
from domain.event_kinds import (
    is_account_event,
    is_invitation_event,
    is_order_event,
    is_partition_event,
    is_transfer_event,
)
from domain.events import Event, MarketEvent
from domain.invitations import Invitation, evolve_invitations
from domain.ledger import Ledger
from domain.market import MarketDrafted, Status
from domain.market_evolution import evolve_market
from domain.market_state import Market
from domain.money import Time
from domain.names import Names
from domain.order_evolution import evolve_orders
from domain.orders import OrderPlaced
from domain.partition import PartitionEvent
from domain.settlement import phase_of
from domain.state_hash import state_hash
from domain.story import Story, StoryPublished, evolve_story
from domain.transfer_rules import evolve_balance, evolve_carried, evolve_channels
from domain.transfers import Channels, FundsCarried

# Every order asks this: a set of types answers faster than `isinstance` with a union of classes.
_OF_NO_MARKET: Final = frozenset({AccountOpened, CashDeposited, CashWithdrawn})


class Entry(NamedTuple):
    """An event to append, with its stream and its version there."""

    stream: str
    version: int
    event: Event


class ExchangeState:
    """The state of one partition. `time` is that of the last command, in microseconds since the epoch."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.time: Time = 0
        self.stories: dict[str, Story] = {}
        self.markets: dict[str, Market] = {}
        self.accounts: dict[str, Account] = {}
        self.invitations: dict[str, Invitation] = {}
        self.names = Names()
        self.holders: dict[str, dict[str, None]] = {}
        self.ledger = Ledger()
        self.channels = Channels()
        self.assigned = Assignments()
        self.versions: dict[str, int] = {}
        self.unfinished: dict[str, str] = {}
        self.due = DueTimes()
        self._stream = f"partition-{partition}"

    def apply(self, event: Event, *, stream: str, version: int, time: Time, command_id: str) -> None:
        """Apply a recorded event to the state. Events come in the order of the log, each once."""
        self.time = time
        self.versions[stream] = version
        self._apply(event, command_id)

    def state_hash(self) -> str:
        """Return a hash of the whole state: equal for two exchanges that would decide everything alike from now on."""
        return state_hash(self)

    def stream_of(self, event: Event) -> str:
        """Return the name of the stream of the aggregate that an event belongs to."""
        if is_account_event(event):
            return f"account-{event.account_id}"
        if is_partition_event(event):
            return self._stream
        if isinstance(event, StoryPublished):
            return f"story-{event.story_id}"
        if is_invitation_event(event):
            return f"invitation-{event.invitation_id}"
        if is_transfer_event(event):
            return f"account-{event.account_id}"
        return f"market-{event.market_id}"

    def _emit(self, event: Event, command_id: str) -> Entry:
        stream = self.stream_of(event)
        version = self.versions.get(stream, 0) + 1
        self.versions[stream] = version
        self._apply(event, command_id)
        return Entry(stream, version, event)

    def _apply(self, event: Event, command_id: str) -> None:  # noqa: C901  one case a kind of event
        if is_order_event(event):
            market = self.markets[event.market_id]
            evolve_orders(market, event)
            self._note_unfinished(market, event, command_id)
            return
        if is_account_event(event):
            account_id = event.account_id
            account = self.accounts[account_id] = evolve_account(self.accounts.get(account_id), event)
            if type(event) not in _OF_NO_MARKET:
                if event.market_id in account.holdings:  # type: ignore[union-attr]
                    self.holders.setdefault(event.market_id, {})[account_id] = None  # type: ignore[union-attr]
            elif type(event) is AccountOpened:
                self.names.learn(event)
        elif isinstance(event, StoryPublished):
            self.stories[event.story_id] = evolve_story(self.stories.get(event.story_id), event)
            self.names.learn(event)
        elif is_invitation_event(event):
            evolve_invitations(self.invitations, event)
        elif is_partition_event(event):
            self._note_of_several(event)
        elif is_transfer_event(event):
            account_id = event.account_id
            self.accounts[account_id] = evolve_balance(self.accounts.get(account_id), event)
            evolve_channels(self.channels, event, self.partition, self.time, command_id)
        else:
            market = self.markets[event.market_id] = evolve_market(self.markets.get(event.market_id), event)
            if type(event) is MarketDrafted:
                self.names.learn(event)
                self.stories[event.story_id].markets += 1
            self._note_unfinished(market, event, command_id)
        self.ledger.post(event)

    def _note_of_several(self, event: PartitionEvent) -> None:
        if type(event) is FundsCarried:
            evolve_carried(self.channels, event)
        elif type(event) is PartitionAssigned:
            evolve_assignments(self.assigned, event)

    def _note_unfinished(self, market: Market, event: MarketEvent, command_id: str) -> None:
        """Note what the event leaves to do, now or at a due time."""
        if type(event) is not OrderPlaced or event.expires_at is not None:  # nearly all events are orders without one
            self.due.learn(event, market, self.markets)
        if market.sweeping or (market.status is not Status.ACTIVE and phase_of(market)):
            self.unfinished[market.market_id] = command_id
