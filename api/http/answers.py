"""The forms of answers that are not rows of a read model, for the OpenAPI document; nothing checks them at run time.

The integers of these dictionaries stand in JSON as their marks say: amounts as decimal strings, times in RFC 3339.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from api.key_store import Role
from domain.money import Credits, Fraction, Price, Shares, Time
from projections.book import OutcomeBook
from projections.forms import Count, CreditsSum

Moment = Annotated[str, "time"]
"""A time in RFC 3339, or null where nothing has happened yet."""

ErrorCode = Annotated[str, "code"]
"""One of the codes of `errors.CODES`."""

Side = Literal["buy", "sell"]


class AnswerMoment(TypedDict):
    """The position of the log that an answer stands for, and the time of that event; null while the log is empty."""

    position: Count
    time: Time | None


class OutcomeState(TypedDict):
    """An outcome of a market; `payout` is what a share pays, null before there are payouts."""

    outcome: str
    price: Price
    initial_price: Price
    open_interest: Shares
    payout: Fraction | None


class PricePoint(TypedDict):
    """The price `p` of an outcome from the time `t` and this position on."""

    t: Time
    p: Price
    position: Count


class PriceHistory(TypedDict):
    """Prices of an outcome, oldest first."""

    outcome: str
    history: list[PricePoint]


class PriceHistories(TypedDict):
    """Prices of every outcome."""

    histories: list[PriceHistory]


class HistoriesOfMarket(PriceHistories):
    """Prices of every outcome of a market."""

    market_id: str
    market: str


class BooksOfMarket(TypedDict):
    """The books of a market, one for each outcome."""

    market_id: str
    market: str
    books: list[OutcomeBook]


class LedgerBooks(TypedDict):
    """The sum of each book, and the sum of all books: always 0."""

    books: dict[str, Credits]
    sum: Credits


class FillAnswer(TypedDict):
    """A fill of an order, with the AMM or with a resting order of the book."""

    price: Price
    quantity: Shares
    source: Literal["amm", "book"]


class QuoteAnswer(TypedDict):
    """What an order would do now; `prices` are those of all outcomes afterwards, empty where nothing trades."""

    account_id: str
    market_id: str
    outcome: str
    side: Side
    type: Literal["market", "limit"]
    time_in_force: NotRequired[str]
    limit_price: Price | None
    quantity: Shares | None
    spend: NotRequired[Credits | None]
    status: Literal["filled", "partially_filled", "resting", "canceled", "rejected"]
    reason: str | None
    filled_quantity: Shares
    remaining_quantity: Shares
    average_price: Price | None
    cost: Credits
    fee: Credits
    fills: list[FillAnswer]
    prices: list[Price]
    position: Count


class OrderAnswer(QuoteAnswer):
    """What an order did at once; `prices` are those of all outcomes afterwards."""

    order_id: str
    client_order_id: str


class CanceledOrder(TypedDict):
    """An order that was canceled."""

    order_id: str
    client_order_id: str
    account_id: str
    market_id: str
    outcome: str
    side: Side
    status: Literal["canceled"]
    filled_quantity: Shares
    remaining_quantity: Shares


class CanceledOrderAnswer(CanceledOrder):
    """The order that a request canceled."""

    position: Count


class CancelAnswer(TypedDict):
    """The orders that were canceled; none, one or many."""

    canceled: list[CanceledOrder]
    position: Count


class ErrorAnswer(TypedDict):
    """An error. `code` keeps its name and meaning for ever; `message` is for people; `details` depend on the code."""

    code: ErrorCode
    message: str
    details: dict[str, Any]


class BatchErrorAnswer(ErrorAnswer):
    """The error of an order in a batch; `position` is null if the log does not have it."""

    position: Count | None


class BatchAnswer(TypedDict):
    """What each order of a batch did, or the error that it would have alone, in the order of the batch."""

    results: list[OrderAnswer | QuoteAnswer | BatchErrorAnswer]
    position: Count


class KeyAnswer(TypedDict):
    """An API key without its secret."""

    key_id: str
    prefix: str
    roles: list[Role]
    account_id: str | None
    name: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None


class WrittenKeyAnswer(KeyAnswer):
    """An API key after a write. Keys are not in the log: `position` is the end of the log at that moment."""

    position: Count


class NewKeyAnswer(WrittenKeyAnswer):
    """A new API key; only its first answer has its secret, in `key`."""

    key: str | None


class KeyPage(TypedDict):
    """All API keys."""

    data: list[KeyAnswer]
    next_cursor: str | None


class Me(TypedDict):
    """Who one is; `account` is the account's name. A key without an account, or whose account is not shown yet, has null."""

    key_id: str
    name: str
    roles: list[Role]
    account_id: str | None
    account: str | None
    expires_at: Moment | None


class NewInvitation(TypedDict):
    """A new invitation. `link` comes after the address of the exchange, and ends with the `code`."""

    invitation_id: str
    code: str
    link: str
    uses: Count
    expires_at: Time
    credits: Credits
    position: Count


class RevokedInvitation(TypedDict):
    """An invitation that lets nobody else in."""

    invitation_id: str
    position: Count


class AcceptedInvitation(TypedDict):
    """An account that an invitation opened, and its key: null once the key has been used."""

    invitation_id: str
    account_id: str
    name: str
    key_id: str
    key: str | None
    position: Count


class HealthAnswer(TypedDict):
    """Whether the process answers."""

    status: Literal["ok"]


class ReadyAnswer(TypedDict):
    """Whether the server can be used, and what is missing where it cannot."""

    status: Literal["ready", "not ready"]
    missing: NotRequired[list[str]]


class EnginePosition(TypedDict):
    """The last position of the log, and the time of that event."""

    position: Count
    time: Time | None


class ReadModelPosition(TypedDict):
    """How far a read model has folded the log, and its lag."""

    projection: str
    partition: Count
    position: Count
    time: Time | None
    version: Count
    lag_events: Count
    lag_seconds: float
    parked: Count


class StreamsStatus(TypedDict):
    """The open streams of this process. `position` is how far it has handed the log to them, null while nobody follows.

    `lag_events` is the number of positions from there to the log's end, `slowest_events` that of the slowest stream.
    """

    connections: Count
    position: Count | None
    lag_events: Count
    slowest_events: Count


class StatusAnswer(TypedDict):
    """The positions of the log, of the read models and of the streams.

    `lost` says how the log has lost events that the read models know. `streams` is null where none are served.
    """

    lost: str | None
    engine: EnginePosition
    projections: list[ReadModelPosition]
    streams: StreamsStatus | None


class PublicAccount(TypedDict):
    """What everybody may see of an account."""

    account_id: str
    name: str
    opened_at: Time


class PublicProfile(PublicAccount):
    """What everybody may see of an account and its profit: `pnl` is the sum of the other two."""

    pnl: CreditsSum
    realized: CreditsSum
    unrealized: CreditsSum


class WebhookAnswer(TypedDict):
    """A webhook without its secrets. `delivered_position` is the last position of the log that it is done with.

    A webhook is `failing` from its first failure until everything that waits has arrived, and `disabled` after a day of it.
    """

    webhook_id: str
    url: str
    lifecycle: bool
    min_cost: Credits | None
    fills_of: str | None
    status: Literal["active", "failing", "disabled"]
    delivered_position: Count
    created_at: Moment
    delivered_at: Moment | None
    failing_since: Moment | None
    next_attempt_at: Moment | None
    last_error: str | None
    disabled_at: Moment | None


class WrittenWebhookAnswer(WebhookAnswer):
    """A webhook after a write. Webhooks are not in the log: `position` is the end of the log at that moment."""

    position: Count


class NewWebhookAnswer(WrittenWebhookAnswer):
    """A webhook with a new secret, which no other answer has."""

    secret: str | None


class OneWebhook(TypedDict):
    """One webhook."""

    data: WebhookAnswer


class PingAnswer(TypedDict):
    """Whether a test message arrived, and if not, why."""

    webhook_id: str
    delivered: bool
    error: str | None


class WebhookPage(TypedDict):
    """All webhooks."""

    data: list[WebhookAnswer]
    next_cursor: str | None
