"""A seeded market day: random commands through the real exchange, as the log would hold their events.

With enough commands every event type occurs: limit orders that rest, meet and are swept, amendments, expiries, splits,
disputes, corrections after payouts, voids.
"""

import random
from collections.abc import Iterator
from hashlib import sha256

from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.commands import Command
from domain.events import Recorded
from domain.exchange import Entry, Exchange
from domain.invitations import AcceptInvitation, CreateInvitation, RevokeInvitation
from domain.market import (
    ActivateMarket,
    AddLiquidity,
    ClarifyMarket,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    Evidence,
    FinalizeMarket,
    HaltMarket,
    OpenMarket,
    Payout,
    ResumeMarket,
    Status,
    UpholdMarket,
    VoidMarket,
)
from domain.money import MICRO
from domain.orders import AmendOrder, CancelOrder, CancelOrders, MergeSets, PlaceOrder, SplitSets
from domain.partition import SnapshotWritten
from domain.story import PublishStory

START = 1_729_764_120_000_000
"""2024-10-24T10:02:00Z."""

HOUR = 3_600_000_000


class Simulation:
    """Makes a log; `random` decides everything, so that a seed is a log."""

    def __init__(self, seed: int, accounts: int = 6, pace: int = 2 * HOUR) -> None:
        self.random = random.Random(seed)  # noqa: S311  repeatable
        self.exchange = Exchange()
        self.time = START
        self.pace = pace
        self.log: list[Recorded] = []
        self.number = 0
        self.accounts = [f"a{i}" for i in range(accounts)]
        self.markets: list[str] = []
        for account in self.accounts:
            self.send(OpenAccount(account, f"trader {account}"))
            self.send(DepositCash(account, 500 * MICRO))
        for number in range(2):
            self._publish(number)

    def run(self, commands: int) -> list[Recorded]:
        """Send so many commands more, and return the whole log."""
        for _ in range(commands):
            self.time += self.random.choice([0, 1, 1_000_000, self.random.randrange(self.pace)])
            self.send(self._command())
        return self.log

    def send(self, command: Command) -> None:
        """Handle a command as the engine does: what is due first, then the command, then what it has begun."""
        self.number += 1
        command_id = f"c{self.number}"
        self._steps()
        self._record(command_id, self.exchange.handle(command, self.time, command_id))
        self._steps()
        self._record("", [self.exchange.commands_read("test", self.number + 1)])

    def note(self, event: SnapshotWritten) -> None:
        """Record an event of the engine itself."""
        self._record("", [self.exchange.emit_partition_event(event, self.time, "")])

    def _steps(self) -> None:
        while (step := self.exchange.step(self.time)) is not None:
            self._record(*step)

    def _record(self, command_id: str, entries: list[Entry]) -> None:
        for entry in entries:
            position = len(self.log) + 1
            self.log.append(Recorded(position, entry.stream, entry.version, self.time, command_id, entry.event))

    def odd_market(self, number: int, question: str) -> OpenMarket:
        """Return the command for a market with this question and the slug `odd-<number>`."""
        self.markets.append(f"odd{number}")
        close_time = self.time + HOUR
        return OpenMarket(f"odd{number}", "s0", f"odd-{number}", question, ("Yes", "No"), MICRO, close_time, "AP")

    # --- what happens

    def _publish(self, number: int) -> None:
        self.send(
            PublishStory(
                f"s{number}", f"story-{number}", f"Story {number}", "Body\twith\ttabs", f"category{number % 2}",
                START - 60_000_000, None,
                (self._market(number, ("Yes", "No")), self._market(number, ("Red", "Green", "Blue"))),
            )
        )  # fmt: skip

    def _market(self, number: int, outcomes: tuple[str, ...], *, draft: bool = False) -> OpenMarket:
        market_id = f"m{len(self.markets)}"
        self.markets.append(market_id)
        return OpenMarket(
            market_id, f"s{number}", f"slug-{market_id}", "What will happen?", outcomes,
            self.random.choice([20, 100]) * MICRO, self.time + self.random.randrange(20, 400) * HOUR, "Reuters",
            fee_rate=self.random.choice([0, 20_000]),
            dispute_seconds=self.random.choice([0, 0, 100 * 3600, 400 * 3600]), draft=draft,
        )  # fmt: skip

    def _command(self) -> Command:
        pick = self.random.random()
        market = self.exchange.markets[self.random.choice(self.markets)]
        account = self.random.choice(self.accounts)
        if pick < 0.62:
            return self._order(account, self._active() or market.market_id)
        if pick < 0.74:
            return self._change(account)
        if pick < 0.80:
            amount = self.random.randrange(1, 20 * MICRO)
            active = self._active() or market.market_id
            return self.random.choice([SplitSets, MergeSets])(account, active, amount)
        if pick < 0.84:
            amount = self.random.randrange(1, 200 * MICRO)
            return self.random.choice([DepositCash, WithdrawCash])(account, amount)
        if pick < 0.87 and len(self.markets) < 40:
            return self._market(self.random.randrange(2), ("Yes", "No"), draft=self.random.random() < 0.3)
        return self._act(market.market_id, account)

    def _active(self) -> str | None:
        active = [name for name in self.markets if self.exchange.markets[name].status is Status.ACTIVE]
        return self.random.choice(active) if active else None

    def _order(self, account: str, market_id: str) -> PlaceOrder:
        outcome = self.random.choice(self.exchange.markets[market_id].terms.outcomes)
        held = self.exchange.accounts[account].available_shares(market_id, outcome)
        side = "sell" if held and self.random.random() < 0.45 else "buy"
        quantity = self.random.randrange(1, 30 * MICRO) if side == "buy" else self.random.choice([held, held // 2 + 1])
        order_id = f"o{self.number}"
        if self.random.random() < 0.5:
            spend = self.random.randrange(1, 15 * MICRO) if side == "buy" and self.random.random() < 0.5 else None
            return PlaceOrder(
                account, market_id, order_id, f"k{self.number}", outcome, side, "market",
                quantity=None if spend else quantity, spend=spend,
            )  # fmt: skip
        tif = self.random.choice(["GTC", "GTC", "GTC", "GTD", "IOC", "FOK"])
        return PlaceOrder(
            account, market_id, order_id, f"k{self.number}", outcome, side, "limit", quantity=quantity,
            limit_price=self.random.randrange(50, 950) * 1000, time_in_force=tif,
            expires_at=self.time + self.random.randrange(1, 50) * HOUR if tif == "GTD" else None,
            self_trade_prevention=self.random.choice(["cancel_taker", "cancel_maker"]),
        )  # fmt: skip

    def _change(self, account: str) -> Command:
        orders = list(self.exchange.accounts[account].orders)
        if not orders or self.random.random() < 0.05:
            return CancelOrders(account)
        order_id = self.random.choice(orders)
        kind = self.random.random()
        if kind < 0.4:
            return CancelOrder(account, order_id)
        resting = self.exchange.markets[self.exchange.accounts[account].orders[order_id].market_id].book.orders[
            order_id
        ]
        if kind < 0.7:
            return AmendOrder(account, order_id, quantity=max(1, resting.quantity - resting.remaining // 2))
        return AmendOrder(account, order_id, self.random.randrange(50, 950) * 1000, resting.quantity + MICRO)

    def _act(self, market_id: str, account: str) -> Command:
        market = self.exchange.markets[market_id]
        options: dict[Status, list[Command]] = {
            Status.DRAFT: [ActivateMarket(market_id)],
            Status.ACTIVE: [
                HaltMarket(market_id),
                ClarifyMarket(market_id, f"Reuters, AP; {self.number}"),
                AddLiquidity(market_id, 10 * MICRO),
                CloseMarket(market_id) if self.random.random() < 0.3 else ClarifyMarket(market_id, "AFP"),
                VoidMarket(market_id, "unclear") if self.random.random() < 0.1 else AddLiquidity(market_id, MICRO),
            ],
            Status.HALTED: [ResumeMarket(market_id)],
            Status.CLOSED: [
                DetermineMarket(market_id, self._payouts(market_id), Evidence("seen", "https://example.org"))
            ],
            Status.DETERMINED: [
                DisputeMarket(market_id, account, "no"),
                FinalizeMarket(market_id),
                FinalizeMarket(market_id),
                VoidMarket(market_id, "unclear") if self.random.random() < 0.3 else FinalizeMarket(market_id),
            ],
            Status.DISPUTED: [
                UpholdMarket(market_id),
                DetermineMarket(market_id, self._payouts(market_id), Evidence("seen again")),
                VoidMarket(market_id, "disputed"),
            ],
            Status.FINALIZED: [
                CorrectMarket(market_id, self._payouts(market_id), Evidence("was wrong")),
                ActivateMarket(market_id),
            ],
            Status.VOIDED: [CloseMarket(market_id)],
        }
        return self.random.choice(options[market.status])

    def _payouts(self, market_id: str) -> tuple[Payout, ...]:
        outcomes = self.exchange.markets[market_id].terms.outcomes
        if self.random.random() < 0.6:
            return (Payout(self.random.choice(outcomes), MICRO),)
        part = self.random.randrange(MICRO)
        return (Payout(outcomes[0], part), Payout(outcomes[1], MICRO - part))


def simulate(seed: int, commands: int) -> list[Recorded]:
    """Return the log that a seed makes. Two invitations are at its end: one is revoked, one used up. A snapshot is last."""
    simulation = Simulation(seed)
    simulation.run(commands)
    for name, uses in (("first", 3), ("second", 1)):
        secret_hash = sha256(name.encode()).hexdigest()
        simulation.send(CreateInvitation(name, secret_hash, uses, simulation.time + HOUR, MICRO))
        for guest in (f"{name} guest", f"{name} other guest"):
            key_hash = sha256(guest.encode()).hexdigest()
            simulation.send(AcceptInvitation(secret_hash, f"ac {guest}", guest, f"key {guest}", key_hash))
    simulation.send(RevokeInvitation("first"))
    simulation.note(SnapshotWritten(len(simulation.log), sha256(b"snapshot").hexdigest()))
    return simulation.log


def batches(log: list[Recorded], size: int) -> Iterator[list[Recorded]]:
    """Cut a log into batches."""
    for start in range(0, len(log), size):
        yield log[start : start + size]
