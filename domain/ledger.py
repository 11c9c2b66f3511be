"""Double entry: every event that moves money, as postings that sum to zero.

The ledger accounts are `cash:<account>` and `held:<account>` of each account, `pool:<market>` of each market, and four of the
operator: `house` (its own book, the only one that may stay below zero), `fees`, `bonds` (of open disputes) and `external` (the
outside world: minus all deposits, plus all withdrawals). With several partitions there is also `transit:<partition>` for each
other one: what was sent there less what came from there.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from domain.account import (
    BondForfeited,
    BondPosted,
    BondReturned,
    CashDeposited,
    CashWithdrawn,
    OrderReleased,
    OrderReserved,
    PayoutPaid,
    PayoutReversed,
    PositionVoided,
    SetsMerged,
    SetsSplit,
    TradeSettled,
)
from domain.events import Event
from domain.market import (
    LiquidityAdded,
    MarketActivated,
    MarketCorrected,
    MarketSettled,
    MarketUnwound,
    MarketVoided,
)
from domain.money import Credits
from domain.transfers import FundsReceived, FundsSent

HOUSE: Final = "house"
FEES: Final = "fees"
BONDS: Final = "bonds"
EXTERNAL: Final = "external"
TRANSIT: Final = "transit"

Posting = tuple[str, Credits]


def postings(event: Event) -> tuple[Posting, ...]:  # noqa: C901, PLR0912  one case an event
    """Return the event's postings (ledger account, signed micro-credits), which sum to zero; none if no money moved."""
    match event:
        case TradeSettled(account_id=a, market_id=m, cash=cash, held=held, fee=fee):
            lines = [(f"cash:{a}", cash), (f"pool:{m}", -(cash + held + fee))]
            if held:
                lines.append((f"held:{a}", held))
            if fee:
                lines.append((FEES, fee))
            return tuple(lines)
        case CashDeposited(account_id=a, amount=amount):
            return ((EXTERNAL, -amount), (f"cash:{a}", amount))
        case CashWithdrawn(account_id=a, amount=amount):
            return ((f"cash:{a}", -amount), (EXTERNAL, amount))
        case OrderReserved(account_id=a, cash=cash):
            return _move(f"cash:{a}", f"held:{a}", cash)
        case OrderReleased(account_id=a, cash=cash):
            return _move(f"held:{a}", f"cash:{a}", cash)
        case SetsSplit(account_id=a, market_id=m, amount=amount):
            return _move(f"cash:{a}", f"pool:{m}", amount)
        case (
            SetsMerged(account_id=a, market_id=m, amount=amount) | PayoutPaid(account_id=a, market_id=m, amount=amount)
        ):
            return _move(f"pool:{m}", f"cash:{a}", amount)
        case PayoutReversed(account_id=a, market_id=m, amount=amount):
            return _move(f"cash:{a}", f"pool:{m}", amount)
        case PositionVoided(account_id=a, market_id=m, cash=cash):
            return _move(f"pool:{m}", f"cash:{a}", cash)
        case BondPosted(account_id=a, amount=amount):
            return _move(f"cash:{a}", BONDS, amount)
        case BondReturned(account_id=a, amount=amount):
            return _move(BONDS, f"cash:{a}", amount)
        case BondForfeited(amount=amount):
            return _move(BONDS, HOUSE, amount)
        case MarketActivated(market_id=m, subsidy=amount) | LiquidityAdded(market_id=m, amount=amount):
            return _move(HOUSE, f"pool:{m}", amount)
        case MarketSettled(market_id=m, residual=amount) | MarketUnwound(market_id=m, residual=amount):
            return _move(f"pool:{m}", HOUSE, amount)
        case MarketCorrected(market_id=m, residual=amount):
            return _move(HOUSE, f"pool:{m}", amount)
        case MarketVoided(market_id=m, fees=fees, forfeited=forfeited):
            return (*_move(FEES, f"pool:{m}", fees), *_move(HOUSE, f"pool:{m}", forfeited))
        case FundsSent(account_id=a, to_partition=p, amount=amount):
            return _move(f"cash:{a}", f"{TRANSIT}:{p}", amount)
        case FundsReceived(account_id=a, from_partition=p, amount=amount):
            return _move(f"{TRANSIT}:{p}", f"cash:{a}", amount)
        case _:
            return ()


def _move(source: str, target: str, amount: Credits) -> tuple[Posting, ...]:
    return ((source, -amount), (target, amount)) if amount else ()


@dataclass(slots=True)
class Ledger:
    """The balance of every ledger account, in micro-credits."""

    balances: defaultdict[str, Credits] = field(default_factory=lambda: defaultdict(int))

    def post(self, event: Event) -> None:
        """Apply the event's postings."""
        balances = self.balances
        for name, amount in postings(event):
            balances[name] += amount

    def pool(self, market_id: str) -> Credits:
        """Return the balance of the market's pool."""
        return self.balances.get(f"pool:{market_id}", 0)

    def total(self) -> Credits:
        """Return the sum over all ledger accounts: 0 at every position."""
        return sum(self.balances.values())
