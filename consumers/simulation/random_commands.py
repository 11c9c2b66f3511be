"""Random commands for simulations and tests: most are sensible, some are not, and many try the edges.

Amounts range from a micro-unit to more than a market can take. Prices are near the AMM's and far from it. Orders of an account
meet its own orders. Time often jumps to just before, at and just after a due time.
"""

from collections.abc import Sequence
from random import Random
from typing import Final, TypeVar

from msgspec.structs import replace

from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.commands import Command
from domain.exchange import Exchange
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
from domain.market_state import Market
from domain.money import MICRO, PRICE_MAX, PRICE_MIN, PRICE_TICK, Price, Shares, Time
from domain.orders import AmendOrder, CancelOrder, CancelOrders, MergeSets, PlaceOrder, SplitSets, TimeInForce
from domain.story import PublishStory
from messages.commands import AdvanceTime, QuoteOrder, order_command_id, with_ids

SECOND: Final = 1_000_000
START: Final = 1_700_000_000 * SECOND

T = TypeVar("T")

ENDED: Final = {Status.FINALIZED, Status.VOIDED}

MORE_SUBSIDY: Final = (1, MICRO, 30 * MICRO, 10_000 * MICRO)
"""The amounts of liquidity that are added: the largest is many times what most markets have."""


class RandomCommands:
    """A source of commands that looks at the exchange to choose interesting ones; the same seed chooses the same commands."""

    def __init__(
        self,
        random: Random,
        *,
        accounts: int = 12,
        markets: int = 6,
        outcomes: Sequence[int] = (2, 2, 3, 3, 4, 8, 64),
        lifecycle: float = 0.02,
    ) -> None:
        self.random = random
        self.accounts, self.markets, self.outcomes, self.lifecycle = accounts, markets, outcomes, lifecycle
        self.time = START
        self.number = 0

    def next_command(self, exchange: Exchange) -> tuple[Time, str, Command]:
        """Return the next command with its time and its id."""
        self.number += 1
        self.time = self._later(exchange)
        command = self._choose(exchange)
        if isinstance(command, PlaceOrder):
            command_id = order_command_id(command.account_id, command.client_order_id)
        else:
            command_id = f"c{self.number}"
        named = with_ids(command_id, command)
        assert not isinstance(named, AdvanceTime | QuoteOrder), "only the exchange's own commands are made here"
        return self.time, command_id, named

    # --- when

    def _later(self, exchange: Exchange) -> Time:
        random, due = self.random, exchange.next_due()
        now = max(self.time, exchange.time)
        if due is not None and random.random() < 0.02:
            return max(now, due + random.choice([-1, 0, 1]))
        return now + random.choice([0, 1, random.randrange(SECOND), random.randrange(5 * SECOND)])

    # --- what

    def _choose(self, exchange: Exchange) -> Command:
        random = self.random
        live = [market for market in exchange.markets.values() if market.status not in ENDED]
        if len(exchange.accounts) < self.accounts:
            return OpenAccount("", f"account {self.number}")
        active = [market for market in live if market.status is Status.ACTIVE]
        if len(active) < self.markets and len(live) < 2 * self.markets:
            return self._publish()
        account_id = random.choice(list(exchange.accounts))
        if random.random() < 0.005:
            account_id = "ac_nobody"
        market = random.choice(active if active and random.random() < 0.95 else live)
        chance = random.random()
        waiting = [other for other in live if other.status is not Status.ACTIVE]
        if len(waiting) > 2 and random.random() < 0.2:
            return self._lifecycle(random.choice(waiting), account_id)
        if chance < self.lifecycle:
            return self._lifecycle(
                random.choice([market, *waiting[:1], *list(exchange.markets.values())[-20:]]), account_id
            )
        if chance < 0.75:
            return self._order(exchange, market, account_id)
        return (
            self._cancellation(exchange, market, account_id)
            if chance < 0.87
            else self._cash(exchange, market, account_id)
        )

    def _cancellation(self, exchange: Exchange, market: Market, account_id: str) -> Command:
        random, account = self.random, exchange.accounts.get(account_id)
        orders = list(account.orders) if account else []
        order_id = random.choice(orders) if orders and random.random() < 0.97 else self._any_order(exchange)
        chance = random.random()
        if chance < 0.1:
            return CancelOrders(account_id, random.choice([None, market.market_id]))
        if chance < 0.4:
            return CancelOrder(account_id, order_id)
        price = random.choice([None, self._price(market, random.randrange(len(market.terms.outcomes)))])
        return AmendOrder(account_id, order_id, price, random.choice([None, self._amount(market)]))

    def _cash(self, exchange: Exchange, market: Market, account_id: str) -> Command:
        random, account = self.random, exchange.accounts.get(account_id)
        if account is not None and account.cash < 20 * MICRO:
            return DepositCash(account_id, random.choice([MICRO, 500 * MICRO, 5_000 * MICRO]))
        available = max(account.cash, 1) if account else 1
        commands: list[Command] = [
            SplitSets(account_id, market.market_id, self._amount(market)),
            MergeSets(account_id, market.market_id, self._amount(market)),
            DepositCash(account_id, self._amount(market)),
            WithdrawCash(account_id, random.choice([available, available + 1, random.randint(1, available)])),
        ]
        return random.choice(commands)

    def _publish(self) -> PublishStory:
        random = self.random
        openings = []
        for number in range(random.choice([1, 1, 2])):
            count = random.choice(self.outcomes)
            names = ("Yes", "No") if count == 2 else tuple(f"o{i}" for i in range(count))
            openings.append(
                OpenMarket(
                    market_id="",
                    story_id="",
                    slug=None if self.number % 3 == 0 else f"market-{self.number}-{number}",
                    question="What will happen?",
                    outcomes=names,
                    subsidy=random.choice([MICRO, 20 * MICRO, 100 * MICRO, 1_000 * MICRO]),
                    close_time=self.time + random.choice([60, 600, 6_000, 600_000]) * SECOND,
                    resolution_source="the evening paper",
                    initial_prices=self._opening(count),
                    fee_rate=random.choice([0, 0, 20_000, 70_000, MICRO]),
                    dispute_seconds=random.choice([0, 1, 60, 600]),
                    dispute_bond=random.choice([MICRO, 5 * MICRO]),
                    draft=random.random() < 0.1,
                )
            )
        name = f"story-{self.number}"
        slug = None if self.number % 2 == 0 else name
        return PublishStory("", slug, "What happened", "...", "world", self.time, None, tuple(openings))

    def _opening(self, count: int) -> tuple[Price, ...]:
        random = self.random
        if random.random() < 0.5:
            return ()
        parts = [random.random() ** 3 + 1e-9 for _ in range(count)]
        free = MICRO - count * PRICE_TICK
        prices = [PRICE_TICK + int(free * part / sum(parts)) for part in parts]
        prices[0] += MICRO - sum(prices)
        return tuple(prices)

    def _lifecycle(self, market: Market, account_id: str) -> Command:
        random, market_id = self.random, market.market_id
        names = market.terms.outcomes
        halves = (Payout(names[0], MICRO // 2), Payout(names[-1], MICRO // 2))
        payouts = random.choice([(Payout(random.choice(names), MICRO),), halves, (Payout(names[0], 1),)])
        evidence = Evidence("It says so.")
        usual: dict[Status, list[Command]] = {
            Status.DRAFT: [ActivateMarket(market_id), ClarifyMarket(market_id, "another paper")],
            Status.ACTIVE: [
                HaltMarket(market_id),
                AddLiquidity(market_id, random.choice(MORE_SUBSIDY)),
                ClarifyMarket(market_id, "another paper"),
                CloseMarket(market_id),
            ],
            Status.HALTED: [
                ResumeMarket(market_id),
                ResumeMarket(market_id),
                AddLiquidity(market_id, random.choice(MORE_SUBSIDY)),
            ],
            Status.CLOSED: [DetermineMarket(market_id, payouts, evidence)],
            Status.DETERMINED: [DisputeMarket(market_id, account_id, "No."), FinalizeMarket(market_id)],
            Status.DISPUTED: [UpholdMarket(market_id), DetermineMarket(market_id, payouts, evidence)],
            Status.FINALIZED: [CorrectMarket(market_id, payouts, evidence)],
            Status.VOIDED: [VoidMarket(market_id, "again")],
        }
        if random.random() < 0.04:
            return VoidMarket(market_id, "a wrong question")
        status = market.status if random.random() < 0.9 else random.choice(list(Status))
        return random.choice(usual[status])

    def _order(self, exchange: Exchange, market: Market, account_id: str) -> PlaceOrder:
        random = self.random
        names = market.terms.outcomes
        outcome = random.randrange(len(names))
        account = exchange.accounts.get(account_id)
        shares = account.available_shares(market.market_id, names[outcome]) if account else 0
        side = "sell" if random.random() < (0.6 if shares else 0.03) else "buy"
        quantity = self._amount(market)
        if side == "sell" and shares and random.random() < 0.8:
            quantity = random.choice([shares, shares + 1, random.randint(1, shares)])
        name = f"n{self.number}"
        order = PlaceOrder(
            account_id,
            market.market_id,
            "",
            name,
            names[outcome] if random.random() < 0.998 else "nothing",
            "sell" if side == "sell" else "buy",
            "market",
            quantity=quantity,
            self_trade_prevention=random.choice(["cancel_taker", "cancel_maker"]),
            time_in_force=random.choice([None, "IOC", "FOK"]),
            reduce_only=side == "sell" and random.random() < 0.3,
        )
        if random.random() < 0.7:
            tif: TimeInForce | None = random.choice([None, "GTC", "GTC", "GTD", "GTD", "IOC", "FOK"])
            expires_at = self.time + random.choice([0, 1, 5, 50, 500, 5_000]) * SECOND if tif == "GTD" else None
            post_only = tif in {"GTC", "GTD", None} and random.random() < 0.2
            order = replace(order, type="limit", limit_price=self._price(market, outcome), time_in_force=tif)
            order = replace(order, expires_at=expires_at, post_only=post_only)
        elif side == "buy" and random.random() < 0.6:
            order = replace(order, quantity=None, spend=self._amount(market))
        if random.random() < 0.1:
            guard = self._amount(market)
            order = replace(order, max_cost=guard) if side == "buy" else replace(order, min_proceeds=guard)
        return order

    def _any_order(self, exchange: Exchange) -> str:
        """Return the id of an open order of any account, or of none."""
        orders = [order_id for market in exchange.markets.values() for order_id in market.book.orders]
        return self.random.choice([*orders[-20:], "or_nothing"])

    def _price(self, market: Market, outcome: int) -> Price:
        """Return a price: near the AMM's, at an order's, or anywhere; rarely one that is off the tick."""
        random = self.random
        chance = random.random()
        price = round(market.prices[outcome] * MICRO) if market.prices else MICRO // 2
        if chance < 0.6:
            price += round(random.gauss(0, 0.04) * MICRO)
        elif chance < 0.75 and market.book.orders:
            price = random.choice(list(market.book.orders.values())).price
            price = random.choice([price, MICRO - price])
        else:
            price = random.randint(PRICE_MIN, PRICE_MAX)
        tick = PRICE_TICK if random.random() < 0.4 else 20 * PRICE_TICK  # round prices match each other more often
        price = price // tick * tick
        return min(max(price, PRICE_MIN), PRICE_MAX) if random.random() < 0.995 else price + 500

    def _amount(self, market: Market) -> Shares:
        """Return an amount: tiny, usual for the size of the market, or huge."""
        random = self.random
        chance = random.random()
        usual = max(market.terms.subsidy, 2)
        if chance < 0.15:
            return random.randint(1, 40_000)  # the smallest order has 10,000
        if chance < 0.97:
            return 1 + int(usual * random.random() ** 3)
        return random.choice([usual * 20, 10**15, random.randint(1, 10**12)])
