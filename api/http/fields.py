"""Fields of request bodies, as pydantic types with the limits that `messages.fields` sets for commands.

Amounts become integers of 1e-6 and times integers of microseconds here: no code behind this file sees a number as a string.
The error of a field names the field and its limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from domain.account import OpenAccount
from domain.market import AddLiquidity, DetermineMarket, DisputeMarket, Evidence, OpenMarket
from domain.orders import PlaceOrder
from domain.story import PublishStory
from messages.fields import InvalidCommand, record

if TYPE_CHECKING:
    from messages.fields import Rule


def _ruled(rule: Rule) -> tuple[PlainValidator, WithJsonSchema]:
    """Return the annotations of a type with the limits of this rule."""

    def parse(value: Any) -> Any:
        try:
            return rule.parse(value, "")
        except InvalidCommand as error:
            # `within` is the place inside the field, as "[2]", of a problem with one item of a list.
            problem = str(error).removeprefix(error.field).strip()
            raise PydanticCustomError("rule", "{problem}", {"problem": problem, "within": error.field}) from None

    return PlainValidator(parse), WithJsonSchema(rule.schema())


def _of(command: type, field: str) -> tuple[PlainValidator, WithJsonSchema]:
    return _ruled(record(command).rules[field])


Reference = Annotated[str, *_of(OpenAccount, "name")]
"""An id, a slug or a name."""

AccountName = Annotated[str, *_of(OpenAccount, "name")]
Amount = Annotated[int, *_of(AddLiquidity, "amount")]
"""Credits or shares, more than 0."""

Guard = Annotated[int, *_ruled(record(PlaceOrder).rules["min_proceeds"].rule)]
"""Credits, 0 included."""

Price = Annotated[int, *_ruled(record(PlaceOrder).rules["limit_price"].rule)]
"""From 0 to 1; the rules of the market check whether it is on the tick."""

Fraction = Annotated[int, *_of(OpenMarket, "fee_rate")]
Moment = Annotated[int, *_of(OpenMarket, "close_time")]
"""RFC 3339 on the wire, microseconds inside."""

ClientOrderId = Annotated[str, *_of(PlaceOrder, "client_order_id")]
Outcome = Annotated[str, *_of(PlaceOrder, "outcome")]
Outcomes = Annotated[tuple[str, ...], *_of(OpenMarket, "outcomes")]
Prices = Annotated[tuple[int, ...], *_of(OpenMarket, "initial_prices")]
Payouts = Annotated[tuple[Any, ...], *_of(DetermineMarket, "payouts")]
DisputeSeconds = Annotated[int, *_of(OpenMarket, "dispute_seconds")]
Bond = Annotated[int, *_of(OpenMarket, "dispute_bond")]
Slug = Annotated[str, *_of(OpenMarket, "slug")]
Question = Annotated[str, *_of(OpenMarket, "question")]
ResolutionSource = Annotated[str, *_of(OpenMarket, "resolution_source")]
EvidenceText = Annotated[str, *_of(Evidence, "text")]
Reason = Annotated[str, *_of(DisputeMarket, "reason")]
Title = Annotated[str, *_of(PublishStory, "title")]
StoryText = Annotated[str, *_of(PublishStory, "body")]
CategoryName = Annotated[str, *_of(PublishStory, "category")]
Url = Annotated[str, *_ruled(record(PublishStory).rules["source_url"].rule)]


class RequestBody(BaseModel):
    """A request body: unknown fields are refused, and no type is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
