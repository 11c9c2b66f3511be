"""One partition of the exchange: all its aggregates, one command at a time.

`handle` decides a command, applies its events to the state in memory and returns them to be appended to the log. If the append
fails, the whole object is thrown away and made again from the log: there is no undo. `apply` is the other way in: it brings the
state (`domain.exchange_state`) to what recorded events made of it.

`step` does, in bounded pieces, what the clock does (closing, expiry, the end of a dispute window) and what is too large for one
command (canceling a book, paying all holders). The caller calls it until it returns None, before and after every command.

It finds the aggregates that a command names and lets `market_decisions`, `order_decisions`, `account_rules`, `story` decide.
"""

from collections.abc import Sequence
from typing import Final

from domain import market_decisions, order_decisions
from domain.account import Account, DepositCash, OpenAccount, WithdrawCash
from domain.account_rules import deposit_cash, open_account, withdraw_cash
from domain.assignments import AssignPartition, assign_partition, name_of_elsewhere
from domain.commands import Command
from domain.decided import no_effect, no_market, no_story, one, rejected
from domain.due import Due, is_pending
from domain.events import Event
from domain.exchange_state import Entry, ExchangeState
from domain.executions import sweep_events
from domain.invitations import (
    AcceptInvitation,
    CreateInvitation,
    RevokeInvitation,
    accept_invitation,
    create_invitation,
    revoke_invitation,
)
from domain.market import (
    SECOND,
    AddLiquidity,
    DisputeMarket,
    LiquidityAdded,
    MarketResumed,
    OpenMarket,
    ResumeMarket,
)
from domain.market_state import Market
from domain.money import Credits, Time
from domain.money_bound import MONEY_FIELDS, too_much_money
from domain.openings import open_another, publish_with_markets
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
from domain.placement import wrong_partition
from domain.rejections import Code, Rejection, reject
from domain.reservations import cancel_events
from domain.settlement import Settlement, withheld
from domain.story import PublishStory
from domain.transfer_rules import absent_account, funds_needed, no_balance, receive_funds, transfer_funds
from domain.transfers import Transfer, TransferFunds

__all__ = ["Entry", "Exchange"]

# Every order asks this: a set of types answers faster than `isinstance` with a union of classes.
_MAY_SWEEP: Final = frozenset({PlaceOrder, AmendOrder, AddLiquidity, ResumeMarket})


class Exchange(ExchangeState):
    """One partition: its state, and what decides commands on it."""

    def __init__(self, partition: int = 0, partitions: int = 1) -> None:
        super().__init__(partition)
        # The engine sets these; what follows from them stands in events.
        self.partitions = partitions
        self.placing: Sequence[int] = ()
        self.hold_seconds = 0
        self._settlement = Settlement()

    # --- commands, and what else leaves events

    def handle(self, command: Command, time: Time, command_id: str, body: bytes = b"") -> list[Entry]:
        """Decide the command at this time, apply its events and return them.

        There is at least one: a refusal is `CommandRejected`. The caller has called `step` at this time until it returned
        None. Time never runs backwards. `body` is the JSON of the command, or empty; only an event that tells nothing else
        of the command keeps it.
        """
        assert time >= self.time, "time came in backwards"
        self.time = time
        return self._record(command, self._decide(command), command_id, body)

    def handle_if_funded(
        self, command: Command, time: Time, command_id: str, body: bytes = b""
    ) -> list[Entry] | Rejection:
        """As `handle`, but a command that lacks funds leaves nothing: it returns `FUNDS_NEEDED`, and how much that is.

        That is no outcome. The sender fetches funds from other partitions, and sends the same command again.
        """
        assert time >= self.time, "time came in backwards"
        before, self.time = self.time, time
        decided = self._decide(command)
        if isinstance(decided, Rejection) and decided.code is Code.INSUFFICIENT_FUNDS:
            self.time = before
            return funds_needed(decided)
        return self._record(command, decided, command_id, body)

    def _record(
        self, command: Command, decided: Sequence[Event] | Rejection, command_id: str, body: bytes
    ) -> list[Entry]:
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

    def receive(self, transfer: Transfer, time: Time) -> list[Entry]:
        """Apply and return the events of a transfer from another partition; none if it was received before.

        The caller has called `step` at this time until it returned None. The time is not before that of the sending, so that
        at every time no more has been received than sent. Raises MissingTransferError.
        """
        assert time >= max(self.time, transfer.time), "time came in backwards"
        events = receive_funds(transfer, self.accounts, self.channels.received)
        if events:
            self.time = time
        return [self._emit(event, transfer.receipt_id) for event in events]

    def commands_read(self, source: str, next_offset: int) -> Entry:
        """Apply and return the event that ends a batch: all commands of `source` before `next_offset` have been answered."""
        return self._emit(CommandsRead(source, next_offset), "")

    def quote(self, command: PlaceOrder, time: Time) -> Sequence[Event] | Rejection:
        """Return what the order would do now, with all that the sweep would do to it and to the prices; change nothing.

        The first event is `OrderPlaced`. The caller has called `step` at this time until it returned None.
        """
        found = self._market_and_account(command.market_id, command.account_id)
        if isinstance(found, Rejection):
            return found
        return order_decisions.quote_order(*found, command, max(time, self.time))

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

    def _held_back(self, account: Account) -> Credits:
        return withheld(account, self.markets, self.time) if self.hold_seconds else 0

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
                account = self._account_at_home(command.account_id)
                return account if isinstance(account, Rejection) else [deposit_cash(command)]
            case WithdrawCash():
                account = self._account_at_home(command.account_id)
                if isinstance(account, Rejection):
                    return account
                return one(withdraw_cash(account, command, self._held_back(account)))
            case CreateInvitation():
                return create_invitation(command, self.invitations, self.time)
            case AcceptInvitation():
                return self._accept_invitation(command)
            case RevokeInvitation():
                return revoke_invitation(command, self.invitations)
            case PublishStory():
                return publish_with_markets(command, self.stories, self.markets, self.names, self.time)
            case OpenMarket():
                story = self.stories.get(command.story_id)
                if story is None:
                    return self._elsewhere(command.story_id) or no_story(command.story_id)
                return open_another(command, story, self.markets, self.names, self.time)
            case DisputeMarket():
                found = self._market_and_account(command.market_id, command.account_id)
                if isinstance(found, Rejection):
                    return found
                decided = market_decisions.dispute(*found, command, self.time)
                needs_balance = not isinstance(decided, Rejection) and command.account_id not in self.accounts
                return no_balance() if needs_balance else decided
            case AssignPartition():
                return self._assign_partition(command)
            case TransferFunds():
                return self._transfer_funds(command)
            case _:
                market = self.markets.get(command.market_id)
                if market is None:
                    return self._elsewhere(command.market_id) or no_market(command.market_id)
                return market_decisions.decide(market, command, self.time, self._held_until(self.time))

    def _account(self, account_id: str) -> Account | Rejection:
        return self.accounts.get(account_id) or absent_account(account_id, self.partition, self.partitions)

    def _account_at_home(self, account_id: str) -> Account | Rejection:
        """Return the account, or why cash from outside cannot come in or go out here."""
        return self._elsewhere(account_id) or self._account(account_id)

    def _elsewhere(self, name: str) -> Rejection | None:
        """Return the refusal of a command about something that lives in another partition; None with one partition."""
        return wrong_partition(name, self.partition, self.partitions)

    def _market_and_account(self, market_id: str, account_id: str) -> tuple[Market, Account] | Rejection:
        market, account = self.markets.get(market_id), self.accounts.get(account_id)
        if market is None:
            return self._elsewhere(market_id) or no_market(market_id)
        if account is None:
            absent = absent_account(account_id, self.partition, self.partitions)
            return absent if isinstance(absent, Rejection) else (market, absent)
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

    def _accept_invitation(self, command: AcceptInvitation) -> Sequence[Event] | Rejection:
        if refusal := name_of_elsewhere(command.name_key, command.name, self.assigned):
            return refusal
        return accept_invitation(command, self.invitations, self.accounts, self.names.accounts, self.time)

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

    def _assign_partition(self, command: AssignPartition) -> Sequence[Event] | Rejection:
        if self.partition:
            return reject(Code.WRONG_PARTITION, "this is decided in another partition", partition=0)
        taken = self.names.stories if command.kind == "story" else self.names.accounts
        return one(assign_partition(command, self.assigned, taken, self.partitions, self.placing))

    def _transfer_funds(self, command: TransferFunds) -> Sequence[Event] | Rejection:
        account = self._account(command.account_id)
        if isinstance(account, Rejection):
            return account
        held_back = self._held_back(account)
        return one(transfer_funds(account, command, self.partition, self.partitions, self.channels.sent, held_back))

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
