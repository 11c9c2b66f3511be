"""An account: its cash, the reservations of its resting orders, and its shares in every market.

Its rules are in `domain.account_rules`. Every event here that moves money balances by itself: the money leaves the account for
the market's pool, the fees account, the bonds or the outside world, or comes from there (see `domain.ledger`).
"""

from dataclasses import dataclass, field
from typing import ClassVar, Final

from domain.money import Credits, Shares
from domain.values import Value

ACCOUNTS_MAX: Final = 1_000_000
"""The most accounts of an exchange. All of them are in the memory of the engine."""

# --- commands


class OpenAccount(Value):
    """Open an account with a display name.

    `name_key` is the form by which names are compared: names with the same key are too much alike. An empty one means
    the name itself.
    """

    account_id: str
    name: str
    name_key: str = ""


class DepositCash(Value):
    """Put cash into the account from outside. The command's id is the deposit's id."""

    account_id: str
    amount: Credits


class WithdrawCash(Value):
    """Take available cash out of the account. The command's id is the withdrawal's id."""

    account_id: str
    amount: Credits


# --- events


class AccountOpened(Value):
    """An account was opened, with nothing in it. No other account has a name with this `name_key`."""

    TOPIC: ClassVar[str] = "AccountOpened.v1"

    account_id: str
    name: str
    name_key: str


class CashDeposited(Value):
    """Cash came in from outside."""

    TOPIC: ClassVar[str] = "CashDeposited.v1"

    account_id: str
    amount: Credits


class CashWithdrawn(Value):
    """Available cash went out."""

    TOPIC: ClassVar[str] = "CashWithdrawn.v1"

    account_id: str
    amount: Credits


class OrderReserved(Value):
    """An order rests: a buy moved `cash` from available to held, a sell reserved `shares`."""

    TOPIC: ClassVar[str] = "OrderReserved.v1"

    account_id: str
    market_id: str
    order_id: str
    outcome: str
    side: str
    cash: Credits
    shares: Shares


class OrderReleased(Value):
    """An order shrank or left the book: this much of what it reserved is available again."""

    TOPIC: ClassVar[str] = "OrderReleased.v1"

    account_id: str
    market_id: str
    order_id: str
    outcome: str
    cash: Credits
    shares: Shares


class TradeSettled(Value):
    """The account's part of an order's execution, all its fills in one.

    `cost` is the price of the fills, paid (a buy) or received (a sell), without the fee. `role` is taker or resting.
    `cash` and `held` are the signed changes of available and of held cash: together `-(cost + fee)` for a buy,
    `cost - fee` for a sell. A resting order's reservation changes by `held` (cash) and `held_shares`, both at most 0.
    """

    TOPIC: ClassVar[str] = "TradeSettled.v1"

    account_id: str
    market_id: str
    order_id: str
    outcome: str
    side: str
    role: str
    quantity: Shares
    cost: Credits
    fee: Credits
    cash: Credits
    held: Credits
    held_shares: Shares


class SetsSplit(Value):
    """`amount` credits became that many shares of every outcome."""

    TOPIC: ClassVar[str] = "SetsSplit.v1"

    account_id: str
    market_id: str
    outcomes: tuple[str, ...]
    amount: Shares


class SetsMerged(Value):
    """That many shares of every outcome became `amount` credits."""

    TOPIC: ClassVar[str] = "SetsMerged.v1"

    account_id: str
    market_id: str
    outcomes: tuple[str, ...]
    amount: Shares


class SharesPaid(Value):
    """The shares of one outcome that a payout took."""

    outcome: str
    quantity: Shares


class PayoutPaid(Value):
    """A finalized market took the account's shares and paid `amount` for them; it may be 0."""

    TOPIC: ClassVar[str] = "PayoutPaid.v1"

    account_id: str
    market_id: str
    shares: tuple[SharesPaid, ...]
    amount: Credits


class PayoutReversed(Value):
    """A correction undid a payout exactly: the shares are back and the amount is taken, even below zero."""

    TOPIC: ClassVar[str] = "PayoutReversed.v1"

    account_id: str
    market_id: str
    shares: tuple[SharesPaid, ...]
    amount: Credits


class PositionVoided(Value):
    """A void undid everything the account did in the market: its shares are gone, `cash` (signed) brings its cash flow to 0."""

    TOPIC: ClassVar[str] = "PositionVoided.v1"

    account_id: str
    market_id: str
    cash: Credits


class BondPosted(Value):
    """A disputer's bond left available cash."""

    TOPIC: ClassVar[str] = "BondPosted.v1"

    account_id: str
    market_id: str
    amount: Credits


class BondReturned(Value):
    """The determination was amended, or the market voided: the bond is available cash again."""

    TOPIC: ClassVar[str] = "BondReturned.v1"

    account_id: str
    market_id: str
    amount: Credits


class BondForfeited(Value):
    """The determination was upheld: the bond went to the house."""

    TOPIC: ClassVar[str] = "BondForfeited.v1"

    account_id: str
    market_id: str
    amount: Credits


AccountEvent = (
    AccountOpened
    | CashDeposited
    | CashWithdrawn
    | OrderReserved
    | OrderReleased
    | TradeSettled
    | SetsSplit
    | SetsMerged
    | PayoutPaid
    | PayoutReversed
    | PositionVoided
    | BondPosted
    | BondReturned
    | BondForfeited
)

# --- state


@dataclass(slots=True)
class Reservation:
    """What a resting order of the account reserves: cash (a buy) or shares (a sell)."""

    market_id: str
    outcome: str
    side: str
    cash: Credits
    shares: Shares


@dataclass(slots=True)
class Holding:
    """What an account has in one market.

    `shares` counts all shares, including those that resting sells reserve (`held`). `cash_flow` is the sum of all cash
    that the market ever moved into the account (negative: out of it), held cash, fees and bonds included; a void brings
    it to 0. `paid` is the payout, None before there is one.
    """

    shares: dict[str, Shares] = field(default_factory=dict)
    held: dict[str, Shares] = field(default_factory=dict)
    cash_flow: Credits = 0
    paid: Credits | None = None
    paid_shares: tuple[SharesPaid, ...] = ()
    voided: bool = False


@dataclass(slots=True)
class Account:
    """The state of an account; only `domain.account_rules` changes it."""

    account_id: str
    name: str
    name_key: str
    cash: Credits = 0
    held: Credits = 0
    holdings: dict[str, Holding] = field(default_factory=dict)
    orders: dict[str, Reservation] = field(default_factory=dict)

    @property
    def overdrawn(self) -> bool:
        """Whether its cash is below zero, after a payout was taken back: it may then only deposit, sell, merge or cancel."""
        return self.cash < 0

    def holding(self, market_id: str) -> Holding:
        """Return its holding in the market, an empty one where it never traded."""
        return self.holdings.get(market_id) or Holding()

    def available_shares(self, market_id: str, outcome: str) -> Shares:
        """Return its shares of the outcome that no resting order reserves."""
        holding = self.holdings.get(market_id)
        if holding is None:
            return 0
        return holding.shares.get(outcome, 0) - holding.held.get(outcome, 0)
