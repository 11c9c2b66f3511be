"""One partition of the exchange: all its aggregates, one command at a time.

`handle` decides a command and applies its events to the state in memory; what it returns is then appended to the log. If
the append fails the whole object is thrown away and made again from the log: there is no undo. `apply` is that second
way in: the same state from recorded events. What happens by itself (closing, expiry, the end of a dispute window) and
what is too large for one command (canceling a book, paying all holders) is done by `step`, in bounded pieces, which the
caller runs dry before and after every command.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, assert_never

from domain import market as markets
from domain import market_rules, settlement, story, trading
from domain.account import Account, AccountOpened, CashDeposited, CashWithdrawn, DepositCash, OpenAccount, WithdrawCash
from domain.account_rules import deposit_cash, evolve_account, withdraw_cash
from domain.due import Due, DueTimes
from domain.event_kinds import is_account_event, is_order_event, is_partition_event
from domain.events import Event, MarketEvent
from domain.ledger import Ledger
from domain.market import Market, MarketCommand, OpenMarket, Status
from domain.market_rules import evolve_market
from domain.money import Time
from domain.order_rules import evolve_orders
from domain.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    MergeSets,
    OrderAmended,
    OrderPlaced,
    PlaceOrder,
    SplitSets,
)
from domain.partition import CommandHadNoEffect, CommandRejected, CommandsRead, PartitionEvent
from domain.rejections import Code, Rejection, reject
from domain.state_hash import state_hash
from domain.story import PublishStory, Story, StoryPublished

Command = (
    PublishStory
    | OpenMarket
    | MarketCommand
    | markets.DisputeMarket
    | OpenAccount
    | DepositCash
    | WithdrawCash
    | PlaceOrder
    | CancelOrder
    | CancelOrders
    | AmendOrder
    | SplitSets
    | MergeSets
)

STORY_MARKETS_MAX: Final = 50

# Sets of types, since every order asks these questions: quicker than `isinstance` with a union of classes.
_MOVE_PRICES: Final = frozenset({PlaceOrder, AmendOrder})
_OF_NO_MARKET: Final = frozenset({AccountOpened, CashDeposited, CashWithdrawn})


class Entry(NamedTuple):
    """An event that is to be appended, with its place in its stream."""

    stream: str
    version: int
    event: Event


class Exchange:
    """The state of one partition. `time` is that of the last command, in microseconds since the epoch."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.time: Time = 0
        self.stories: dict[str, Story] = {}
        self.markets: dict[str, Market] = {}
        self.accounts: dict[str, Account] = {}
        self.holders: dict[str, dict[str, None]] = {}
        self.ledger = Ledger()
        self.versions: dict[str, int] = {}
        self.unfinished: dict[str, str] = {}
        self.due = DueTimes()
        self._stream = f"partition-{partition}"
        self._todo: tuple[str, str, list[str]] | None = None

    # --- the two ways in: a new command, a recorded event

    def handle(self, command: Command, time: Time, command_id: str) -> list[Entry]:
        """Decide the command at this time, apply its events, return them: at least one, a refusal is `CommandRejected`.

        `step` must have been run dry at this time. Time never runs backwards.
        """
        assert time >= self.time, "time came in backwards"
        self.time = time
        outcome = self._decide(command)
        if isinstance(outcome, Rejection):
            outcome = [_rejected(command, outcome)]
        elif not outcome:
            outcome = [_no_effect(command)]
        entries = [self._emit(event, command_id) for event in outcome]
        if type(command) in _MOVE_PRICES:
            entries += [self._emit(event, command_id) for event in self._sweep(outcome)]
        return entries

    def record(self, event: PartitionEvent, time: Time, command_id: str) -> Entry:
        """Return the outcome of a command that no aggregate decides: one that cannot be read, or that moves only time."""
        assert time >= self.time, "time came in backwards"
        self.time = time
        return self._emit(event, command_id)

    def read_to(self, source: str, following: int) -> Entry:
        """Return the event that ends a batch: commands of `source` before `following` have their outcome."""
        return self._emit(CommandsRead(source, following), "")

    def apply(self, event: Event, *, stream: str, version: int, time: Time, command_id: str) -> None:
        """Bring the state to what it is after a recorded event; they come in the order of the log, each once."""
        self.time = time
        self.versions[stream] = version
        self._apply(event, command_id)

    def quote(self, command: PlaceOrder, time: Time) -> OrderPlaced | Rejection:
        """Return what the order would do now; changes nothing. `step` must have been run dry at this time."""
        outcome = self._place_order(command, max(time, self.time))
        if isinstance(outcome, Rejection):
            return outcome
        return next(event for event in outcome if isinstance(event, OrderPlaced))

    def state_hash(self) -> str:
        """Return a hash of the whole state: equal for two exchanges exactly when they would go on alike."""
        return state_hash(self)

    # --- what happens by itself, and what is too large for one command

    def next_due(self) -> Time | None:
        """Return when something happens by itself next, or None."""
        return self.due.earliest(self._is_pending)

    def is_idle(self, time: Time) -> bool:
        """Return whether nothing is unfinished or due at this time: `step` would return None."""
        return not self.unfinished and not self.due.is_due(time)

    def step(self, time: Time) -> tuple[str, list[Entry]] | None:
        """Do one bounded piece of what is unfinished or due at this time.

        Returns the id of the command it belongs to (what the clock brought about has ids that begin with `due:`) and the
        events, already applied; None when there is nothing left to do.
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
            events = self._fire(due)
            if events:
                self.time = time
                return due.command_id, [self._emit(event, due.command_id) for event in events]
        return None

    def _continue(self, market: Market) -> Sequence[Event]:
        if market.sweeping and (swept := trading.sweep_events(market)):
            return swept
        phase = settlement.phase_of(market)
        if phase is None:
            return ()
        if phase == "cancel":
            return settlement.cancel_step(market, self.accounts)
        if self._todo is None or self._todo[:2] != (market.market_id, phase):
            holders = [self.accounts[holder] for holder in self.holders.get(market.market_id, ())]
            self._todo = (market.market_id, phase, settlement.accounts_of(phase, market, holders))
        todo = self._todo[2]
        batch = [self.accounts[todo.pop()] for _ in range(min(settlement.accounts_at_once(market), len(todo)))]
        if not todo:
            self._todo = None
        return settlement.step_of(phase, market, batch, self.ledger, last=not todo)

    def _is_pending(self, due: Due) -> bool:
        market = self.markets[due.market_id]
        match due.kind:
            case "close":
                return market.status in {Status.ACTIVE, Status.HALTED}
            case "window":
                return market.status is Status.DETERMINED and market.dispute_until == due.time
            case "expiry":
                return due.order_id in market.book.orders
            case _:
                assert_never(due.kind)

    def _fire(self, due: Due) -> Sequence[Event]:
        if not self._is_pending(due):
            return ()
        market = self.markets[due.market_id]
        match due.kind:
            case "close":
                return [markets.MarketClosed(market.market_id, "close_time", market.shown_prices())]
            case "window":
                return [markets.MarketFinalized(market.market_id, market.payouts)]
            case "expiry":
                order = market.book.orders[due.order_id]
                return trading.cancel_events(market, order, self.accounts[order.account_id], "expired")
            case _:
                assert_never(due.kind)

    # --- decide

    def _decide(self, command: Command) -> Sequence[Event] | Rejection:  # noqa: C901, PLR0912  one case a command
        match command:
            case PlaceOrder():
                return self._place_order(command, self.time)
            case CancelOrder():
                return self._cancel_order(command)
            case CancelOrders():
                return self._cancel_orders(command)
            case AmendOrder():
                return self._amend_order(command)
            case SplitSets() | MergeSets():
                found = self._market_and_account(command.market_id, command.account_id)
                if isinstance(found, Rejection):
                    return found
                if isinstance(command, SplitSets):
                    return trading.split_sets(*found, command)
                return trading.merge_sets(*found, command)
            case OpenAccount():
                if command.account_id in self.accounts:
                    return reject(Code.ACCOUNT_EXISTS, "there is such an account", account=command.account_id)
                return [AccountOpened(command.account_id, command.name)]
            case DepositCash() | WithdrawCash():
                account = self._account(command.account_id)
                if isinstance(account, Rejection):
                    return account
                if isinstance(command, DepositCash):
                    return [deposit_cash(command)]
                return _one(withdraw_cash(account, command))
            case PublishStory():
                return self._publish_story(command)
            case OpenMarket():
                return self._open_market(command)
            case markets.DisputeMarket():
                return self._dispute_market(command)
            case _:
                return self._market_command(command)

    def _market(self, market_id: str) -> Market | Rejection:
        return self.markets.get(market_id) or _no_market(market_id)

    def _account(self, account_id: str) -> Account | Rejection:
        return self.accounts.get(account_id) or _no_account(account_id)

    def _market_and_account(self, market_id: str, account_id: str) -> tuple[Market, Account] | Rejection:
        market, account = self.markets.get(market_id), self.accounts.get(account_id)
        if market is None:
            return _no_market(market_id)
        if account is None:
            return _no_account(account_id)
        return market, account

    def _place_order(self, command: PlaceOrder, time: Time) -> Sequence[Event] | Rejection:
        found = self._market_and_account(command.market_id, command.account_id)
        if isinstance(found, Rejection):
            return found
        return trading.place_order(*found, command, time)

    def _open_order(self, account_id: str, order_id: str) -> tuple[Market, Account] | Rejection:
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
        found = self._open_order(command.account_id, command.order_id)
        if isinstance(found, Rejection):
            return found
        market, account = found
        return trading.cancel_events(market, market.book.orders[command.order_id], account, "trader")

    def _cancel_orders(self, command: CancelOrders) -> Sequence[Event] | Rejection:
        account = self._account(command.account_id)
        if isinstance(account, Rejection):
            return account
        if command.market_id is not None and command.market_id not in self.markets:
            return _no_market(command.market_id)
        events: list[Event] = []
        for order_id, reservation in account.orders.items():
            if command.market_id in {None, reservation.market_id}:
                market = self.markets[reservation.market_id]
                events += trading.cancel_events(market, market.book.orders[order_id], account, "trader")
        return events

    def _amend_order(self, command: AmendOrder) -> Sequence[Event] | Rejection:
        found = self._open_order(command.account_id, command.order_id)
        return found if isinstance(found, Rejection) else trading.amend_order(*found, command)

    def _publish_story(self, command: PublishStory) -> Sequence[Event] | Rejection:
        if command.story_id in self.stories:
            return reject(Code.STORY_EXISTS, "there is such a story", story=command.story_id)
        if len(command.markets) > STORY_MARKETS_MAX:
            return reject(Code.INVALID_FIELD, f"markets must be at most {STORY_MARKETS_MAX}", field="markets")
        events: list[Event] = [story.publish_story(command)]
        slugs = [opening.slug for opening in command.markets]
        if len(set(slugs)) != len(slugs):
            return reject(Code.INVALID_FIELD, "markets must have different slugs", field="markets")
        for opening in command.markets:
            opened = self._open(opening)
            if isinstance(opened, Rejection):
                return opened
            events += opened
        return events

    def _open_market(self, command: OpenMarket) -> Sequence[Event] | Rejection:
        if command.story_id not in self.stories:
            return reject(Code.STORY_NOT_FOUND, "there is no such story", story=command.story_id)
        return self._open(command)

    def _open(self, command: OpenMarket) -> Sequence[Event] | Rejection:
        if command.market_id in self.markets:
            return reject(Code.MARKET_EXISTS, "there is such a market", market=command.market_id)
        drafted = market_rules.open_market(command, self.time)
        if isinstance(drafted, Rejection):
            return drafted
        return [drafted] if command.draft else [drafted, market_rules.activation(drafted)]

    def _dispute_market(self, command: markets.DisputeMarket) -> Sequence[Event] | Rejection:
        found = self._market_and_account(command.market_id, command.account_id)
        if isinstance(found, Rejection):
            return found
        market, account = found
        return market_rules.illegal(market, command) or settlement.dispute(market, account, command, self.time)

    def _market_command(  # noqa: C901, PLR0912  one case a command
        self, command: MarketCommand
    ) -> Sequence[Event] | Rejection:
        market = self._market(command.market_id)
        if isinstance(market, Rejection):
            return market
        if isinstance(command, markets.FinalizeMarket) and market.status == Status.FINALIZED:
            return ()  # the end of the window was first: what the operator wants is so
        if refusal := market_rules.illegal(market, command):
            return refusal
        market_id = market.market_id
        match command:
            case markets.ActivateMarket():
                if market.close_time <= self.time:
                    return reject(Code.CLOSE_TIME_PASSED, "its close_time has passed", close_time=market.close_time)
                return [market_rules.activation(market.terms)]
            case markets.HaltMarket():
                return [markets.MarketHalted(market_id)]
            case markets.ResumeMarket():
                return [markets.MarketResumed(market_id)]
            case markets.CloseMarket():
                return [markets.MarketClosed(market_id, "operator", market.shown_prices())]
            case markets.ClarifyMarket():
                version = market.resolution_version + 1
                return [markets.ResolutionClarified(market_id, version, command.resolution_source)]
            case markets.AddLiquidity():
                return _one(market_rules.add_liquidity(market, command))
            case markets.DetermineMarket():
                return settlement.determine(market, command, self.time)
            case markets.UpholdMarket():
                return settlement.uphold(market, self.time)
            case markets.FinalizeMarket():
                return settlement.finalize(market, self.time)
            case markets.CorrectMarket():
                return settlement.correct(market, command)
            case markets.VoidMarket():
                return settlement.void(market, command)
            case _:
                assert_never(command)

    def _sweep(self, outcome: Sequence[Event]) -> Sequence[Event]:
        """Return what the maker does to resting orders after an order that moved its price."""
        for event in outcome:
            if (type(event) is OrderPlaced or type(event) is OrderAmended) and event.execution.prices:
                market = self.markets[event.market_id]
                return trading.sweep_events(market) if len(market.book) else ()
        return ()

    # --- evolve

    def _emit(self, event: Event, command_id: str) -> Entry:
        stream = self.stream_of(event)
        version = self.versions.get(stream, 0) + 1
        self.versions[stream] = version
        self._apply(event, command_id)
        return Entry(stream, version, event)

    def stream_of(self, event: Event) -> str:
        """Return the name of the aggregate an event belongs to."""
        if is_account_event(event):
            return f"account-{event.account_id}"
        if is_partition_event(event):
            return self._stream
        if isinstance(event, StoryPublished):
            return f"story-{event.story_id}"
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
            if type(event) not in _OF_NO_MARKET and event.market_id in account.holdings:  # type: ignore[union-attr]
                self.holders.setdefault(event.market_id, {})[account_id] = None  # type: ignore[union-attr]
        elif isinstance(event, StoryPublished):
            self.stories[event.story_id] = story.evolve_story(self.stories.get(event.story_id), event)
        elif not is_partition_event(event):
            market = self.markets[event.market_id] = evolve_market(self.markets.get(event.market_id), event)
            self._note_unfinished(market, event, command_id)
        self.ledger.post(event)

    def _note_unfinished(self, market: Market, event: MarketEvent, command_id: str) -> None:
        if type(event) is not OrderPlaced or event.expires_at is not None:  # nearly all are orders without
            self.due.learn(market, event, self._is_pending)
        if market.sweeping or (market.status is not Status.ACTIVE and settlement.phase_of(market)):
            self.unfinished[market.market_id] = command_id


def _one(outcome: Event | Rejection) -> Sequence[Event] | Rejection:
    return outcome if isinstance(outcome, Rejection) else [outcome]


def _no_market(market_id: str) -> Rejection:
    return reject(Code.MARKET_NOT_FOUND, "there is no such market", market=market_id)


def _no_account(account_id: str) -> Rejection:
    return reject(Code.ACCOUNT_NOT_FOUND, "there is no such account", account=account_id)


def _rejected(command: Command, rejection: Rejection) -> CommandRejected:
    return CommandRejected(
        type(command).__name__,
        rejection.code,
        rejection.message,
        rejection.details,
        getattr(command, "account_id", None),
        getattr(command, "market_id", None),
    )


def _no_effect(command: Command) -> CommandHadNoEffect:
    return CommandHadNoEffect(
        type(command).__name__, getattr(command, "account_id", None), getattr(command, "market_id", None)
    )
