"""The order ticket: a form that is reviewed with the engine's quote, then confirmed. Prices are always the engine's.

What is confirmed is exactly what was shown: so many shares, for at most the quoted cost and a tolerance. The form's id of the
order stays for a retry, so that a double click, a reload or a lost answer is one order.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from api.http.errors import ApiError
from api.http.routes.orders import place
from api.page.languages import translate as _
from api.page.problem_words import problem_words
from domain.market import Status
from domain.money import MICRO, divide_up, format_decimal, parse_decimal
from domain.reservations import reserved_cash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from api.http.auth import Principal
    from api.page.cards import MarketCard
    from domain.money import Credits, Price, Shares

TOLERANCE_DEFAULT: Final = "2"
"""By how many percent the cost may differ from the quote."""

BIG_MOVE: Final = MICRO // 5
"""The move of odds from which an order is asked for twice."""

NUMBER_MAX: Final = 30
"""The most characters of a number in the form."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The fields of the form, as they were typed; `kind` is `market` or `limit`, `sure` says that a warning was seen."""

    client_order_id: str
    side: str = "buy"
    outcome: str | None = None
    kind: str = "market"
    amount: str = ""
    price: str = ""
    tolerance: str = TOLERANCE_DEFAULT
    quantity: str = ""
    bound: str = ""
    sure: bool = False

    @property
    def buys(self) -> bool:
        """Whether it buys."""
        return self.side == "buy"


@dataclass(frozen=True, slots=True)
class Preview:
    """What an order would do now. `total` is what a buyer pays or a seller gets, with the fee; `bound` its worst value.

    `before` and `after` are the odds of the outcome. `held` is what a buyer has set aside for the shares that wait.
    """

    shares: Shares
    rests: Shares
    held: Credits
    average: Price | None
    cost: Credits
    fee: Credits
    total: Credits
    bound: Credits
    before: Price
    after: Price
    left: Credits | None
    position: int
    is_big: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an order was not placed: the field of the form that it is about, words, and the code of the API."""

    field: Literal["amount", "price", "tolerance", "outcome", "order"]
    text: str
    code: str


def new_order_id() -> str:
    """Return the id of the next order of a form."""
    return f"page-{secrets.token_urlsafe(12)}"


def ticket_of(form: Mapping[str, str]) -> Ticket:
    """Return the ticket in a form; fields that are missing have their defaults."""
    given = {name: form[name][:200] for name in Ticket.__dataclass_fields__ if name in form and name != "sure"}
    ticket = Ticket(**{"client_order_id": new_order_id()} | given, sure=form.get("sure") == "1")
    if ticket.side not in {"buy", "sell"} or ticket.kind not in {"market", "limit"}:
        raise ApiError("INVALID_FIELD", "side must be buy or sell, kind must be market or limit", {"field": "side"})
    return ticket


async def preview(
    request: Request, principal: Principal, ticket: Ticket, card: MarketCard, available: Credits | None
) -> Preview:
    """Return what the engine says the order would do now; raises ApiError for a refusal, ValueError for a field."""
    _check_open(card)
    outcome = next((each for each in card.outcomes if each.name == ticket.outcome), None)
    if outcome is None:
        raise FieldError("outcome", _("Choose an outcome."))
    tolerance = _number("tolerance", ticket.tolerance, least=0)
    order = _order(ticket, card, amount=_number("amount", ticket.amount))
    _status, quote = await place(
        request, principal, msgspec.json.encode({**order, "client_order_id": "quote", "dry_run": True})
    )
    cost, fee = parse_decimal(quote["cost"]), parse_decimal(quote["fee"])
    shares = parse_decimal(quote["filled_quantity"])
    total = cost + fee if ticket.buys else cost - fee
    part = min(tolerance, 100 * MICRO)
    slack = divide_up(total * part, 100 * MICRO)
    bound = total + slack if ticket.buys else total - slack
    before = card.row.prices[outcome.index]
    after = parse_decimal(quote["prices"][outcome.index]) if quote["prices"] else before
    left = None if available is None else available - total if ticket.buys else available + total
    is_big = abs(after - before) > BIG_MOVE or (ticket.buys and available is not None and 2 * total > available)
    average = quote["average_price"]
    rests = held = 0
    if ticket.kind == "limit" and quote["status"] in RESTING:
        rests = parse_decimal(quote["remaining_quantity"])
        held = reserved_cash(card.row.fee_rate, parse_decimal(order["limit_price"]), rests) if ticket.buys else 0
    left = None if left is None else left - held
    return Preview(
        shares, rests, held, None if average is None else parse_decimal(average), cost, fee, total, bound, before, after, left,
        quote["position"], is_big,
    )  # fmt: skip


RESTING: Final = frozenset({"resting", "partially_filled"})
"""The statuses of a limit order that goes on waiting in the book."""


async def confirm(request: Request, principal: Principal, ticket: Ticket, card: MarketCard) -> dict[str, Any]:
    """Place the order that was reviewed, and return the API's answer; raises ApiError for a refusal."""
    order = _order(ticket, card, amount=_number("amount", ticket.amount))
    if ticket.kind == "market":
        order.pop("spend", None)
        order["quantity"] = format_decimal(_number("amount", ticket.quantity))
        bound = format_decimal(_number("tolerance", ticket.bound, least=0))
        order["max_cost" if ticket.buys else "min_proceeds"] = bound
    _status, placed = await place(
        request, principal, msgspec.json.encode({**order, "client_order_id": ticket.client_order_id})
    )
    return placed


class FieldError(Exception):
    """A field of the form cannot be used; `text` says why."""

    def __init__(self, field: Literal["amount", "price", "tolerance", "outcome", "order"], text: str) -> None:
        super().__init__(text)
        self.field = field
        self.text = text


def problem_of(error: ApiError | FieldError) -> Problem:
    """Return an error in words, beside the field that it is about."""
    if isinstance(error, FieldError):
        return Problem(error.field, error.text, "INVALID_FIELD")
    about: Literal["amount", "price", "order"] = "order"
    if error.code in {"INSUFFICIENT_FUNDS", "INSUFFICIENT_SHARES", "REDUCE_ONLY", "ORDER_TOO_SMALL", "SLIPPAGE"}:
        about = "amount"
    elif error.code == "INVALID_PRICE" or error.details.get("field") == "limit_price":
        about = "price"
    elif error.details.get("field") in {"quantity", "spend", "max_cost", "min_proceeds"}:
        about = "amount"
    elif error.details.get("field") == "reason":
        return Problem(about, _("Say what is wrong."), error.code)
    return Problem(about, problem_words(error.code, error.details), error.code)


def reviewed(ticket: Ticket) -> str:
    """Return the fields that a review was about: whoever changes one and presses Enter gets another review, not an order."""
    return "|".join((ticket.side, ticket.outcome or "", ticket.kind, ticket.amount, ticket.price, ticket.tolerance))


def form_values(ticket: Ticket) -> dict[str, Any]:
    """Return what the template shows in the fields again."""
    return asdict(ticket)


def _check_open(card: MarketCard) -> None:
    if card.row.status != Status.ACTIVE:
        raise ApiError("MARKET_NOT_ACTIVE", "the market takes no orders now")


def _order(ticket: Ticket, card: MarketCard, amount: int) -> dict[str, Any]:
    """Return the API's order: a market order for credits or of shares, or a limit order that rests until it is canceled."""
    order: dict[str, Any] = {
        "market_id": card.row.market_id,
        "outcome": ticket.outcome,
        "side": ticket.side,
        "type": ticket.kind,
        "reduce_only": not ticket.buys,
    }
    if ticket.kind == "limit":
        percents = _number("price", ticket.price)
        return order | {"quantity": format_decimal(amount), "limit_price": format_decimal(percents // 100)}
    return order | ({"spend": format_decimal(amount)} if ticket.buys else {"quantity": format_decimal(amount)})


def _number(field: Literal["amount", "price", "tolerance"], text: str, least: int = 1) -> int:
    """Return the micro-units of a number that somebody typed, with a comma or a point; raises FieldError."""
    cleaned = text.replace("\u202f", "").replace(" ", "").replace(",", ".")
    if len(cleaned) > NUMBER_MAX:
        raise FieldError(field, _("That number is too long."))
    try:
        whole, _point, decimals = cleaned.partition(".")
        number = parse_decimal(f"{whole.lstrip('0') or '0'}.{decimals[:6]}" if decimals else whole.lstrip("0") or "0")
    except ValueError:
        raise FieldError(field, _("Type a number, such as 25 or 12.50.")) from None
    if number < least:
        raise FieldError(field, _("Type a number above zero."))
    return number
