"""The answers of the API and the parts of bodies, made by `python -m api.http.client_code`. Do not edit.

Amounts, shares and prices are exact `Decimal`s, times are `datetime`s with a time zone. A newer exchange may send more
fields and other values of texts that stand for a choice: both are read without an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from tidings_client.call import Amount, When, new_id


__all__ = [
    "AcceptedInvitation",
    "AccountFill",
    "AccountPosition",
    "AccountProfile",
    "AccountSettlement",
    "BatchAnswer",
    "BatchResult",
    "BooksOfMarket",
    "Calibration",
    "CancelAnswer",
    "CanceledOrder",
    "CanceledOrderAnswer",
    "CandlesOfMarket",
    "Decile",
    "EnginePosition",
    "EquityPoint",
    "Event",
    "Evidence",
    "FillAnswer",
    "HealthAnswer",
    "HeldPosition",
    "HistoriesOfMarket",
    "Holder",
    "Horizon",
    "KeyAnswer",
    "KeyPage",
    "LedgerBooks",
    "LedgerEntry",
    "Level",
    "LifecycleEntry",
    "ListedAccount",
    "ListedInvitation",
    "ListedMarket",
    "Market",
    "MarketWithWordings",
    "Me",
    "NewInvitation",
    "NewKeyAnswer",
    "NewWebhookAnswer",
    "OneWebhook",
    "OpenMarket",
    "Order",
    "OrderAnswer",
    "OutcomeBook",
    "OutcomeCandle",
    "OutcomeState",
    "PingAnswer",
    "PlaceOrder",
    "Portfolio",
    "PriceHistory",
    "PriceHistoryPage",
    "PricePoint",
    "QuoteAnswer",
    "ReadModelPosition",
    "ReadyAnswer",
    "ResolutionWording",
    "RevokedInvitation",
    "Standing",
    "StatusAnswer",
    "Story",
    "StoryWithMarkets",
    "StreamsStatus",
    "Trade",
    "WebhookAnswer",
    "WebhookPage",
    "WrittenAccount",
    "WrittenAmendedOrder",
    "WrittenKeyAnswer",
    "WrittenMarketWithWordings",
    "WrittenSetsAnswer",
    "WrittenStoryWithMarkets",
    "WrittenWebhookAnswer",
]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the log. `data` has the fields that the schema of its `type` and `version` names."""

    position: int
    type: str
    version: int
    time: datetime
    command_id: str
    stream: str
    stream_version: int
    data: dict[str, Any]


class AcceptedInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """An account that an invitation opened, and its key: null once the key has been used."""

    invitation_id: str
    account_id: str
    name: str
    key_id: str
    key: str | None
    position: int


class AccountFill(msgspec.Struct, frozen=True, kw_only=True):
    """A trade as one of its parties sees it."""

    position: int
    number: int
    time: datetime
    market_id: str
    outcome: str
    side: str
    role: str
    order_id: str
    price: Decimal
    quantity: Decimal
    cost: Decimal
    fee: Decimal
    market: str


class AccountPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position with the AMM's price of a share; `price` is None if the market has none, `position` is a log
    position.
    """

    account_id: str
    market_id: str
    outcome: str
    shares: Decimal
    cost_basis: Decimal
    realized: Decimal
    fees: Decimal
    volume: Decimal
    buys: Decimal
    position: int
    time: datetime
    price: Decimal | None
    average_price: Decimal | None
    value: Decimal
    unrealized: Decimal
    market: str
    account: str


class AccountProfile(msgspec.Struct, frozen=True, kw_only=True):
    """An account with the mark value of its positions, each rounded down.

    Or: What everybody may see of an account and its profit: `pnl` is the sum of the other two.
    """

    account_id: str
    name: str
    available: Decimal | None = None
    held: Decimal | None = None
    positions_value: Decimal | None = None
    opened_at: datetime
    position: int | None = None
    time: datetime | None = None
    equity: Decimal | None = None
    overdrawn: bool | None = None
    withdrawable: Decimal | None = None
    pnl: Decimal
    realized: Decimal
    unrealized: Decimal


class AccountSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of the end of a market on a position; `kind` is one of `SETTLEMENT_KINDS`.

    `quantity` is the signed change of shares, `amount` the signed cash for them, `realized` the profit of the
    position afterwards.
    """

    position: int
    time: datetime
    account_id: str
    market_id: str
    outcome: str
    kind: str
    quantity: Decimal
    amount: Decimal
    realized: Decimal
    market: str
    account: str


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What each order of a batch did, or the error that it would have alone, in the order of the batch."""

    results: list[BatchResult]
    position: int


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an order did at once; `prices` are those of all outcomes afterwards.

    Or: What an order would do now; `prices` are those of all outcomes afterwards, empty where nothing trades. Or: The
    error of an order in a batch; `position` is null if the log does not have it.
    """

    account_id: str | None = None
    market_id: str | None = None
    outcome: str | None = None
    side: str | None = None
    type: str | None = None
    time_in_force: str | None = None
    limit_price: Decimal | None = None
    quantity: Decimal | None = None
    spend: Decimal | None = None
    status: str | None = None
    reason: str | None = None
    filled_quantity: Decimal | None = None
    remaining_quantity: Decimal | None = None
    average_price: Decimal | None = None
    cost: Decimal | None = None
    fee: Decimal | None = None
    fills: list[FillAnswer] | None = None
    prices: list[Decimal] | None = None
    position: int | None
    order_id: str | None = None
    client_order_id: str | None = None
    code: str | None = None
    message: str | None = None
    details: dict[str, Any] | None = None


class BooksOfMarket(msgspec.Struct, frozen=True, kw_only=True):
    """The books of a market, one for each outcome."""

    market_id: str
    market: str
    books: list[OutcomeBook]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The finalized markets that count, and their forecasts at each horizon."""

    markets: int
    horizons: list[Horizon]


class CancelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The orders that were canceled; none, one or many."""

    canceled: list[CanceledOrder]
    position: int


class CanceledOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was canceled."""

    order_id: str
    client_order_id: str
    account_id: str
    market_id: str
    outcome: str
    side: str
    status: str
    filled_quantity: Decimal
    remaining_quantity: Decimal


class CanceledOrderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The order that a request canceled."""

    order_id: str
    client_order_id: str
    account_id: str
    market_id: str
    outcome: str
    side: str
    status: str
    filled_quantity: Decimal
    remaining_quantity: Decimal
    position: int


class CandlesOfMarket(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome in one period, from `start` to before `end`; `trades` counts fills."""

    market_id: str
    market: str
    candlesticks: list[OutcomeCandle]


class Decile(msgspec.Struct, frozen=True, kw_only=True):
    """The forecasts with a price from `low` to below `high`: their number, their mean price, the mean of what they
    paid.
    """

    low: Decimal
    high: Decimal
    count: int
    mean_price: Decimal | None
    mean_outcome: Decimal | None


class EnginePosition(msgspec.Struct, frozen=True, kw_only=True):
    """The last position of the log, and the time of that event."""

    position: int
    time: datetime | None


class EquityPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The cash and the mark value of the positions of an account at a time; `equity` is their sum."""

    time: datetime
    available: Decimal
    held: Decimal
    positions: Decimal
    equity: Decimal


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a market is resolved in this way."""

    text: str
    url: str | None = None


class FillAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A fill of an order, with the AMM or with a resting order of the book."""

    price: Decimal
    quantity: Decimal
    source: str


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process answers."""

    status: str


class HeldPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position with the AMM's price of a share; `price` is None if the market has none, `position` is a log
    position.
    """

    account_id: str
    market_id: str
    outcome: str
    shares: Decimal
    cost_basis: Decimal
    realized: Decimal
    fees: Decimal
    volume: Decimal
    buys: Decimal
    position: int
    time: datetime
    price: Decimal | None
    average_price: Decimal | None
    value: Decimal
    unrealized: Decimal
    market: str
    account: str
    question: str
    story_id: str
    story: str
    title: str
    status: str
    outcomes: list[str]


class HistoriesOfMarket(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of every outcome of a market."""

    histories: list[PriceHistory]
    market_id: str
    market: str


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """An account that holds shares of an outcome."""

    account_id: str
    outcome: str
    shares: Decimal
    cost_basis: Decimal
    account: str


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """The forecasts of one horizon.

    Scores are means, in millionths, rounded down; None without a forecast. `brier` is (price - paid)^2 per outcome,
    `log_score` is -paid * ln(price) summed over a market's outcomes.
    """

    name: str
    markets: int
    outcomes: int
    brier: Decimal | None
    log_score: Decimal | None
    deciles: list[Decile]


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret."""

    key_id: str
    prefix: str
    roles: list[str]
    account_id: str | None
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """All API keys."""

    data: list[KeyAnswer]
    next_cursor: str | None


class LedgerBooks(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of each book, and the sum of all books: always 0."""

    books: dict[str, Decimal]
    sum: Decimal


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The postings of an event: signed changes that sum to zero.

    `cash` and `held` are changes of `account_id`, `pool` is one of `market_id`; `fees`, `house`, `bonds` and
    `external` belong to the operator; what they lack of zero is in transit to another partition. `available_after`
    and `held_after` are the account's balances afterwards, None where they did not change. `kind` is the name of the
    event's type.
    """

    position: int
    time: datetime
    kind: str
    account_id: str | None
    market_id: str | None
    order_id: str | None
    cash: Decimal
    held: Decimal
    pool: Decimal
    fees: Decimal
    house: Decimal
    bonds: Decimal
    external: Decimal
    available_after: Decimal | None
    held_after: Decimal | None
    market: str | None
    account: str | None


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A price, the shares that rest at it, and the number of their orders."""

    price: Decimal
    quantity: Decimal
    orders: int


class LifecycleEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a market's life, its fields in their public form: amounts as decimal strings, times in RFC 3339."""

    position: int
    time: datetime
    market_id: str
    type: str
    data: dict[str, Any]


class ListedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account with the mark value of its positions, each rounded down.

    Or: What everybody may see of an account.
    """

    account_id: str
    name: str
    available: Decimal | None = None
    held: Decimal | None = None
    positions_value: Decimal | None = None
    opened_at: datetime
    position: int | None = None
    time: datetime | None = None
    equity: Decimal | None = None
    overdrawn: bool | None = None


class ListedInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation, without its secret; `used` counts the accounts that it has opened; `revoked_at` null: nobody
    has.
    """

    invitation_id: str
    uses: int
    used: int
    expires_at: datetime
    credits: Decimal
    position: int
    created_at: datetime
    revoked_at: datetime | None


class ListedMarket(msgspec.Struct, frozen=True, kw_only=True):
    """A market.

    Lists are in the order of `outcomes`; `payouts` are the fractions that a share pays, None before there are any.
    `volume` is in credits (the cost of the fills, without fees), `quantity` in shares. `trades` counts fills, not
    executions; `traders` counts the accounts that had one. `open_interest` has the shares of each outcome that
    accounts hold, none once the market is finalized or voided. `prices` are the AMM's; once trading has ended they
    are the last ones. `liquidity` is b in 1e-12 credits. `next_dispute_bond` is the smallest bond of another dispute;
    payouts cannot be withdrawn before `held_until`. `position` and `time` are those of the last change.
    """

    market_id: str
    story_id: str
    slug: str
    question: str
    category: str
    outcomes: list[OutcomeState]
    close_time: datetime
    fee_rate: Decimal
    dispute_seconds: int
    dispute_bond: Decimal
    opened_at: datetime
    open_interest: Decimal
    volume: Decimal
    quantity: Decimal
    trades: int
    traders: int
    status: str
    subsidy: Decimal
    liquidity: Decimal
    closed_at: datetime | None
    resolution_version: int
    resolution_source: str
    evidence_text: str | None
    evidence_url: str | None
    dispute_until: datetime | None
    dispute_reason: str | None
    next_dispute_bond: Decimal
    held_until: datetime | None
    void_reason: str | None
    settled: bool
    residual: Decimal
    position: int
    time: datetime
    odds: dict[str, Decimal]
    last_prices: dict[str, Decimal]
    change_24h: dict[str, Decimal]
    sparkline: dict[str, list[Decimal | None]] | None = None


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """A market.

    Lists are in the order of `outcomes`; `payouts` are the fractions that a share pays, None before there are any.
    `volume` is in credits (the cost of the fills, without fees), `quantity` in shares. `trades` counts fills, not
    executions; `traders` counts the accounts that had one. `open_interest` has the shares of each outcome that
    accounts hold, none once the market is finalized or voided. `prices` are the AMM's; once trading has ended they
    are the last ones. `liquidity` is b in 1e-12 credits. `next_dispute_bond` is the smallest bond of another dispute;
    payouts cannot be withdrawn before `held_until`. `position` and `time` are those of the last change.
    """

    market_id: str
    story_id: str
    slug: str
    question: str
    category: str
    outcomes: list[OutcomeState]
    close_time: datetime
    fee_rate: Decimal
    dispute_seconds: int
    dispute_bond: Decimal
    opened_at: datetime
    open_interest: Decimal
    volume: Decimal
    quantity: Decimal
    trades: int
    traders: int
    status: str
    subsidy: Decimal
    liquidity: Decimal
    closed_at: datetime | None
    resolution_version: int
    resolution_source: str
    evidence_text: str | None
    evidence_url: str | None
    dispute_until: datetime | None
    dispute_reason: str | None
    next_dispute_bond: Decimal
    held_until: datetime | None
    void_reason: str | None
    settled: bool
    residual: Decimal
    position: int
    time: datetime
    odds: dict[str, Decimal]
    last_prices: dict[str, Decimal]
    change_24h: dict[str, Decimal]


class MarketWithWordings(msgspec.Struct, frozen=True, kw_only=True):
    """A market.

    Lists are in the order of `outcomes`; `payouts` are the fractions that a share pays, None before there are any.
    `volume` is in credits (the cost of the fills, without fees), `quantity` in shares. `trades` counts fills, not
    executions; `traders` counts the accounts that had one. `open_interest` has the shares of each outcome that
    accounts hold, none once the market is finalized or voided. `prices` are the AMM's; once trading has ended they
    are the last ones. `liquidity` is b in 1e-12 credits. `next_dispute_bond` is the smallest bond of another dispute;
    payouts cannot be withdrawn before `held_until`. `position` and `time` are those of the last change.
    """

    market_id: str
    story_id: str
    slug: str
    question: str
    category: str
    outcomes: list[OutcomeState]
    close_time: datetime
    fee_rate: Decimal
    dispute_seconds: int
    dispute_bond: Decimal
    opened_at: datetime
    open_interest: Decimal
    volume: Decimal
    quantity: Decimal
    trades: int
    traders: int
    status: str
    subsidy: Decimal
    liquidity: Decimal
    closed_at: datetime | None
    resolution_version: int
    resolution_source: str
    evidence_text: str | None
    evidence_url: str | None
    dispute_until: datetime | None
    dispute_reason: str | None
    next_dispute_bond: Decimal
    held_until: datetime | None
    void_reason: str | None
    settled: bool
    residual: Decimal
    position: int
    time: datetime
    odds: dict[str, Decimal]
    last_prices: dict[str, Decimal]
    change_24h: dict[str, Decimal]
    resolutions: list[ResolutionWording]


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who one is; `account` is the account's name.

    A key without an account, or whose account is not shown yet, has null.
    """

    key_id: str
    name: str
    roles: list[str]
    account_id: str | None
    account: str | None
    expires_at: datetime | None


class NewInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """A new invitation.

    `link` comes after the address of the exchange, and ends with the `code`.
    """

    invitation_id: str
    code: str
    link: str
    uses: int
    expires_at: datetime
    credits: Decimal
    position: int


class NewKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A new API key; only its first answer has its secret, in `key`."""

    key_id: str
    prefix: str
    roles: list[str]
    account_id: str | None
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    position: int
    key: str | None


class NewWebhookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook with a new secret, which no other answer has."""

    webhook_id: str
    url: str
    lifecycle: bool
    min_cost: Decimal | None
    fills_of: str | None
    status: str
    delivered_position: int
    created_at: datetime
    delivered_at: datetime | None
    failing_since: datetime | None
    next_attempt_at: datetime | None
    last_error: str | None
    disabled_at: datetime | None
    position: int
    secret: str | None


class OneWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook."""

    data: WebhookAnswer


class OpenMarket(msgspec.Struct, frozen=True, kw_only=True):
    """A question with 2 to 64 outcomes, exactly one of which comes true."""

    slug: str | None = None
    question: str
    outcomes: Sequence[str]
    initial_prices: Sequence[Amount] | None = None
    subsidy: Amount
    fee_rate: Amount = "0.000000"
    close_time: When
    resolution_source: str
    dispute_seconds: int = 86400
    dispute_bond: Amount = "1.000000"
    draft: bool = False


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order.

    `cost` and `fee` sum over its fills; `reason` says why a remainder does not rest. `average_price` is the price of
    its only fill, or its cost per share, rounded half even but never beyond its limit; None before its first fill.
    `worst_limit` is the limit price at which it may have paid most or received least: another one than `limit_price`
    where an order that had fills was amended. `position` and `time` are those of the event that placed it,
    `changed_position` and `changed_time` those of its last change.
    """

    order_id: str
    client_order_id: str
    account_id: str
    market_id: str
    outcome: str
    side: str
    type: str
    quantity: Decimal | None
    spend: Decimal | None
    limit_price: Decimal | None
    time_in_force: str
    expires_at: datetime | None
    post_only: bool
    reduce_only: bool
    resolution_version: int
    status: str
    open: bool
    cost: Decimal
    average_price: Decimal | None
    fee: Decimal
    reason: str | None
    position: int
    time: datetime
    changed_position: int
    changed_time: datetime
    filled_quantity: Decimal
    remaining_quantity: Decimal
    market: str
    account: str


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an order did at once; `prices` are those of all outcomes afterwards."""

    account_id: str
    market_id: str
    outcome: str
    side: str
    type: str
    time_in_force: str | None = None
    limit_price: Decimal | None
    quantity: Decimal | None
    spend: Decimal | None = None
    status: str
    reason: str | None
    filled_quantity: Decimal
    remaining_quantity: Decimal
    average_price: Decimal | None
    cost: Decimal
    fee: Decimal
    fills: list[FillAnswer]
    prices: list[Decimal]
    position: int
    order_id: str
    client_order_id: str


class OutcomeBook(msgspec.Struct, frozen=True, kw_only=True):
    """The book of an outcome, best price first, and the AMM's `price`.

    With two outcomes, a bid on the other one is listed here as an ask at 1 - price, and an ask as a bid.
    """

    outcome: str
    price: Decimal
    bids: list[Level]
    asks: list[Level]


class OutcomeCandle(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome in one period, from `start` to before `end`; `trades` counts fills."""

    outcome: str
    start: datetime
    end: datetime
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    previous: Decimal | None
    volume: Decimal
    quantity: Decimal
    trades: int


class OutcomeState(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome of a market; `payout` is what a share pays, null before there are payouts."""

    outcome: str
    price: Decimal
    initial_price: Decimal
    open_interest: Decimal
    payout: Decimal | None


class PingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a test message arrived, and if not, why."""

    webhook_id: str
    delivered: bool
    error: str | None


class PlaceOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order.

    Sent again with the same `client_order_id` and the same fields, it is the same order.
    """

    account: str | None = None
    market_id: str
    outcome: str
    side: Literal["buy", "sell"]
    type: Literal["market", "limit"]
    quantity: Amount | None = None
    spend: Amount | None = None
    limit_price: Amount | None = None
    time_in_force: Literal["GTC", "GTD", "IOC", "FOK"] | None = None
    expires_at: When | None = None
    post_only: bool = False
    reduce_only: bool = False
    max_cost: Amount | None = None
    min_proceeds: Amount | None = None
    self_trade_prevention: Literal["cancel_taker", "cancel_maker"] = "cancel_taker"
    client_order_id: str = msgspec.field(default_factory=new_id)


class Portfolio(msgspec.Struct, frozen=True, kw_only=True):
    """An account with the mark value of its positions, each rounded down."""

    account_id: str
    name: str
    available: Decimal
    held: Decimal
    positions_value: Decimal
    opened_at: datetime
    position: int
    time: datetime
    equity: Decimal
    overdrawn: bool
    withdrawable: Decimal
    pnl: Decimal
    realized: Decimal
    unrealized: Decimal
    positions: list[HeldPosition]
    orders: list[Order]


class PriceHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of an outcome, oldest first."""

    outcome: str
    history: list[PricePoint]


class PriceHistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of an outcome, oldest first.

    Or: Prices of every outcome.
    """

    outcome: str | None = None
    history: list[PricePoint] | None = None
    histories: list[PriceHistory] | None = None


class PricePoint(msgspec.Struct, frozen=True, kw_only=True):
    """The price `p` of an outcome from the time `t` and this position on."""

    t: datetime
    p: Decimal
    position: int


class QuoteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an order would do now; `prices` are those of all outcomes afterwards, empty where nothing trades."""

    account_id: str
    market_id: str
    outcome: str
    side: str
    type: str
    time_in_force: str | None = None
    limit_price: Decimal | None
    quantity: Decimal | None
    spend: Decimal | None = None
    status: str
    reason: str | None
    filled_quantity: Decimal
    remaining_quantity: Decimal
    average_price: Decimal | None
    cost: Decimal
    fee: Decimal
    fills: list[FillAnswer]
    prices: list[Decimal]
    position: int


class ReadModelPosition(msgspec.Struct, frozen=True, kw_only=True):
    """How far a read model has folded the log, and its lag."""

    projection: str
    partition: int
    position: int
    time: datetime | None
    version: int
    lag_events: int
    lag_seconds: float
    parked: int


class ReadyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server can be used, and what is missing where it cannot."""

    status: str
    missing: list[str] | None = None


class ResolutionWording(msgspec.Struct, frozen=True, kw_only=True):
    """A wording of the resolution source; version 1 is that of the draft."""

    market_id: str
    version: int
    position: int
    time: datetime
    resolution_source: str


class RevokedInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation that lets nobody else in."""

    invitation_id: str
    position: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the leaderboard.

    `roi` is profit divided by purchases, `brier` the mean of squared errors: millionths, rounded down, and None where
    there is nothing to divide by. `trades` counts executions, not fills.
    """

    rank: int
    account_id: str
    pnl: Decimal
    realized: Decimal
    unrealized: Decimal
    volume: Decimal
    buys: Decimal
    roi: Decimal | None
    brier: Decimal | None
    trades: int
    account: str


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The positions of the log, of the read models and of the streams.

    `lost` says how the log has lost events that the read models know. `streams` is null where none are served.
    """

    lost: str | None
    engine: EnginePosition
    projections: list[ReadModelPosition]
    streams: StreamsStatus | None


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A story; `position` and `time` are those of its event in the log, `published_at` is the time of the report."""

    story_id: str
    slug: str
    title: str
    body: str
    category: str
    published_at: datetime
    source_url: str | None
    position: int
    time: datetime


class StoryWithMarkets(msgspec.Struct, frozen=True, kw_only=True):
    """A story; `position` and `time` are those of its event in the log, `published_at` is the time of the report."""

    story_id: str
    slug: str
    title: str
    body: str
    category: str
    published_at: datetime
    source_url: str | None
    position: int
    time: datetime
    markets: list[Market]


class StreamsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The open streams of this process.

    `position` is how far it has handed the log to them, null while nobody follows. `lag_events` is the number of
    positions from there to the log's end, `slowest_events` that of the slowest stream.
    """

    connections: int
    position: int | None
    lag_events: int
    slowest_events: int


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One fill; `number` counts those of one event, from 0.

    `outcome`, `side`, `account_id` and `order_id` are those of the party that `role` names: the taker or, where the
    AMM filled a resting order, the resting order. `source` says what that party traded with: the AMM, or an order in
    the book. In the latter case `resting_*` name the other party. Its outcome is another one where two bids met to
    make complete sets. `cost` excludes `fee`; the fee of a whole execution stands on its first fill. `price_after` is
    the AMM's price of the outcome after the whole command that traded, with the sweep that it set off: all fills of a
    command have the same one. `resting_price_after` is its price of the other party's outcome.
    """

    position: int
    number: int
    time: datetime
    market_id: str
    outcome: str
    side: str
    price: Decimal
    quantity: Decimal
    cost: Decimal
    fee: Decimal
    source: str
    role: str
    account_id: str | None
    order_id: str | None
    resting_account_id: str | None
    resting_order_id: str | None
    resting_outcome: str | None
    resting_side: str | None
    resting_cost: Decimal
    price_after: Decimal
    resting_price_after: Decimal | None
    market: str
    account: str | None
    resting_account: str | None


class WebhookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook without its secrets.

    `delivered_position` is the last position of the log that it is done with. A webhook is `failing` from its first
    failure until everything that waits has arrived, and `disabled` after a day of it.
    """

    webhook_id: str
    url: str
    lifecycle: bool
    min_cost: Decimal | None
    fills_of: str | None
    status: str
    delivered_position: int
    created_at: datetime
    delivered_at: datetime | None
    failing_since: datetime | None
    next_attempt_at: datetime | None
    last_error: str | None
    disabled_at: datetime | None


class WebhookPage(msgspec.Struct, frozen=True, kw_only=True):
    """All webhooks."""

    data: list[WebhookAnswer]
    next_cursor: str | None


class WrittenAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account with the mark value of its positions, each rounded down."""

    account_id: str
    name: str
    available: Decimal
    held: Decimal
    positions_value: Decimal
    opened_at: datetime
    position: int
    time: datetime
    equity: Decimal
    overdrawn: bool
    withdrawable: Decimal
    pnl: Decimal
    realized: Decimal
    unrealized: Decimal


class WrittenAmendedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order.

    `cost` and `fee` sum over its fills; `reason` says why a remainder does not rest. `average_price` is the price of
    its only fill, or its cost per share, rounded half even but never beyond its limit; None before its first fill.
    `worst_limit` is the limit price at which it may have paid most or received least: another one than `limit_price`
    where an order that had fills was amended. `position` and `time` are those of the event that placed it,
    `changed_position` and `changed_time` those of its last change.
    """

    order_id: str
    client_order_id: str
    account_id: str
    market_id: str
    outcome: str
    side: str
    type: str
    quantity: Decimal | None
    spend: Decimal | None
    limit_price: Decimal | None
    time_in_force: str
    expires_at: datetime | None
    post_only: bool
    reduce_only: bool
    resolution_version: int
    status: str
    open: bool
    cost: Decimal
    average_price: Decimal | None
    fee: Decimal
    reason: str | None
    position: int
    time: datetime
    changed_position: int
    changed_time: datetime
    filled_quantity: Decimal
    remaining_quantity: Decimal
    fills: list[FillAnswer]
    prices: list[Decimal]


class WrittenKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An API key after a write.

    Keys are not in the log: `position` is the end of the log at that moment.
    """

    key_id: str
    prefix: str
    roles: list[str]
    account_id: str | None
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    position: int


class WrittenMarketWithWordings(msgspec.Struct, frozen=True, kw_only=True):
    """A market.

    Lists are in the order of `outcomes`; `payouts` are the fractions that a share pays, None before there are any.
    `volume` is in credits (the cost of the fills, without fees), `quantity` in shares. `trades` counts fills, not
    executions; `traders` counts the accounts that had one. `open_interest` has the shares of each outcome that
    accounts hold, none once the market is finalized or voided. `prices` are the AMM's; once trading has ended they
    are the last ones. `liquidity` is b in 1e-12 credits. `next_dispute_bond` is the smallest bond of another dispute;
    payouts cannot be withdrawn before `held_until`. `position` and `time` are those of the last change.
    """

    market_id: str
    story_id: str
    slug: str
    question: str
    category: str
    outcomes: list[OutcomeState]
    close_time: datetime
    fee_rate: Decimal
    dispute_seconds: int
    dispute_bond: Decimal
    opened_at: datetime
    open_interest: Decimal
    volume: Decimal
    quantity: Decimal
    trades: int
    traders: int
    status: str
    subsidy: Decimal
    liquidity: Decimal
    closed_at: datetime | None
    resolution_version: int
    resolution_source: str
    evidence_text: str | None
    evidence_url: str | None
    dispute_until: datetime | None
    dispute_reason: str | None
    next_dispute_bond: Decimal
    held_until: datetime | None
    void_reason: str | None
    settled: bool
    residual: Decimal
    position: int
    time: datetime
    odds: dict[str, Decimal]
    last_prices: dict[str, Decimal]
    change_24h: dict[str, Decimal]
    resolutions: list[ResolutionWording]


class WrittenSetsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The sets that an account split or merged, and its positions in the market afterwards."""

    account_id: str
    market_id: str
    amount: Decimal
    positions: list[AccountPosition]
    position: int


class WrittenStoryWithMarkets(msgspec.Struct, frozen=True, kw_only=True):
    """A story; `position` and `time` are those of its event in the log, `published_at` is the time of the report."""

    story_id: str
    slug: str
    title: str
    body: str
    category: str
    published_at: datetime
    source_url: str | None
    position: int
    time: datetime
    markets: list[Market]


class WrittenWebhookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook after a write.

    Webhooks are not in the log: `position` is the end of the log at that moment.
    """

    webhook_id: str
    url: str
    lifecycle: bool
    min_cost: Decimal | None
    fills_of: str | None
    status: str
    delivered_position: int
    created_at: datetime
    delivered_at: datetime | None
    failing_since: datetime | None
    next_attempt_at: datetime | None
    last_error: str | None
    disabled_at: datetime | None
    position: int
