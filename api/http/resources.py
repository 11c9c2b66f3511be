"""The schemas of resources that routes assemble from rows, derived from the types of these rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from api.http.answers import FillAnswer, OutcomeState
from api.http.labels import COLUMNS
from api.http.schemas import component, row_fields, schema_of
from domain.market import Status
from messages.wire import DECIMAL_SCHEMA, object_schema, summary
from projections.accounts import LedgerEntry, ValuedAccount
from projections.candles import Candle
from projections.markets.listing import SPARKS
from projections.markets.tables import MarketRow, ResolutionWording
from projections.orders import Order
from projections.positions.leaderboard import Profit, Standing
from projections.positions.positions import AccountSettlement, Holder, Position
from projections.stories import StoryRow
from projections.trades.trades import AccountFill, Trade

if TYPE_CHECKING:
    from messages.wire import Schema


_STATUS: Final[Schema] = {"enum": [status.value for status in Status]}
_TEXT: Final[Schema] = {"type": "string"}


def _market() -> dict[str, Schema]:
    """Return the properties of a market as `market_json` makes them from its row."""
    fields, _ = row_fields(MarketRow)
    for column in ("payouts", "prices", "initial_prices", "disputed_by"):
        del fields[column]
    by_outcome: Schema = {"type": "object", "additionalProperties": DECIMAL_SCHEMA}
    return fields | {
        "status": _STATUS,
        "outcomes": {"type": "array", "items": schema_of(OutcomeState)},
        "open_interest": fields.pop("largest_interest"),
        "odds": by_outcome | {"description": "the price of each outcome, and its payout once the market is finalized"},
        "last_prices": by_outcome | {"description": "the price of each outcome"},
        "change_24h": by_outcome
        | {"description": "by how much each price has changed in 24 hours, or since the draft"},
    }


def _resource(name: str, properties: dict[str, Schema], row_type: Any) -> Schema:
    return component(name, object_schema(properties, list(properties), summary(row_type)))


def _labelled(fields: dict[str, Schema]) -> dict[str, Schema]:
    """Return the properties of a row with those that `Labels.add` puts beside its ids."""
    return fields | {label: fields[column] for column, label in COLUMNS.items() if column in fields}


def _row_with_labels(name: str, row_type: Any) -> Schema:
    return _resource(name, _labelled(row_fields(row_type)[0]), row_type)


MARKET: Final = _resource("Market", _market(), MarketRow)
"""A market as lists and writes show it."""


def _listed_market() -> Schema:
    points: Schema = {"type": "array", "items": {"anyOf": [DECIMAL_SCHEMA, {"type": "null"}]}}
    about = f"with `with=sparkline`: the price of each outcome at {SPARKS} times of the last 7 days, oldest first"
    more: Schema = {"type": "object", "additionalProperties": points, "description": about}
    fields = _market()
    return component("ListedMarket", object_schema(fields | {"sparkline": more}, list(fields), summary(MarketRow)))


LISTED_MARKET: Final = _listed_market()
"""A market as the list of markets shows it."""

MARKET_WITH_WORDINGS: Final = _resource(
    "MarketWithWordings",
    _market() | {"resolutions": {"type": "array", "items": schema_of(ResolutionWording)}},
    MarketRow,
)
"""A market with all wordings of its resolution source."""

STORY_WITH_MARKETS: Final = _resource(
    "StoryWithMarkets", row_fields(StoryRow)[0] | {"markets": {"type": "array", "items": MARKET}}, StoryRow
)
"""A story with its markets."""

_STANDING: Final = row_fields(Standing)[0]
STANDING: Final = _resource("Standing", _STANDING | {"account": _STANDING.pop("name")}, Standing)
"""A line of the leaderboard as `standing_json` makes it."""

CANDLE: Final = _resource("OutcomeCandle", {"outcome": {"type": "string"}} | row_fields(Candle)[0], Candle)
"""A candle of an outcome."""


CANDLES_OF_MARKET: Final = _resource(
    "CandlesOfMarket", {"market_id": _TEXT, "market": _TEXT, "candlesticks": {"type": "array", "items": CANDLE}}, Candle
)
"""The candles of a market; `market` is its slug."""


def _trade() -> dict[str, Schema]:
    """Return the properties of a trade as `trade_json` makes them from its row: its parties are private."""
    fields, _ = row_fields(Trade)
    return _labelled(fields | {name: {"type": ["string", "null"]} for name in ("account_id", "order_id")})


TRADE: Final = _resource("Trade", _trade(), Trade)
"""A trade. Who is no party to it sees neither the accounts nor the orders."""


def _account() -> dict[str, Schema]:
    """Return the properties of an account as `profile` makes them."""
    about = "the available credits without gains that could still be taken back"
    withdrawable = DECIMAL_SCHEMA | {"description": about}
    return row_fields(ValuedAccount)[0] | {"withdrawable": withdrawable} | row_fields(Profit)[0]


ACCOUNT: Final = _resource("Account", _account(), ValuedAccount)
"""An account with its profit."""


def _order() -> dict[str, Schema]:
    """Return the properties of an order as `order_json` makes them from its row."""
    fields, _ = row_fields(Order)
    return fields | {"filled_quantity": fields.pop("filled"), "remaining_quantity": fields.pop("remaining")}


ORDER: Final = _resource("Order", _labelled(_order()), Order)
"""An order as reads show it."""

POSITION: Final = _row_with_labels("AccountPosition", Position)
SETS: Final = component(
    "SetsAnswer",
    object_schema(
        {
            "account_id": _TEXT,
            "market_id": _TEXT,
            "amount": DECIMAL_SCHEMA,
            "positions": {"type": "array", "items": POSITION},
        },
        ["account_id", "market_id", "amount", "positions"],
        "The sets that an account split or merged, and its positions in the market afterwards.",
    ),
)
HOLDER: Final = _row_with_labels("Holder", Holder)
FILL: Final = _row_with_labels("AccountFill", AccountFill)
SETTLEMENT: Final = _row_with_labels("AccountSettlement", AccountSettlement)
LEDGER_ENTRY: Final = _row_with_labels("LedgerEntry", LedgerEntry)


def _portfolio() -> dict[str, Schema]:
    """Return the properties of a portfolio as `get_portfolio` makes it."""
    about = {
        **dict.fromkeys(("question", "story_id", "story", "title"), _TEXT),
        "status": _STATUS,
        "outcomes": {"type": "array", "items": _TEXT},
    }
    held = _resource("HeldPosition", _labelled(row_fields(Position)[0]) | about, Position)
    return _account() | {"positions": {"type": "array", "items": held}, "orders": {"type": "array", "items": ORDER}}


PORTFOLIO: Final = _resource("Portfolio", _portfolio(), ValuedAccount)
"""An account with its profit, its open positions (`story` is the slug of the story, `title` its title) and its open orders."""

AMENDED_ORDER: Final = _resource(
    "AmendedOrder",
    _order()
    | {
        "fills": {"type": "array", "items": schema_of(FillAnswer)},
        "prices": {"type": "array", "items": DECIMAL_SCHEMA},
    },
    Order,
)
"""An order after its amendment, with the fills of the amendment and the prices of all outcomes afterwards."""
