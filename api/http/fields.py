"""The types of fields in request bodies: the commands' field codecs (`messages.fields`), told to pydantic.

So the limits of a field, and its part of OpenAPI, come from one place. Amounts become integers of 1e-6 and times
integers of microseconds at once: no code behind this file sees a number as a string. An error names the field and its
limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from domain.account import OpenAccount
from domain.invitations import CreateInvitation
from domain.market import AddLiquidity, DetermineMarket, DisputeMarket, Evidence, OpenMarket
from domain.orders import PlaceOrder
from domain.story import PublishStory
from messages.codecs import command_codec
from messages.fields import REFERENCE, FieldCodec, InvalidCommand, Nullable
from messages.wire import fields_of, without_none

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from domain.values import Value


def _like(command: type[Value], field: str) -> tuple[PlainValidator, WithJsonSchema]:
    """Return the annotations that hold a type to the codec of this field; whether null is allowed, the type says."""
    codec = command_codec(command).fields[field]
    return _held_to(codec.codec if isinstance(codec, Nullable) else codec)


def _held_to(codec: FieldCodec) -> tuple[PlainValidator, WithJsonSchema]:
    """Return the annotations that hold a type to this codec."""

    def parse(value: Any) -> Any:
        try:
            return codec.parse(value, "")
        except InvalidCommand as error:
            # `within` is the place inside the field, as "[2]", of a problem with one item of a list.
            problem = str(error).removeprefix(error.field).strip()
            raise PydanticCustomError("rule", "{problem}", {"problem": problem, "within": error.field}) from None

    return PlainValidator(parse), WithJsonSchema(codec.schema())


Reference = Annotated[str, *_held_to(REFERENCE)]
"""An id, a slug or a name."""

KeyName = Annotated[str, *_held_to(REFERENCE)]
"""A name for people, which nothing looks up."""

AccountName = Annotated[str, *_like(OpenAccount, "name")]
Amount = Annotated[int, *_like(AddLiquidity, "amount")]
"""Credits or shares, more than 0."""

Amount0 = Annotated[int, *_like(CreateInvitation, "credits")]
"""Credits, 0 or more."""

InvitationUses = Annotated[int, *_like(CreateInvitation, "uses")]
Price = Annotated[int, *_like(PlaceOrder, "limit_price")]
"""From 0 to 1. The rules of the market say whether it is on a tick."""

Fraction = Annotated[int, *_like(OpenMarket, "fee_rate")]
Moment = Annotated[int, *_like(OpenMarket, "close_time")]
"""RFC 3339 on the wire, microseconds inside."""

ClientOrderId = Annotated[str, *_like(PlaceOrder, "client_order_id")]
Outcomes = Annotated[tuple[str, ...], *_like(OpenMarket, "outcomes")]
Prices = Annotated[tuple[int, ...], *_like(OpenMarket, "initial_prices")]
Payouts = Annotated[tuple[Any, ...], *_like(DetermineMarket, "payouts")]
DisputeSeconds = Annotated[int, *_like(OpenMarket, "dispute_seconds")]
Bond = Annotated[int, *_like(OpenMarket, "dispute_bond")]
Slug = Annotated[str, *_like(OpenMarket, "slug")]
Question = Annotated[str, *_like(OpenMarket, "question")]
ResolutionSource = Annotated[str, *_like(OpenMarket, "resolution_source")]
EvidenceText = Annotated[str, *_like(Evidence, "text")]
Reason = Annotated[str, *_like(DisputeMarket, "reason")]
Title = Annotated[str, *_like(PublishStory, "title")]
StoryText = Annotated[str, *_like(PublishStory, "body")]
CategoryName = Annotated[str, *_like(PublishStory, "category")]
Url = Annotated[str, *_like(PublishStory, "source_url")]


class RequestBody(BaseModel):
    """A request body: unknown fields are refused, and no type is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EmptyBody(RequestBody):
    """No fields."""


BodyT = TypeVar("BodyT", bound=RequestBody)


def with_fields_of(
    command: type[Value], but: tuple[str, ...], about: Mapping[str, str]
) -> Callable[[type[BodyT]], type[BodyT]]:
    """Return a class decorator that adds the fields of a command after the body's own.

    `but` names the fields to leave out, `about` has descriptions for OpenAPI. A field keeps its name and its default.
    """
    codec = command_codec(command)
    fields: dict[str, Any] = {
        name: (_hint_of(command, name), Field(codec.defaults.get(name, ...), description=about.get(name)))
        for name in codec.fields
        if name not in but
    }

    def extend(body: type[BodyT]) -> type[BodyT]:
        extended: type[BodyT] = create_model(
            body.__name__, __base__=body, __doc__=body.__doc__, __module__=body.__module__, **fields
        )
        return extended

    return extend


def _hint_of(command: type[Value], field: str) -> Any:
    """Return the type of a field for pydantic. Flags and choices need no codec: pydantic checks them itself."""
    hint, optional = without_none(fields_of(command)[field])
    if hint is not bool and get_origin(hint) is not Literal:
        hint = Annotated[hint, *_like(command, field)]
    return hint | None if optional else hint
