"""Command codecs: JSON of a command's fields, to and from the domain's value.

A command codec is derived from the command's type. Each field gets its field codec (`messages.fields`) by its name, or
else by its type hint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from domain.account import OpenAccount
from domain.assignments import AssignPartition
from domain.invitations import USES_MAX, AcceptInvitation, CreateInvitation
from domain.market import DISPUTE_SECONDS_MAX, OUTCOMES_MAX, OpenMarket
from domain.money import AMOUNT_MAX, MICRO
from domain.orders import PlaceOrder
from domain.placement import PARTITION_MAX
from domain.story import STORY_MARKETS_MAX, PublishStory
from domain.values import Value
from messages.fields import (
    CLIENT_ORDER_ID,
    FRACTION,
    HASH,
    ID,
    OUTCOME,
    SLUG,
    URL,
    Amount,
    Choice,
    FieldCodec,
    Flag,
    InvalidCommand,
    Items,
    Moment,
    Nullable,
    Whole,
    line,
    prose,
)
from messages.name_fields import NAME, Outcomes, Payouts
from messages.wire import TIME_MARK, Schema, fields_of, is_value, mark_of, object_schema, summary, without_none

_BY_NAME: Final[Mapping[str, FieldCodec]] = {
    "story_id": ID,
    "market_id": ID,
    "account_id": ID,
    "order_id": ID,
    "invitation_id": ID,
    "client_order_id": CLIENT_ORDER_ID,
    "slug": SLUG,
    "title": line(300),
    "name": NAME,
    "category": line(64),
    "question": line(500),
    "outcome": OUTCOME,
    "body": prose(20_000),
    "text": prose(10_000),
    "resolution_source": prose(2_000),
    "reason": prose(2_000),
    "source_url": URL,
    "url": URL,
    "outcomes": Outcomes(),
    "initial_prices": Items(Amount(0, MICRO), OUTCOMES_MAX),
    "payouts": Payouts(),
    "dispute_seconds": Whole(DISPUTE_SECONDS_MAX),
    "min_proceeds": Amount(0, AMOUNT_MAX),
    "dispute_bond": Amount(0, AMOUNT_MAX),
    "bond": Amount(0, AMOUNT_MAX),
    "credits": Amount(0, AMOUNT_MAX),
    "uses": Whole(USES_MAX),
    "partition": Whole(PARTITION_MAX),
    "to_partition": Whole(PARTITION_MAX),
    "secret_hash": HASH,
    "key_hash": HASH,
    "key_id": ID,
}

_BY_MARK: Final[Mapping[str, FieldCodec]] = {
    "credits": Amount(1, AMOUNT_MAX),
    "shares": Amount(1, AMOUNT_MAX),
    "price": Amount(0, MICRO),
    "fraction": FRACTION,
    TIME_MARK: Moment(),
}

SERVER_ASSIGNED: Final[Mapping[type, tuple[str, ...]]] = {
    PublishStory: ("story_id", "derived_slug"),
    OpenMarket: ("market_id", "derived_slug"),
    OpenAccount: ("account_id", "name_key"),
    AssignPartition: ("name_key",),
    CreateInvitation: ("invitation_id",),
    AcceptInvitation: ("account_id", "name_key"),
    PlaceOrder: ("order_id",),
}
"""The fields that are not on the wire: they follow from the command's id and its other fields (`messages.ids.with_ids`)."""

_SERVER_ASSIGNED_INSIDE: Final = {**SERVER_ASSIGNED, OpenMarket: ("market_id", "story_id", "derived_slug")}
"""The same for a command that stands inside another one."""


@dataclass(frozen=True)
class CommandCodec:
    """Reads, checks, writes and describes a command, or a value inside of one: an object on the wire.

    `fields` are those on the wire, in the order of the type. `defaults` has those that may be missing, with their
    values: what may be null may be missing too. `required` has the others. `server_assigned` fields are not on the wire.
    """

    cls: type[Value]
    fields: Mapping[str, FieldCodec]
    required: tuple[str, ...]
    defaults: Mapping[str, Any]
    server_assigned: tuple[str, ...]

    def parse(self, wire: Any, path: str) -> Any:
        """Return the value; its server-assigned fields are empty, for the caller to fill in. Raises InvalidCommand."""
        return self.cls(**dict.fromkeys(self.server_assigned, ""), **{**self.defaults, **self._values(wire, path)})

    def check(self, value: Any, path: str) -> None:
        """Raise InvalidCommand when a field breaks a limit."""
        prefix = f"{path}." if path else ""
        for name, codec in self.fields.items():
            codec.check(getattr(value, name), f"{prefix}{name}")

    def dump(self, value: Any) -> dict[str, Any]:
        """Return the object, without the fields that have their defaults."""
        return {
            name: codec.dump(getattr(value, name))
            for name, codec in self.fields.items()
            if name not in self.defaults or getattr(value, name) != self.defaults[name]
        }

    def schema(self) -> Schema:
        """Return the JSON Schema of the object."""
        properties = {name: codec.schema() for name, codec in self.fields.items()}
        return object_schema(properties, list(self.required), summary(self.cls))

    def _values(self, wire: Any, path: str) -> dict[str, Any]:
        prefix = f"{path}." if path else ""
        if not isinstance(wire, dict):
            raise InvalidCommand(path or "data", "must be an object")
        for name in wire:
            if name not in self.fields:
                raise InvalidCommand(f"{prefix}{name[:64]}", "is not a field here")
        for name in self.required:
            if name not in wire:
                raise InvalidCommand(f"{prefix}{name}", "is missing")
        return {name: codec.parse(wire[name], f"{prefix}{name}") for name, codec in self.fields.items() if name in wire}


def command_codec(cls: type[Value]) -> CommandCodec:
    """Return the codec of a type of command."""
    return _codec_of_value(cls, SERVER_ASSIGNED.get(cls, ()))


@cache
def _codec_of_value(cls: type[Value], server_assigned: tuple[str, ...]) -> CommandCodec:
    fields = {name: _codec_of_field(name, hint) for name, hint in fields_of(cls).items() if name not in server_assigned}
    defaults = {
        field.name: None if field.required else field.default
        for field in msgspec.structs.fields(cls)
        if field.name in fields and (not field.required or isinstance(fields[field.name], Nullable))
    }
    return CommandCodec(cls, fields, tuple(name for name in fields if name not in defaults), defaults, server_assigned)


def _codec_of_field(name: str, hint: Any) -> FieldCodec:
    hint, optional = without_none(hint)
    codec = _BY_NAME.get(name) or _codec_of_type(hint)
    return Nullable(codec) if optional else codec


def _codec_of_type(hint: Any) -> FieldCodec:
    mark = mark_of(hint)
    if mark is not None:
        return _BY_MARK[mark]
    if hint is bool:
        return Flag()
    if get_origin(hint) is Literal:
        return Choice(get_args(hint))
    if get_origin(hint) is tuple:
        return Items(_codec_of_type(get_args(hint)[0]), STORY_MARKETS_MAX)
    assert is_value(hint), "a text has a codec by its field's name"
    return _codec_of_value(hint, _SERVER_ASSIGNED_INSIDE.get(hint, ()))
