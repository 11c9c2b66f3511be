"""The rules of an account: what it may spend, and how its events change it."""

from collections.abc import Collection, Mapping
from typing import assert_never

from domain.account import (
    ACCOUNTS_MAX,
    Account,
    AccountEvent,
    AccountOpened,
    BondForfeited,
    BondPosted,
    BondReturned,
    CashDeposited,
    CashWithdrawn,
    DepositCash,
    Holding,
    OpenAccount,
    OrderReleased,
    OrderReserved,
    PayoutPaid,
    PayoutReversed,
    PositionVoided,
    Reservation,
    SetsMerged,
    SetsSplit,
    TradeSettled,
    WithdrawCash,
)
from domain.money import Credits, Shares
from domain.rejections import Code, Rejection, reject

# --- decide


def open_account(
    command: OpenAccount, accounts: Collection[str], names: Mapping[str, str]
) -> AccountOpened | Rejection:
    """Return the opening, or why it is refused.

    `accounts` are the ids that exist, `names` has the id of each account by the key of its name.
    """
    if command.account_id in accounts:
        return reject(Code.ACCOUNT_EXISTS, "an account with this id already exists", account=command.account_id)
    if len(accounts) >= ACCOUNTS_MAX:
        return reject(Code.TOO_MANY_ACCOUNTS, "the exchange has the maximum number of accounts", maximum=ACCOUNTS_MAX)
    key = command.name_key or command.name
    if key in names:
        return reject(
            Code.ACCOUNT_EXISTS,
            "another account has this name, or one that looks like it",
            name=command.name,
            account=names[key],
        )
    return AccountOpened(command.account_id, command.name, key)


def deposit_cash(command: DepositCash) -> CashDeposited:
    """Return the deposit; an overdrawn account may deposit too."""
    return CashDeposited(command.account_id, command.amount)


def withdraw_cash(account: Account, command: WithdrawCash, held_back: Credits) -> CashWithdrawn | Rejection:
    """Return the withdrawal, or why it is refused: no more than the available cash without what is held back of it."""
    if refusal := cannot_spend(account, command.amount):
        return refusal
    withdrawable = max(account.cash - held_back, 0)
    if command.amount > withdrawable:
        return reject(
            Code.WITHDRAWAL_HELD,
            "gains that could still be taken back cannot be withdrawn yet; they can be traded",
            required=command.amount,
            withdrawable=withdrawable,
            available=account.cash,
        )
    return CashWithdrawn(command.account_id, command.amount)


def cannot_spend(account: Account, amount: Credits) -> Rejection | None:
    """Return why the account cannot spend this amount now, or None if it can."""
    if account.overdrawn:
        return reject(
            Code.ACCOUNT_OVERDRAWN,
            "the account is below zero: it may only deposit, sell, merge or cancel",
            available=account.cash,
        )
    if amount > account.cash:
        return reject(
            Code.INSUFFICIENT_FUNDS, "this needs more cash than is available", required=amount, available=account.cash
        )
    return None


# --- evolve


def evolve_account(account: Account | None, event: AccountEvent) -> Account:  # noqa: C901, PLR0912, PLR0915  one case an event
    """Return the account after the event: the same object, changed."""
    if isinstance(event, AccountOpened):
        assert account is None, "an account is opened once"
        return Account(event.account_id, event.name, event.name_key)
    assert account is not None, "an account is opened first"
    match event:
        case TradeSettled():
            _settle_trade(account, event)
        case CashDeposited():
            account.cash += event.amount
        case CashWithdrawn():
            account.cash -= event.amount
        case OrderReserved():
            account.cash -= event.cash
            account.held += event.cash
            if event.shares:
                held = _holding(account, event.market_id).held
                held[event.outcome] = held.get(event.outcome, 0) + event.shares
            account.orders[event.order_id] = Reservation(
                event.market_id, event.outcome, event.side, event.cash, event.shares
            )
        case OrderReleased():
            account.cash += event.cash
            account.held -= event.cash
            if event.shares:
                _holding(account, event.market_id).held[event.outcome] -= event.shares
            _reduce_reservation(account, event.order_id, event.cash, event.shares)
        case SetsSplit():
            _move_cash(account, event.market_id, -event.amount)
            _add_shares(account, event.market_id, event.outcomes, event.amount)
        case SetsMerged():
            _move_cash(account, event.market_id, event.amount)
            _add_shares(account, event.market_id, event.outcomes, -event.amount)
        case PayoutPaid():
            _move_cash(account, event.market_id, event.amount)
            holding = account.holdings[event.market_id]
            holding.shares.clear()
            holding.paid, holding.paid_shares = event.amount, event.shares
        case PayoutReversed():
            _move_cash(account, event.market_id, -event.amount)
            holding = account.holdings[event.market_id]
            holding.shares.update({paid.outcome: paid.quantity for paid in event.shares})
            holding.paid, holding.paid_shares = None, ()
        case PositionVoided():
            _move_cash(account, event.market_id, event.cash)
            holding = account.holdings[event.market_id]
            holding.shares.clear()
            holding.voided = True
        case BondPosted():
            _move_cash(account, event.market_id, -event.amount)
        case BondReturned():
            _move_cash(account, event.market_id, event.amount)
        case BondForfeited():
            pass  # the cash left the account when the bond was posted
        case _:
            assert_never(event)
    return account


def _holding(account: Account, market_id: str) -> Holding:
    holding = account.holdings.get(market_id)
    if holding is None:
        holding = account.holdings[market_id] = Holding()
    return holding


def _move_cash(account: Account, market_id: str, amount: Credits) -> None:
    account.cash += amount
    _holding(account, market_id).cash_flow += amount


def _add_shares(account: Account, market_id: str, outcomes: tuple[str, ...], amount: Shares) -> None:
    shares = _holding(account, market_id).shares
    for outcome in outcomes:
        shares[outcome] = shares.get(outcome, 0) + amount


def _settle_trade(account: Account, event: TradeSettled) -> None:
    holding = _holding(account, event.market_id)
    account.cash += event.cash
    account.held += event.held
    holding.cash_flow += event.cash + event.held
    change = event.quantity if event.side == "buy" else -event.quantity
    holding.shares[event.outcome] = holding.shares.get(event.outcome, 0) + change
    if event.role == "resting":
        if event.held_shares:
            holding.held[event.outcome] += event.held_shares
        _reduce_reservation(account, event.order_id, -event.held, -event.held_shares)


def _reduce_reservation(account: Account, order_id: str, cash: Credits, shares: Shares) -> None:
    reservation = account.orders[order_id]
    reservation.cash -= cash
    reservation.shares -= shares
    if not (reservation.cash or reservation.shares):
        del account.orders[order_id]
