"""One partition of the exchange: all its aggregates, one command at a time.

`handle` decides a command, applies its events to the state in memory and returns them to be appended to the log. If the append
fails, the whole object is thrown away and made again from the log: there is no undo. `apply` is the other way in: it brings the
state to what recorded events made of it.

`step` does, in bounded pieces, what the clock does (closing, expiry, the end of a dispute window) and what is too large for one
command (canceling a book, paying all holders). The caller calls it until it returns None, before and after every command.

It finds the aggregates that a command names and lets `market_decisions`, `order_decisions`, `account_rules`, `story` decide.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from domain import market_decisions, order_decisions
from domain.account import Account, AccountOpened, CashDeposited, CashWithdrawn, DepositCash, OpenAccount, WithdrawCash
from domain.account_rules import deposit_cash, evolve_account, open_account, withdraw_cash
from domain.commands import Command
from domain.decided import no_account, no_effect, no_market, one, rejected
from domain.due import Due, DueTimes, is_pending
from domain.event_kinds import is_account_event, is_invitation_event, is_order_event, is_partition_event
from domain.events import Event, MarketEvent
from domain.executions import sweep_events
from domain.invitations import (
    AcceptInvitation,
    CreateInvitation,
    Invitation,
    RevokeInvitation,
    accept_invitation,
    create_invitation,
    evolve_invitations,
    revoke_invitation,
)
from domain.ledger import Ledger
from domain.market import (
    SECOND,
    AddLiquidity,
    DisputeMarket,
    LiquidityAdded,
    MarketDrafted,
    MarketResumed,
    OpenMarket,
    ResumeMarket,
    Status,
)
from domain.market_evolution import evolve_market
from domain.market_state import Market
from domain.money import Time
from domain.money_bound import MONEY_FIELDS, too_much_money
from domain.names import Names
from domain.order_evolution import evolve_orders
from domain.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    CancelScope,
    MergeSets,
    OrderAmended,
    OrderPlaced,
    PlaceOrder,
    SplitSets,
)
from domain.partition import CommandsRead, PartitionEvent
from domain.rejections import Code, Rejection, reject
from domain.reservations import cancel_events
from domain.settlement import Settlement, phase_of, withheld
from domain.slugs import market_slugs
from domain.state_hash import state_hash
from domain.story import PublishStory, Story, StoryPublished, evolve_story, publish_story, too_many_markets

# Every order asks these questions: a set of types answers faster than `isinstance` with a union of classes.
_MAY_SWEEP: Final = frozenset({PlaceOrder, AmendOrder, AddLiquidity, ResumeMarket})
_OF_NO_MARKET: Final = frozenset({AccountOpened, CashDeposited, CashWithdrawn})


class Entry(NamedTuple):
    """An event to append, with its stream and its version there."""

    stream: str
    version: int
    event: Event


class Exchange:
    """The state of one partition. `time` is that of the last command, in microseconds since the epoch."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.time: Time = 0
        self.hold_seconds = 0  # the engine sets it; what follows from it stands in events
        self.stories: dict[str, Story] = {}
        self.markets: dict[str, Market] = {}
        self.accounts: dict[str, Account] = {}
        self.invitations: dict[str, Invitation] = {}
        self.names = Names()
        self.holders: dict[str, dict[str, None]] = {}
        self.ledger = Ledger()
        self.versions: dict[str, int] = {}
        self.unfinished: dict[str, str] = {}
        self.due = DueTimes()
        self._stream = f"partition-{partition}"
        self._settlement = Settlement()

    # --- the two ways in: a new command, a recorded event

    def handle(self, command: Command, time: Time, command_id: str, body: bytes = b"") -> list[Entry]:
        """Decide the command at this time, apply its events and return them.

        There is at least one: a refusal is `CommandRejected`. The caller has called `step` at this time until it returned
        None. Time never runs backwards. `body` is the JSON of the command, or empty; only an event that tells nothing else
        of the command keeps it.
        """
        assert time >= self.time, "time came in backwards"
        self.time = time
        decided = self._decide(command)
        if isinstance(decided, Rejection):
            decided = [rejected(command, decided, body)]
        elif type(command) in MONEY_FIELDS and (refusal := too_much_money(command, decided, self.ledger)):
            decided = [rejected(command, refusal, body)]
        elif not decided:
            decided = [no_effect(command, body)]
        entries = [self._emit(event, command_id) for event in decided]
        if type(command) in _MAY_SWEEP:
            entries += [self._emit(event, command_id) for event in self._sweep(decided)]
        return entries

    def emit_partition_event(self, event: PartitionEvent, time: Time, command_id: str) -> Entry:
        """Apply and return the event of a command that no aggregate decides: an unreadable one, or one that only moves time."""
        assert time >= self.time, "time came in backwards"
        self.time = time
        return self._emit(event, command_id)

    def commands_read(self, source: str, next_offset: int) -> Entry:
        """Apply and return the event that ends a batch: all commands of `source` before `next_offset` have been answered."""
        return self._emit(CommandsRead(source, next_offset), "")

    def apply(self, event: Event, *, stream: str, version: int, time: Time, command_id: str) -> None:
        """Apply a recorded event to the state. Events come in the order of the log, each once."""
        self.time = time
        self.versions[stream] = version
        self._apply(event, command_id)

    def quote(self, command: PlaceOrder, time: Time) -> Sequence[Event] | Rejection:
        """Return what the order would do now, with all that the sweep would do to it and to the prices; change nothing.

        The first event is `OrderPlaced`. The caller has called `step` at this time until it returned None.
        """
        found = self._market_and_account(command.market_id, command.account_id)
        if isinstance(found, Rejection):
            return found
        return order_decisions.quote_order(*found, command, max(time, self.time))

    def state_hash(self) -> str:
        """Return a hash of the whole state: equal for two exchanges that would decide everything alike from now on."""
        return state_hash(self)

    # --- what the clock does, and what is too large for one command

    def next_due(self) -> Time | None:
        """Return the next time at which the clock does something, or None."""
        return self.due.earliest(self.markets)

    def is_idle(self, time: Time) -> bool:
        """Return whether nothing is unfinished or due at this time: `step` would return None."""
        return not self.unfinished and not self.due.is_due(time)

    def step(self, time: Time) -> tuple[str, list[Entry]] | None:
        """Do one bounded piece of what is unfinished or due at this time.

        Returns:
            The id of the command that it belongs to and the events, already applied; None when there is nothing left to do.
            What the clock does has ids that begin with `due:`.
        """
        assert time >= self.time, "time came in backwards"
        while self.unfinished:
            market_id, command_id = next(iter(self.unfinished.items()))
            events = self._continue(self.markets[market_id])
            if events:
                self.time = time
                return command_id, [self._emit(event, command_id) for event in events]
            del self.unfinished[market_id]
        while (due := self.due.pop(time)) is not None:
            events = self._fall_due(due, time)
            if events:
                self.time = time
                return due.command_id, [self._emit(event, due.command_id) for event in events]
        return None

    def _continue(self, market: Market) -> Sequence[Event]:
        if market.sweeping and (swept := sweep_events(market)):
            return swept
        return self._settlement.step(market, self.accounts, self.holders.get(market.market_id, ()), self.ledger)

    def _fall_due(self, due: Due, time: Time) -> Sequence[Event]:
        market = self.markets[due.market_id]
        if not is_pending(due, market):
            return ()
        if due.kind == "expiry":
            order = market.book.orders[due.order_id]
            return cancel_events(market, order, self.accounts[order.account_id], "expired")
        return market_decisions.fall_due(market, due.kind, self._held_until(time))

    def _held_until(self, time: Time) -> Time:
        return time + self.hold_seconds * SECOND if self.hold_seconds else 0

    # --- decide: find what the command names, and let that decide

    def _decide(self, command: Command) -> Sequence[Event] | Rejection:  # noqa: C901, PLR0912  one case a command
        match command:
            case PlaceOrder():
                found = self._market_and_account(command.market_id, command.account_id)
                return (
                    found if isinstance(found, Rejection) else order_decisions.place_order(*found, command, self.time)
                )
            case CancelOrder():
                return self._cancel_order(command)
            case CancelOrders():
                return self._cancel_orders(command)
            case AmendOrder():
                opened = self._open_order(command.account_id, command.order_id)
                return opened if isinstance(opened, Rejection) else order_decisions.amend_order(*opened, command)
            case SplitSets():
                found = self._market_and_account(command.market_id, command.account_id)
                return found if isinstance(found, Rejection) else order_decisions.split_sets(*found, command)
            case MergeSets():
                found = self._market_and_account(command.market_id, command.account_id)
                return found if isinstance(found, Rejection) else order_decisions.merge_sets(*found, command)
            case OpenAccount():
                return one(open_account(command, self.accounts, self.names.accounts))
            case DepositCash():
                account = self._account(command.account_id)
                return account if isinstance(account, Rejection) else [deposit_cash(command)]
            case WithdrawCash():
                account = self._account(command.account_id)
                if isinstance(account, Rejection):
                    return account
                held_back = withheld(account, self.markets, self.time) if self.hold_seconds else 0
                return one(withdraw_cash(account, command, held_back))
            case CreateInvitation():
                return create_invitation(command, self.invitations, self.time)
            case AcceptInvitation():
                return accept_invitation(command, self.invitations, self.accounts, self.names.accounts, self.time)
            case RevokeInvitation():
                return revoke_invitation(command, self.invitations)
            case PublishStory():
                return self._publish_story(command)
            case OpenMarket():
                if command.story_id not in self.stories:
                    return reject(Code.STORY_NOT_FOUND, "there is no such story", story=command.story_id)
                if refusal := too_many_markets(self.stories[command.story_id]):
                    return refusal
                return self._open_markets([command])
            case DisputeMarket():
                found = self._market_and_account(command.market_id, command.account_id)
                return found if isinstance(found, Rejection) else market_decisions.dispute(*found, command, self.time)
            case _:
                market = self.markets.get(command.market_id)
                if market is None:
                    return no_market(command.market_id)
                return market_decisions.decide(market, command, self.time, self._held_until(self.time))

    def _account(self, account_id: str) -> Account | Rejection:
        return self.accounts.get(account_id) or no_account(account_id)

    def _market_and_account(self, market_id: str, account_id: str) -> tuple[Market, Account] | Rejection:
        market, account = self.markets.get(market_id), self.accounts.get(account_id)
        if market is None:
            return no_market(market_id)
        if account is None:
            return no_account(account_id)
        return market, account

    def _open_order(self, account_id: str, order_id: str) -> tuple[Market, Account] | Rejection:
        """Return the market and the account of an open order, or why the account has none with this id."""
        account = self._account(account_id)
        if isinstance(account, Rejection):
            return account
        reservation = account.orders.get(order_id)
        if reservation is None:
            if any(order_id in market.book.orders for market in self.markets.values()):
                return reject(Code.NOT_ORDER_OWNER, "the order belongs to another account", order=order_id)
            return reject(Code.ORDER_NOT_OPEN, "there is no such open order", order=order_id)
        return self.markets[reservation.market_id], account

    def _cancel_order(self, command: CancelOrder) -> Sequence[Event] | Rejection:
        opened = self._open_order(command.account_id, command.order_id)
        if isinstance(opened, Rejection):
            return opened
        market, account = opened
        return cancel_events(market, market.book.orders[command.order_id], account, "trader")

    def _cancel_orders(self, command: CancelOrders) -> Sequence[Event] | Rejection:
        account = self._account(command.account_id)
        if isinstance(account, Rejection):
            return account
        if command.market_id is not None and command.market_id not in self.markets:
            return no_market(command.market_id)
        events: list[Event] = []
        scope: CancelScope = "account" if command.market_id is None else "market"
        for order_id, reservation in account.orders.items():
            if command.market_id in {None, reservation.market_id}:
                market = self.markets[reservation.market_id]
                events += cancel_events(market, market.book.orders[order_id], account, "trader", scope)
        return events

    def _publish_story(self, command: PublishStory) -> Sequence[Event] | Rejection:
        published = publish_story(command, self.stories, self.names.stories)
        if isinstance(published, Rejection):
            return published
        opened = self._open_markets(command.markets)
        return opened if isinstance(opened, Rejection) else [published, *opened]

    def _open_markets(self, openings: Sequence[OpenMarket]) -> Sequence[Event] | Rejection:
        """Return the events of all these markets, or why one of them is refused: then none is opened."""
        slugs = market_slugs(openings, self.names.markets)
        if isinstance(slugs, Rejection):
            return slugs
        events: list[Event] = []
        for opening, slug in zip(openings, slugs, strict=True):
            if opening.market_id in self.markets:
                return reject(Code.MARKET_EXISTS, "a market with this id already exists", market=opening.market_id)
            opened = market_decisions.open_market(opening, slug, self.time)
            if isinstance(opened, Rejection):
                return opened
            events += opened
        return events

    def _sweep(self, decided: Sequence[Event]) -> Sequence[Event]:
        """Return the sweep that these events set off: the first one with `swept_prices` says that there is one."""
        for event in decided:
            if type(event) is OrderPlaced or type(event) is OrderAmended:
                prices = event.execution.swept_prices
            elif type(event) is LiquidityAdded or type(event) is MarketResumed:
                prices = event.swept_prices
            else:
                continue
            return sweep_events(self.markets[event.market_id]) if prices else ()
        return ()

    # --- evolve

    def _emit(self, event: Event, command_id: str) -> Entry:
        stream = self.stream_of(event)
        version = self.versions.get(stream, 0) + 1
        self.versions[stream] = version
        self._apply(event, command_id)
        return Entry(stream, version, event)

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
        return f"market-{event.market_id}"

    def _apply(self, event: Event, command_id: str) -> None:
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
        elif not is_partition_event(event):
            market = self.markets[event.market_id] = evolve_market(self.markets.get(event.market_id), event)
            if type(event) is MarketDrafted:
                self.names.learn(event)
                self.stories[event.story_id].markets += 1
            self._note_unfinished(market, event, command_id)
        self.ledger.post(event)

    def _note_unfinished(self, market: Market, event: MarketEvent, command_id: str) -> None:
        """Note what the event leaves to do, now or at a due time."""
        if type(event) is not OrderPlaced or event.expires_at is not None:  # nearly all events are orders without one
            self.due.learn(event, market, self.markets)
        if market.sweeping or (market.status is not Status.ACTIVE and phase_of(market)):
            self.unfinished[market.market_id] = command_id
