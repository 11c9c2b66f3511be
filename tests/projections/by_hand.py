"""A log that a test writes by hand, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.account import AccountOpened, CashDeposited, PayoutPaid, PayoutReversed, SharesPaid, TradeSettled
from domain.events import Event, Recorded
from domain.market import (
    Evidence,
    MarketActivated,
    MarketClosed,
    MarketCorrected,
    MarketDrafted,
    MarketFinalized,
    MarketReversed,
    MarketSettled,
    Payout,
)
from domain.money import MICRO
from domain.orders import Execution, Fill, OrderPlaced
from domain.story import StoryPublished
from projections.times import DAY

if TYPE_CHECKING:
    from domain.book import Side
    from tests.projections.folding import Copy, ReadModels

MONDAY = 1_729_468_800_000_000
"""2024-10-21T00:00:00Z, a Monday."""


class Story:
    """Writes a log by hand: one story, one market of two outcomes, and accounts that trade at prices of the test's choice."""

    def __init__(self, *accounts: str) -> None:
        self.log: list[Recorded] = []
        self.time = MONDAY + 1
        self.add("story-s", StoryPublished("s", "s", "S", "B", "world", MONDAY, None))
        self.add(
            "market-m",
            MarketDrafted("m", "s", "m", "?", ("Yes", "No"), (500_000, 500_000), 10, 0, MONDAY + 60 * DAY, "R", 0, 1),
        )
        self.add("market-m", MarketActivated("m", 10, 10, (500_000, 500_000)))
        for account in accounts:
            self.add(f"account-{account}", AccountOpened(account, account, account))
            self.add(f"account-{account}", CashDeposited(account, 1000 * MICRO))

    def add(self, stream: str, event: Event) -> None:
        """Record an event now."""
        self.log.append(Recorded(len(self.log) + 1, stream, 1, self.time, "c", event))

    def trade(self, account: str, side: Side, shares: int, cost: int, price: int, *, fee: int = 0) -> None:
        """Let an account trade Yes with the AMM; `price` is the price of Yes afterwards."""
        cash = -cost - fee if side == "buy" else cost - fee
        settled = TradeSettled(account, "m", f"o{len(self.log)}", "Yes", side, "taker", shares, cost, fee, cash, 0, 0)
        fill = Fill(cost * MICRO // shares, shares, cost, "amm")
        signed = shares if side == "buy" else -shares
        execution = Execution(
            "filled", shares, 0, cost, fee, (fill,), signed, 0, (price, MICRO - price), resting=False
        )  # fmt: skip
        placed = OrderPlaced(
            "m", account, f"o{len(self.log)}", "k", "Yes", side, "market", shares, None, None, "IOC", None,
            post_only=False, reduce_only=False, resolution_version=1, execution=execution,
        )  # fmt: skip
        self.add(f"account-{account}", settled)
        self.add("market-m", placed)

    def finalize(self, fraction: int, **shares: int) -> None:
        """Finalize the market and pay `fraction` for each of the shares of Yes that accounts hold."""
        payouts = (Payout("Yes", fraction), Payout("No", MICRO - fraction))
        self.add("market-m", MarketClosed("m", "operator", (500_000, 500_000)))
        self.add("market-m", MarketFinalized("m", payouts))
        self.pay(fraction, **shares)

    def pay(self, fraction: int, **shares: int) -> None:
        """Pay these holders."""
        for account, held in shares.items():
            paid = PayoutPaid(account, "m", (SharesPaid("Yes", held),), held * fraction // MICRO)
            self.add(f"account-{account}", paid)
        self.add("market-m", MarketSettled("m", 0))

    def correct(self, before: int, fraction: int, **shares: int) -> None:
        """Take back what was paid and pay another fraction."""
        payouts = (Payout("Yes", fraction), Payout("No", MICRO - fraction))
        self.add("market-m", MarketCorrected("m", payouts, Evidence("was wrong"), 0))
        for account, held in shares.items():
            taken = PayoutReversed(account, "m", (SharesPaid("Yes", held),), held * before // MICRO)
            self.add(f"account-{account}", taken)
        self.add("market-m", MarketReversed("m"))
        self.pay(fraction, **shares)


def folded(read_models: ReadModels, story: Story) -> Copy:
    """Return all read models, folded from the log."""
    return read_models.copy().fold(story.log, 5000)
