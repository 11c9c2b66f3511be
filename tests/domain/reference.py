"""The rules a second time, written only for clarity: lists of orders, fractions, linear scans.

It uses nothing of the domain's code for matching, sweeping, decisions, book, accounts, ledger or settlement. Shared are the
commands, the codes of refusals, and the AMM's float formulas with their rounding to micro-units (`domain.lmsr`). A second version
of the formulas would sometimes differ in the last bit of a float, and then the two would differ by a micro-credit without either
being wrong. The formulas have tests of their own, against published numbers.

An account is one number, all its money. Its available cash is that minus the reservations of its resting orders, computed from
the orders each time. So no cash has to be moved when an order shrinks, is filled or leaves the book.
"""

# ruff: noqa: N802, C901, PLR0912, PLR0915  methods have the names of the commands; one long text is easier to compare with the rules

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, fsum, gcd
from typing import Any

from domain import lmsr
from domain import market as m
from domain import orders as o
from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.money import AMOUNT_MAX, MICRO
from domain.rejections import Code
from domain.story import PublishStory
from domain.sweeping import ABREAST, DUST, FINEST, NEGLIGIBLE, REACH

SMALLEST = 10_000
"""0.01 share, or 0.01 credit."""


class RefusedError(Exception):
    """The command is refused. Nothing has changed."""

    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class ReferenceOrder:
    """A resting order; older ones stand earlier in their market's list."""

    id: str
    account: str
    outcome: int
    side: str
    price: int
    remaining: int
    filled: int
    expires_at: int | None
    post_only: bool

    @property
    def buys(self) -> bool:
        """Whether it is a bid."""
        return self.side == "buy"


@dataclass
class ReferenceMarket:
    """A market, and the shares and money that accounts have or had in it."""

    terms: Any
    status: str
    b: int = 0
    weights: tuple[int, ...] = ()
    sold: list[int] = field(default_factory=list)
    subsidy: int = 0
    orders: list[ReferenceOrder] = field(default_factory=list)
    shares: dict[tuple[str, int], int] = field(default_factory=dict)
    flow: dict[str, int] = field(default_factory=dict)  # what the market ever paid to an account, minus what it took
    pool: int = 0
    fees: int = 0
    payouts: dict[str, int] = field(default_factory=dict)
    paid: dict[str, tuple[int, dict[tuple[str, int], int]]] = field(default_factory=dict)
    residual: int = 0
    dispute_until: int = 0
    bond: tuple[str, int] | None = None
    forfeited: int = 0
    disputes: int = 0
    version: int = 1

    @property
    def prices(self) -> tuple[float, ...]:
        """The AMM's prices."""
        return lmsr.price_vector(self.weights, tuple(self.sold), self.b)

    def owned(self, account: str, outcome: int) -> int:
        """Return an account's shares."""
        return self.shares.get((account, outcome), 0)

    def free(self, account: str, outcome: int, but: str = "") -> int:
        """Return its shares that no resting sale (except `but`) reserves."""
        held = sum(
            order.remaining
            for order in self.orders
            if (order.account, order.outcome) == (account, outcome) and not order.buys and order.id != but
        )
        return self.owned(account, outcome) - held

    def give(self, account: str, outcome: int, quantity: int) -> None:
        """Add shares (or take them)."""
        self.shares[account, outcome] = self.owned(account, outcome) + quantity

    def hold(self, order: ReferenceOrder, remaining: int | None = None) -> int:
        """Return the cash that a resting order reserves: its limit for what remains, and the largest fee on that."""
        if not order.buys:
            return 0
        remaining = order.remaining if remaining is None else remaining
        limit, dearest = Fraction(order.price, MICRO), min(Fraction(order.price, MICRO), Fraction(1, 2))
        rate = Fraction(self.terms.fee_rate, MICRO)
        return ceil(limit * remaining) + ceil(rate * remaining * dearest * (1 - dearest))


@dataclass
class ReferenceTrade:
    """What an order would do at once."""

    fills: list[tuple[str | None, int, int, int]] = field(
        default_factory=list
    )  # resting order, quantity, cost, its cost
    canceled: list[ReferenceOrder] = field(default_factory=list)
    sold: list[int] = field(default_factory=list)
    stop: str | None = None

    @property
    def filled(self) -> int:
        """Shares."""
        return sum(quantity for _, quantity, _, _ in self.fills)

    @property
    def cost(self) -> int:
        """Credits."""
        return sum(cost for _, _, cost, _ in self.fills)


class Reference:
    """All accounts and markets."""

    def __init__(self) -> None:
        self.time = 0
        self.stories: set[str] = set()
        self.money: dict[str, int] = {}
        self.markets: dict[str, ReferenceMarket] = {}
        self.house = self.fees = self.bonds = self.external = 0

    # --- time and commands

    def handle(self, command: Any, time: int) -> dict[str, Any]:
        """Do what is due, then the command; return the code of its refusal, or what it did."""
        self.let_happen(time)
        try:
            return getattr(self, f"_{type(command).__name__}")(command) or {}
        except RefusedError as refused:
            return {"code": refused.code}

    def let_happen(self, time: int) -> None:
        """Do what is due by this time, in the order of time."""
        while True:
            due = [item for item in self.due() if item[0] <= time]
            if not due:
                break
            when, kind, market, order = min(due, key=lambda item: item[0])
            self.time = when
            if kind == "close":
                self.close(market)
            elif kind == "window":
                self.pay(market)
            else:
                market.orders.remove(order)
        self.time = time

    def due(self) -> Iterator[tuple[int, str, ReferenceMarket, Any]]:
        """Yield what the clock does, and when."""
        for market in self.markets.values():
            if market.status in {"active", "halted"}:
                yield market.terms.close_time, "close", market, None
            if market.status == "determined" and market.terms.dispute_seconds:
                yield market.dispute_until, "window", market, None
            for order in market.orders:
                if order.expires_at is not None:
                    yield order.expires_at, "expiry", market, order

    def available(self, account: str) -> int:
        """Return the cash an account may spend."""
        return self.money[account] - self.held(account)

    def held(self, account: str) -> int:
        """Return the cash that its resting orders reserve."""
        return sum(
            market.hold(order)
            for market in self.markets.values()
            for order in market.orders
            if order.account == account
        )

    def transfer(self, market: ReferenceMarket, account: str, amount: int) -> None:
        """Move money from a market to an account, or back if the amount is negative."""
        self.money[account] += amount
        market.flow[account] = market.flow.get(account, 0) + amount

    def check_spendable(self, account: str, amount: int) -> None:
        """Refuse to spend more than is available."""
        if self.available(account) < 0:
            raise RefusedError(Code.ACCOUNT_OVERDRAWN)
        if amount > self.available(account):
            raise RefusedError(Code.INSUFFICIENT_FUNDS)

    def find(self, market: str, account: str | None = None) -> ReferenceMarket:
        """Return the market; it and the account must exist."""
        if market not in self.markets:
            raise RefusedError(Code.MARKET_NOT_FOUND)
        if account is not None:
            self.find_account(account)
        return self.markets[market]

    def find_account(self, account: str) -> None:
        """Refuse an account that does not exist."""
        if account not in self.money:
            raise RefusedError(Code.ACCOUNT_NOT_FOUND)

    # --- accounts

    def _OpenAccount(self, command: OpenAccount) -> None:
        if command.account_id in self.money:
            raise RefusedError(Code.ACCOUNT_EXISTS)
        self.money[command.account_id] = 0

    def _DepositCash(self, command: DepositCash) -> None:
        self.find_account(command.account_id)
        self.money[command.account_id] += command.amount
        self.external -= command.amount

    def _WithdrawCash(self, command: WithdrawCash) -> None:
        self.find_account(command.account_id)
        self.check_spendable(command.account_id, command.amount)
        self.money[command.account_id] -= command.amount
        self.external += command.amount

    def _SplitSets(self, command: o.SplitSets) -> None:
        market = self.find(command.market_id, command.account_id)
        if market.status != "active":
            raise RefusedError(Code.MARKET_NOT_ACTIVE)
        self.check_spendable(command.account_id, command.amount)
        self.sets(market, command.account_id, command.amount)

    def _MergeSets(self, command: o.MergeSets) -> None:
        market = self.find(command.market_id, command.account_id)
        if market.status not in {"active", "halted", "closed"}:
            raise RefusedError(Code.MARKET_NOT_ACTIVE)
        if any(market.free(command.account_id, i) < command.amount for i in range(len(market.terms.outcomes))):
            raise RefusedError(Code.INSUFFICIENT_SHARES)
        self.sets(market, command.account_id, -command.amount)

    def sets(self, market: ReferenceMarket, account: str, amount: int) -> None:
        """Turn credits into sets, or back if the amount is negative."""
        self.transfer(market, account, -amount)
        market.pool += amount
        for outcome in range(len(market.terms.outcomes)):
            market.give(account, outcome, amount)

    # --- stories and the life of a market

    def _PublishStory(self, command: PublishStory) -> None:
        if command.story_id in self.stories:
            raise RefusedError(Code.STORY_EXISTS)
        for opening in command.markets:
            if opening.close_time <= self.time:
                raise RefusedError(Code.CLOSE_TIME_PASSED)
        self.stories.add(command.story_id)
        for opening in command.markets:
            market = self.markets[opening.market_id] = ReferenceMarket(opening, "draft")
            if not opening.draft:
                self.activate(market)

    def activate(self, market: ReferenceMarket) -> None:
        """Fund the AMM."""
        terms, count = market.terms, len(market.terms.outcomes)
        prices = [price / MICRO for price in terms.initial_prices] or [1 / count] * count
        market.status = "active"
        market.b, market.weights, market.sold = (
            lmsr.liquidity(terms.subsidy, prices),
            lmsr.log_weights(prices),
            [0] * count,
        )
        market.subsidy = market.pool = terms.subsidy
        self.house -= terms.subsidy

    def legal(self, market_id: str, *statuses: str) -> ReferenceMarket:
        """Return the market, if it has one of these statuses."""
        market = self.find(market_id)
        if market.status not in statuses:
            raise RefusedError(Code.MARKET_STATUS)
        return market

    def _ActivateMarket(self, command: m.ActivateMarket) -> None:
        market = self.legal(command.market_id, "draft")
        if market.terms.close_time <= self.time:
            raise RefusedError(Code.CLOSE_TIME_PASSED)
        self.activate(market)

    def _HaltMarket(self, command: m.HaltMarket) -> None:
        self.legal(command.market_id, "active").status = "halted"

    def _ResumeMarket(self, command: m.ResumeMarket) -> None:
        market = self.legal(command.market_id, "halted")
        market.status = "active"
        self.sweep(market)

    def _ClarifyMarket(self, command: m.ClarifyMarket) -> None:
        self.legal(command.market_id, "draft", "active", "halted").version += 1

    def _CloseMarket(self, command: m.CloseMarket) -> None:
        self.close(self.legal(command.market_id, "active", "halted"))

    def close(self, market: ReferenceMarket) -> None:
        """End trading and empty the book."""
        market.status = "closed"
        market.orders.clear()

    def _AddLiquidity(self, command: m.AddLiquidity) -> None:
        market = self.legal(command.market_id, "active", "halted")
        if market.subsidy + command.amount > m.SUBSIDY_MAX:
            raise RefusedError(Code.INVALID_FIELD)
        prices = market.prices
        market.b += lmsr.liquidity(command.amount, prices)
        market.weights, market.sold = lmsr.log_weights(prices), [0] * len(prices)
        market.subsidy += command.amount
        market.pool += command.amount
        self.house -= command.amount
        if market.status == "active":
            self.sweep(market)

    def check_payouts(self, market: ReferenceMarket, payouts: tuple[m.Payout, ...]) -> dict[str, int]:
        """Return the payouts by outcome."""
        if any(payout.outcome not in market.terms.outcomes for payout in payouts):
            raise RefusedError(Code.UNKNOWN_OUTCOME)
        fractions = {payout.outcome: payout.fraction for payout in payouts}
        if len(fractions) != len(payouts) or sum(fractions.values()) != MICRO or min(fractions.values()) < 0:
            raise RefusedError(Code.INVALID_PAYOUTS)
        return fractions

    def _DetermineMarket(self, command: m.DetermineMarket) -> None:
        market = self.legal(command.market_id, "closed", "disputed")
        market.payouts = self.check_payouts(market, command.payouts)
        if market.bond is not None:
            self.return_bond(market)
        market.status, market.dispute_until = "determined", self.time + market.terms.dispute_seconds * 1_000_000

    def return_bond(self, market: ReferenceMarket) -> None:
        """Give the bond back to the disputer."""
        assert market.bond is not None
        account, amount = market.bond
        self.transfer(market, account, amount)
        self.bonds -= amount
        market.bond = None

    def _DisputeMarket(self, command: m.DisputeMarket) -> None:
        self.find(command.market_id, command.account_id)
        market = self.legal(command.market_id, "determined")
        if self.time >= market.dispute_until:
            raise RefusedError(Code.DISPUTE_WINDOW_CLOSED)
        least = market.terms.dispute_bond * 2**market.disputes
        bond = least if command.bond is None else command.bond
        if bond < least:
            raise RefusedError(Code.BOND_TOO_SMALL)
        self.check_spendable(command.account_id, bond)
        self.transfer(market, command.account_id, -bond)
        self.bonds += bond
        market.bond, market.status = (command.account_id, bond), "disputed"
        market.disputes += 1

    def _UpholdMarket(self, command: m.UpholdMarket) -> None:
        market = self.legal(command.market_id, "disputed")
        assert market.bond is not None
        amount = market.bond[1]
        self.bonds -= amount
        self.house += amount
        market.forfeited += amount
        market.bond = None
        market.status, market.dispute_until = "determined", self.time + market.terms.dispute_seconds * 1_000_000

    def _FinalizeMarket(self, command: m.FinalizeMarket) -> None:
        market = self.find(command.market_id)
        if market.status == "finalized":
            return
        self.legal(command.market_id, "determined")
        if self.time < market.dispute_until:
            raise RefusedError(Code.DISPUTE_WINDOW_OPEN)
        self.pay(market)

    def pay(self, market: ReferenceMarket) -> None:
        """Pay every holder, rounded down; the house gets the rest."""
        market.status = "finalized"
        for account in sorted({account for (account, _), quantity in market.shares.items() if quantity}):
            mine = {key: quantity for key, quantity in market.shares.items() if key[0] == account}
            worth = sum(
                quantity * Fraction(market.payouts.get(market.terms.outcomes[outcome], 0), MICRO)
                for (_, outcome), quantity in mine.items()
            )
            self.transfer(market, account, floor(worth))
            market.pool -= floor(worth)
            market.paid[account] = floor(worth), mine
        market.shares = {}
        market.residual, market.pool = market.pool, 0
        self.house += market.residual

    def _CorrectMarket(self, command: m.CorrectMarket) -> None:
        market = self.legal(command.market_id, "finalized")
        payouts = self.check_payouts(market, command.payouts)
        self.house -= market.residual
        market.pool += market.residual
        for account, (amount, shares) in market.paid.items():
            self.transfer(market, account, -amount)
            market.pool += amount
            market.shares |= shares
        market.paid, market.payouts = {}, payouts
        self.pay(market)

    def _VoidMarket(self, command: m.VoidMarket) -> None:
        market = self.find(command.market_id)
        if market.status in {"finalized", "voided"}:
            raise RefusedError(Code.MARKET_STATUS)
        if market.bond is not None:
            self.return_bond(market)
        market.orders.clear()
        for account, flow in list(market.flow.items()):
            self.transfer(market, account, -flow)
        self.fees -= market.fees
        self.house += market.subsidy - market.forfeited
        market.status, market.pool, market.shares, market.fees, market.forfeited = "voided", 0, {}, 0, 0

    # --- orders

    def _PlaceOrder(self, command: o.PlaceOrder) -> dict[str, Any]:
        market = self.find(command.market_id, command.account_id)
        self.check_fields(command)
        if market.status != "active":
            raise RefusedError(Code.MARKET_NOT_ACTIVE)
        if command.outcome not in market.terms.outcomes:
            raise RefusedError(Code.UNKNOWN_OUTCOME)
        outcome, quantity = market.terms.outcomes.index(command.outcome), command.quantity
        whole = False
        if command.side == "sell":
            assert quantity is not None
            free = market.free(command.account_id, outcome)
            if command.reduce_only:
                quantity = min(quantity, free)
                if quantity == 0:
                    raise RefusedError(Code.REDUCE_ONLY)
            elif quantity > free:
                raise RefusedError(Code.INSUFFICIENT_SHARES)
            whole = quantity == free
        if not whole and (quantity or command.spend or 0) < SMALLEST:
            raise RefusedError(Code.ORDER_TOO_SMALL)
        order = ReferenceOrder(
            command.order_id,
            command.account_id,
            outcome,
            command.side,
            command.limit_price or 0,
            quantity or 0,
            0,
            command.expires_at,
            command.post_only,
        )
        return self.execute(
            market,
            order,
            spend=command.spend,
            tif=command.time_in_force or ("GTC" if command.type == "limit" else "IOC"),
            policy=command.self_trade_prevention,
            max_cost=command.max_cost,
            min_proceeds=command.min_proceeds,
            whole=whole,
        )

    def check_fields(self, command: o.PlaceOrder) -> None:
        """Refuse fields that do not go together."""
        limit, buys, tif = command.type == "limit", command.side == "buy", command.time_in_force
        for amount, least in (
            (command.quantity, 1),
            (command.spend, 1),
            (command.max_cost, 1),
            (command.min_proceeds, 0),
        ):
            if amount is not None and not least <= amount <= AMOUNT_MAX:
                raise RefusedError(Code.INVALID_FIELD)
        wrong = [
            command.spend is not None and (limit or not buys),
            (command.quantity is None) == (command.spend is None),
            limit == (command.limit_price is None),
        ]
        if any(wrong):
            raise RefusedError(Code.INVALID_FIELD)
        self.check_price(command.limit_price)
        if (not limit and tif in {"GTC", "GTD"}) or (tif == "GTD") != (command.expires_at is not None):
            raise RefusedError(Code.INVALID_FIELD)
        if command.expires_at is not None and command.expires_at <= self.time:
            raise RefusedError(Code.ORDER_EXPIRED)
        wrong = [
            command.post_only and (not limit or tif in {"IOC", "FOK"}),
            command.reduce_only and buys,
            command.max_cost is not None and not buys,
            command.min_proceeds is not None and buys,
        ]
        if any(wrong):
            raise RefusedError(Code.INVALID_FIELD)

    def check_price(self, price: int | None) -> None:
        """Refuse a price that is not on the tick."""
        if price is not None and (price % 1000 or not 1000 <= price <= 999_000):
            raise RefusedError(Code.INVALID_PRICE)

    def execute(
        self,
        market: ReferenceMarket,
        order: ReferenceOrder,
        *,
        spend: int | None = None,
        tif: str,
        policy: str,
        max_cost: int | None = None,
        min_proceeds: int | None = None,
        replaces: ReferenceOrder | None = None,
        whole: bool = False,
    ) -> dict[str, Any]:
        """Trade at once, and let the rest of the order rest if it may."""
        trade = self.match(market, order, spend, policy)
        remaining = 0 if spend is not None else order.remaining - trade.filled
        if order.post_only and (trade.fills or trade.canceled or trade.stop == "self_trade"):
            raise RefusedError(Code.POST_ONLY_WOULD_CROSS)
        if tif == "FOK" and trade.stop:
            raise RefusedError(Code.FOK_NOT_FILLED)
        fee = self.fee(market, trade)
        if not order.buys and not trade.stop and trade.cost == fee and not whole:
            raise RefusedError(Code.ORDER_TOO_SMALL)
        if (max_cost is not None and trade.cost + fee > max_cost) or (
            min_proceeds is not None and trade.cost - fee < min_proceeds
        ):
            raise RefusedError(Code.SLIPPAGE)
        rests = remaining > 0 and tif in {"GTC", "GTD"} and trade.stop == "price"
        if order.buys:
            freed = sum(market.hold(other) for other in [*trade.canceled, *([replaces] if replaces else [])])
            needed = max(spend or 0, trade.cost + fee + (market.hold(order, remaining) if rests else 0))
            if self.available(order.account) < 0:
                raise RefusedError(Code.ACCOUNT_OVERDRAWN)
            if needed > self.available(order.account) + freed:
                raise RefusedError(Code.INSUFFICIENT_FUNDS)

        moved = trade.sold != market.sold
        if replaces is not None:
            market.orders.remove(replaces)
        self.carry_out(market, order, trade, fee)
        if rests:
            order.filled += trade.filled
            order.remaining = remaining
            market.orders.append(order)
        swept = self.sweep(market) if moved else {}
        status = "partially_filled" if trade.fills else "resting" if rests else "canceled"
        return {
            "status": "filled" if trade.stop is None else status,
            "fills": trade.fills,
            "fee": fee,
            "remaining": remaining,
            "swept": swept,
            "prices": lmsr.displayed(market.prices) if moved else (),
        }

    def carry_out(self, market: ReferenceMarket, order: ReferenceOrder, trade: ReferenceTrade, fee: int) -> None:
        """Do what the order does at once, and charge the fee."""
        for other in trade.canceled:
            market.orders.remove(other)
        for order_id, quantity, cost, resting_cost in trade.fills:
            self.settle(market, order, quantity, cost)
            if order_id is not None:
                other = next(other for other in market.orders if other.id == order_id)
                self.settle(market, other, quantity, resting_cost)
                self.reduce(market, other, quantity)
        if trade.fills:
            self.transfer(market, order.account, -fee)
            market.fees += fee
            self.fees += fee
        market.sold = trade.sold

    def settle(self, market: ReferenceMarket, order: ReferenceOrder, quantity: int, cost: int) -> None:
        """Move shares one way and credits the other."""
        sign = 1 if order.buys else -1
        market.give(order.account, order.outcome, sign * quantity)
        self.transfer(market, order.account, -sign * cost)
        market.pool += sign * cost

    def reduce(self, market: ReferenceMarket, order: ReferenceOrder, quantity: int) -> None:
        """Take a filled quantity off a resting order."""
        order.remaining -= quantity
        order.filled += quantity
        if order.remaining == 0:
            market.orders.remove(order)

    def fee(self, market: ReferenceMarket, trade: ReferenceTrade) -> int:
        """Return `rate * quantity * p * (1 - p)` at the average price, rounded up."""
        if trade.filled == 0:
            return 0
        price = Fraction(trade.cost, trade.filled)
        return max(0, ceil(Fraction(market.terms.fee_rate, MICRO) * trade.filled * price * (1 - price)))

    def match(self, market: ReferenceMarket, order: ReferenceOrder, spend: int | None, policy: str) -> ReferenceTrade:
        """Take the best price, step by step."""
        trade = ReferenceTrade(sold=list(market.sold))
        wanted = None if spend is not None else order.remaining
        sign = 1 if order.buys else -1
        edge = Fraction(999, 1000) if order.buys else Fraction(1, 1000)
        limit = Fraction(order.price, MICRO) if order.price else None
        done: list[ReferenceOrder] = []
        while True:
            offers = []
            for age, other in enumerate(market.orders):
                price = self.price_for(market, order, other)
                if price is not None and other not in done and (limit is None or sign * price <= sign * limit):
                    offers.append((sign * price, age, other))
            best = min(offers, key=lambda offer: offer[:2], default=None)
            bounds = [edge, *([limit] if limit else []), *([sign * best[0]] if best else [])]
            bound = min(bounds) if order.buys else max(bounds)

            price_now = lmsr.price_vector(market.weights, tuple(trade.sold), market.b)[order.outcome]
            offered = (lmsr.buyable if order.buys else lmsr.sellable)(market.b, price_now, float(bound))
            below = lmsr.shares_below(market.weights, trade.sold, market.b, order.outcome) if order.buys else 0
            offered += below
            if spend is not None:
                quantity = below + lmsr.affordable(market.b, price_now, spend, offered - below)[0]
            else:
                assert wanted is not None
                quantity = min(offered, wanted)
            if quantity == offered < SMALLEST // 10 and quantity != wanted:
                quantity = offered = 0
            if quantity:
                cost = (lmsr.cost_up if order.buys else lmsr.proceeds_down)(
                    market.b, price_now, max(quantity - below, 1)
                )
                trade.fills.append((None, quantity, cost, 0))
                trade.sold[order.outcome] += sign * quantity
                wanted = None if wanted is None else wanted - quantity
                spend = None if spend is None else spend - cost
            if wanted == 0 or spend == 0 or (spend is not None and quantity < offered):
                return trade
            if best is None:
                trade.stop = "price"
                return trade

            price, other = sign * best[0], best[2]
            done.append(other)
            if other.account == order.account:
                if policy == "cancel_taker":
                    trade.stop = "self_trade"
                    return trade
                trade.canceled.append(other)
                continue
            quantity = min(other.remaining, wanted if spend is None else floor(spend / price))  # type: ignore[type-var]
            if quantity:
                exact = quantity * price
                cost = ceil(exact) if order.buys else floor(exact)
                theirs = cost if other.outcome == order.outcome else quantity - cost
                trade.fills.append((other.id, quantity, cost, theirs))
                wanted = None if wanted is None else wanted - quantity
                spend = None if spend is None else spend - cost
            if wanted == 0 or (spend is not None and floor(spend / price) == 0):
                return trade

    def price_for(self, market: ReferenceMarket, order: ReferenceOrder, other: ReferenceOrder) -> Fraction | None:
        """Return the price a resting order offers a new one, per share of the new one's outcome; None if they do not match."""
        price = Fraction(other.price, MICRO)
        if other.outcome == order.outcome:
            return price if other.side != order.side else None
        if len(market.terms.outcomes) == 2 and other.side == order.side:
            return 1 - price  # together they make, or dissolve, complete sets
        return None

    # --- the AMM and the resting orders

    def sweep(self, market: ReferenceMarket) -> dict[str, tuple[int, int]]:
        """Fill the orders that the AMM's price has reached: the largest gap first, then those with equal gaps together."""
        filled: dict[str, tuple[ReferenceOrder, int, int, float]] = {}  # order, what was left, filled, its exact price
        b = market.b / 1_000_000
        while True:
            fronts = self.fronts(market)
            gaps = {order.id: self.gap(market, order) for order in fronts}
            level = max([gaps[order.id] for order in fronts if self.is_reached(market, order, b)], default=0.0)
            if level == 0:
                break
            trades = self.for_nothing(market, fronts) or self.move(market, fronts, gaps, level, filled)
            if not trades:
                break
            for order, quantity, price in trades:
                market.sold[order.outcome] += quantity if order.buys else -quantity
                _, left, before, paid = filled.get(order.id, (order, order.remaining, 0, 0.0))
                filled[order.id] = order, left, before + quantity, paid + price * quantity
                self.reduce(market, order, quantity)
        costs = {}
        for order, left, quantity, paid in filled.values():
            cost = min(ceil(paid), self.at_limit(order, left, quantity)) if order.buys else floor(paid)
            self.settle(market, order, quantity, cost)
            costs[order.id] = quantity, cost
        return costs

    def gap(self, market: ReferenceMarket, order: ReferenceOrder) -> float:
        """Return by how much the AMM's price is better than the order's limit."""
        way = order.price / MICRO - market.prices[order.outcome]
        return way if order.buys else -way

    def is_reached(self, market: ReferenceMarket, order: ReferenceOrder, b: float) -> bool:
        """Return whether the AMM would trade more than 0.001 share up to the limit."""
        price = market.prices[order.outcome]
        if self.gap(market, order) <= 0 or price >= 1:
            return self.gap(market, order) > 0
        return abs(lmsr.shares_to_price(b, price, order.price / MICRO)) > DUST

    def fronts(self, market: ReferenceMarket) -> list[ReferenceOrder]:
        """Return the best (then oldest) order of each side of each outcome; two outcomes share one line."""
        best: dict[tuple[int, bool], tuple[int, ReferenceOrder]] = {}
        for order in market.orders:
            key, worth = (order.outcome, not order.buys), order.price if order.buys else -order.price
            if len(market.terms.outcomes) == 2 and order.outcome == 1:
                key, worth = (0, order.buys), (MICRO + worth if not order.buys else worth - MICRO)
            if key not in best or worth > best[key][0]:
                best[key] = worth, order
        return [best[key][1] for key in sorted(best)]

    def for_nothing(
        self, market: ReferenceMarket, fronts: list[ReferenceOrder]
    ) -> list[tuple[ReferenceOrder, int, float]]:
        """Return what bids get below the lowest price."""
        trades = []
        for order in fronts:
            if order.buys and market.prices[order.outcome] <= lmsr.TINIEST:
                below = lmsr.shares_below(market.weights, market.sold, market.b, order.outcome)
                if below:
                    trades.append((order, min(order.remaining, below), lmsr.TINIEST))
        return trades

    def move(
        self,
        market: ReferenceMarket,
        fronts: list[ReferenceOrder],
        gaps: dict[str, float],
        level: float,
        filled: dict[str, tuple[ReferenceOrder, int, int, float]],
    ) -> list[tuple[ReferenceOrder, int, float]]:
        """Move the prices of the orders with the largest gaps to their limits, until an order is complete or one joins."""
        b, prices = market.b / 1_000_000, market.prices
        way = {order.id: order.price / MICRO - prices[order.outcome] for order in fronts}
        sign = {order.id: 1 if order.buys else -1 for order in fronts}
        line = max(level - max(ABREAST / b, FINEST), 0.0)
        movers = [order for order in fronts if gaps[order.id] >= line]
        while True:
            rest = fsum(price for i, price in enumerate(prices) if i not in [order.outcome for order in movers])
            majority = sum(sign[order.id] for order in movers)
            everything = len(movers) == len(prices)
            if everything or (rest <= NEGLIGIBLE and majority == len(movers)):
                odd = [order for order in movers if sign[order.id] * majority <= 0]
                least = min(odd or movers, key=lambda order: gaps[order.id])
                if not odd and gaps[least.id] > 2 * NEGLIGIBLE:
                    return self.in_sets(market, movers)
                movers.remove(least)
                continue
            yielded = fsum(way[order.id] for order in movers) / rest
            rates = [sign[order.id] * (way[order.id] / prices[order.outcome] + yielded) for order in movers]
            if min(rates) > 0:
                break
            del movers[rates.index(min(rates))]
        ends = {}
        reach = floor(REACH * b) + 1
        for order in movers:
            shares = sign[order.id] * min(order.remaining, reach)
            ends[order.id] = lmsr.until_traded(b, prices[order.outcome], way[order.id], yielded, shares)
        part = min(1.0, *ends.values())
        for order in fronts:
            closing = level + sign[order.id] * prices[order.outcome] * yielded
            if gaps[order.id] < line and closing > 0:
                part = min(part, (level - gaps[order.id]) / closing)
        trades = []
        for order in movers:
            shares_, price = lmsr.traded(b, prices[order.outcome], way[order.id] * part, yielded * part)
            complete = ends[order.id] <= part and order.remaining <= reach
            quantity = order.remaining if complete else min(order.remaining, floor(abs(shares_)))
            _, left, before, paid = filled.get(order.id, (order, order.remaining, 0, 0.0))
            total = before + quantity
            if (
                order.buys
                and quantity < order.remaining
                and ceil(paid + price * quantity) > self.at_limit(order, left, total)
            ):
                quantity = max(0, quantity - total % (MICRO // gcd(order.price, MICRO)))
            if quantity:
                trades.append((order, quantity, price))
        return trades

    def in_sets(self, market: ReferenceMarket, movers: list[ReferenceOrder]) -> list[tuple[ReferenceOrder, int, float]]:
        """Let all of the orders trade the same quantity, at prices that sum to 1."""
        quantity = min(order.remaining for order in movers)
        total = fsum(market.prices[order.outcome] for order in movers)
        return [(order, quantity, market.prices[order.outcome] / total) for order in movers]

    def at_limit(self, order: ReferenceOrder, left: int, quantity: int) -> int:
        """Return how much less an order reserves for its price once this quantity of what was left of it is filled."""
        limit = Fraction(order.price, MICRO)
        return ceil(limit * left) - ceil(limit * (left - quantity))

    # --- cancel and amend

    def open_order(self, account: str, order_id: str) -> tuple[ReferenceMarket, ReferenceOrder]:
        """Return an open order of the account."""
        self.find_account(account)
        for market in self.markets.values():
            for order in market.orders:
                if order.id == order_id:
                    if order.account != account:
                        raise RefusedError(Code.NOT_ORDER_OWNER)
                    return market, order
        raise RefusedError(Code.ORDER_NOT_OPEN)

    def _CancelOrder(self, command: o.CancelOrder) -> None:
        market, order = self.open_order(command.account_id, command.order_id)
        market.orders.remove(order)

    def _CancelOrders(self, command: o.CancelOrders) -> None:
        self.find_account(command.account_id)
        if command.market_id is not None:
            self.find(command.market_id)
        for market_id, market in self.markets.items():
            if command.market_id in {None, market_id}:
                market.orders = [order for order in market.orders if order.account != command.account_id]

    def _AmendOrder(self, command: o.AmendOrder) -> dict[str, Any] | None:
        market, order = self.open_order(command.account_id, command.order_id)
        if market.status != "active":
            raise RefusedError(Code.MARKET_NOT_ACTIVE)
        price = order.price if command.limit_price is None else command.limit_price
        total = order.filled + order.remaining if command.quantity is None else command.quantity
        self.check_price(price)
        if not order.filled < total <= AMOUNT_MAX:
            raise RefusedError(Code.INVALID_FIELD)
        remaining = total - order.filled
        whole = not order.buys and remaining == market.free(order.account, order.outcome, but=order.id)
        if total < SMALLEST and remaining != order.remaining and not whole:
            raise RefusedError(Code.ORDER_TOO_SMALL)
        if price == order.price and remaining <= order.remaining:
            order.remaining = remaining
            return None
        if not order.buys and remaining > market.free(order.account, order.outcome, but=order.id):
            raise RefusedError(Code.INSUFFICIENT_SHARES)
        amended = ReferenceOrder(
            order.id,
            order.account,
            order.outcome,
            order.side,
            price,
            remaining,
            order.filled,
            order.expires_at,
            order.post_only,
        )
        tif = "GTC" if order.expires_at is None else "GTD"
        return self.execute(market, amended, tif=tif, policy="cancel_taker", replaces=order, whole=whole)
