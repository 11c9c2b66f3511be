"""Commands as others send them: JSON with decimal strings, and the domain's values.

    {"command_id": "...", "type": "PlaceOrder", "at": "2024-10-24T10:02:00Z", "reply_to": "...", "data": {...}}

`command_id` is the sender's and makes a retry harmless; an order's is always `order:{account_id}:{client_order_id}`. `at` (the
sender's time, used only by an engine whose clock is the commands') and `reply_to` (echoed in the reply's record) are
optional. `data` has the command's fields; ids of what the command creates are not among them, they follow from `command_id`.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, get_args

import msgspec
from msgspec.structs import replace

from domain.account import OpenAccount
from domain.book import Side
from domain.market import OpenMarket
from domain.money import AMOUNT_MAX, MICRO, Time, format_decimal
from domain.orders import OrderType, PlaceOrder, SelfTradePrevention, TimeInForce
from domain.story import PublishStory
from messages.command_types import (
    COMMAND_ID_MAX,
    COMMANDS,
    RECORD_COMMANDS_MAX,
    AdvanceTime,
    Command,
    Envelope,
    OrderData,
    QuoteOrder,
    Submitted,
    UnreadableError,
    order_command_id,
)
from messages.fields import ID, InvalidCommand, Record, record
from messages.wire import format_time, parse_time

__all__ = [
    "COMMANDS",
    "COMMAND_ID_MAX",
    "RECORD_COMMANDS_MAX",
    "AdvanceTime",
    "Command",
    "InvalidCommand",
    "QuoteOrder",
    "Submitted",
    "UnreadableError",
    "check_command",
    "command_of",
    "digest_of",
    "dump_command",
    "dump_record",
    "dump_with_digest",
    "is_command_id",
    "new_id",
    "order_command_id",
    "parse_command",
    "parse_record",
    "record_parts",
    "with_ids",
]

_encode: Final = msgspec.json.Encoder().encode

RESERVED: Final = "due:"
"""Ids that begin so belong to what happens by itself."""


# --- ids


def new_id(prefix: str, command_id: str, number: int = 0) -> str:
    """Return the id of what a command creates: `or_` and 26 hex digits of a hash of the command's id.

    Prefixes: `st` stories, `mk` markets, `ac` accounts, `or` orders. `number` counts what one command creates of a kind
    (the markets of a story). The same command makes the same ids wherever and how often it is sent.
    """
    text = f"{command_id}#{number}" if number else command_id
    # 104 bits: a sender who looks for two ids that collide does not find them.
    return f"{prefix}_{hashlib.blake2b(text.encode(), digest_size=13).hexdigest()}"


def with_ids(command_id: str, command: Command) -> Command:
    """Return the command with the ids of what it creates filled in."""
    match command:
        case PlaceOrder():
            return replace(command, order_id=new_id("or", command_id))
        case OpenAccount():
            return replace(command, account_id=new_id("ac", command_id))
        case OpenMarket():
            return replace(command, market_id=new_id("mk", command_id))
        case PublishStory():
            story_id = new_id("st", command_id)
            markets = tuple(
                replace(market, story_id=story_id, market_id=new_id("mk", command_id, number))
                for number, market in enumerate(command.markets)
            )
            return replace(command, story_id=story_id, markets=markets)
        case _:
            return command


# --- digests


def digest_of(command: Command) -> str:
    """Return 16 hex digits that tell commands apart: equal for equal commands, whatever their id and spelling.

    What is as by default does not count, so that a field that is added later changes no digest.
    """
    return _digest(type(command).__name__, _dump_data(command))


def _digest(command_type: str, data: bytes) -> str:
    return hashlib.blake2b(command_type.encode() + data, digest_size=8).hexdigest()


def _record_of(command: Command) -> Record:
    return record(type(command))


# --- from the wire


# What decoding may raise: no JSON, no UTF-8 inside of a string, nested too deeply.
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_RECORD: Final = msgspec.json.Decoder(list[Envelope])
_ENVELOPE: Final = msgspec.json.Decoder(Envelope)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def parse_record(value: bytes) -> list[Submitted | UnreadableError]:
    """Return the commands of a record of the `commands` topic: one object, or an array of objects, in their order.

    What cannot be understood is an UnreadableError in its place. Raises UnreadableError when the whole value cannot be.
    """
    if not _is_array(value):
        return [_parse_or_error(value)]
    try:
        envelopes = _RECORD.decode(value)
        _check_count(len(envelopes))
        return [_submitted(envelope) for envelope in envelopes]
    except (*_UNDECODABLE, UnreadableError):
        pass
    return [_parse_or_error(part) for part in record_parts(value)]


def record_parts(value: bytes) -> list[bytes]:
    """Return the text of each command of a record. Raises UnreadableError when it is no array, or one too long."""
    if not _is_array(value):
        return [value]
    try:
        parts = _PARTS.decode(value)
    except _UNDECODABLE as error:
        raise UnreadableError(str(error)) from None
    _check_count(len(parts))
    return [bytes(part) for part in parts]


def _is_array(value: bytes) -> bool:
    return value.lstrip()[:1] == b"["


def _check_count(commands: int) -> None:
    if commands > RECORD_COMMANDS_MAX:
        raise UnreadableError(f"a record holds at most {RECORD_COMMANDS_MAX} commands, not {commands}")


def _parse_or_error(value: bytes) -> Submitted | UnreadableError:
    try:
        return parse_command(value)
    except UnreadableError as error:
        return error


def parse_command(value: bytes) -> Submitted:
    """Return one command. Raises UnreadableError; a command with an invalid field is returned with its refusal."""
    try:
        envelope = _ENVELOPE.decode(value)
    except _UNDECODABLE as error:
        raise UnreadableError(str(error)) from None
    return _submitted(envelope)


def _submitted(envelope: Envelope) -> Submitted:
    command_id, command_type, data = envelope.command_id, envelope.type, envelope.data
    if not is_command_id(command_id):
        raise UnreadableError(f"command_id must be 1 to {COMMAND_ID_MAX} printable characters, not beginning with due:")
    if command_type not in COMMANDS:
        raise UnreadableError("type is not the name of a command")
    command: Command | InvalidCommand
    try:
        at = None if envelope.at is None else _parse_at(envelope.at)
        if envelope.reply_to is not None:
            _check_reply_to(envelope.reply_to)
        if command_type == "PlaceOrder" and (usual := _usual_order(command_id, data)) is not None:
            command, digest = usual
        else:
            command = _parse_data(command_type, command_id, data)
            digest = digest_of(command)
        return Submitted(command_id, command, digest, at, envelope.reply_to, command_type)
    except InvalidCommand as error:
        return Submitted(command_id, error, _digest(command_type, bytes(data)), None, envelope.reply_to, command_type)


@lru_cache(maxsize=128)  # a sender has the same one in all its commands
def _check_reply_to(name: str) -> None:
    ID.check(name, "reply_to")


def is_command_id(command_id: str) -> bool:
    """Return whether a sender may choose this id."""
    return 1 <= len(command_id) <= COMMAND_ID_MAX and command_id.isprintable() and not command_id.startswith(RESERVED)


def _parse_at(text: str) -> Time:
    try:
        return parse_time(text)
    except ValueError as error:
        raise InvalidCommand("at", str(error)) from None


def _parse_data(command_type: str, command_id: str, data: msgspec.Raw) -> Command:
    try:
        values = msgspec.json.decode(data)
    except _UNDECODABLE as error:
        raise InvalidCommand("data", str(error)) from None
    return command_of(command_type, command_id, values)


def command_of(command_type: str, command_id: str, data: Mapping[str, Any]) -> Command:
    """Return the command of this type with these fields, in their wire form, and the ids that follow from `command_id`.

    Raises InvalidCommand, and KeyError for a type that is not in `COMMANDS`.
    """
    command: Command = record(COMMANDS[command_type]).parse(data, "")
    if isinstance(command, PlaceOrder):
        _check_order_id(command_id, command.account_id, command.client_order_id)
    return with_ids(command_id, command)


def check_command(command_id: str, command: Command) -> None:
    """Raise InvalidCommand when a field, or the id, of a command that was made in Python breaks a limit."""
    if not is_command_id(command_id):
        raise InvalidCommand(
            "command_id", f"must be 1 to {COMMAND_ID_MAX} printable characters", maximum=COMMAND_ID_MAX
        )
    if isinstance(command, PlaceOrder) and _has_usual_values(command) and _is_usual(command_id, command):
        return
    _record_of(command).check(command, "")
    if isinstance(command, PlaceOrder):
        _check_order_id(command_id, command.account_id, command.client_order_id)


def _check_order_id(command_id: str, account_id: str, client_order_id: str) -> None:
    if command_id != order_command_id(account_id, client_order_id):
        raise InvalidCommand("command_id", "of an order must be order:{account_id}:{client_order_id}")


# --- to the wire


def dump_command(command_id: str, command: Command, at: Time | None = None, reply_to: str | None = None) -> bytes:
    """Return the JSON of one command; several are joined by `dump_record`."""
    return dump_with_digest(command_id, command, at, reply_to)[0]


def dump_with_digest(
    command_id: str, command: Command, at: Time | None = None, reply_to: str | None = None
) -> tuple[bytes, str]:
    """Return the JSON of one command, and its digest (`digest_of`)."""
    name, data = type(command).__name__, _dump_data(command)
    moment = None if at is None else format_time(at)
    return _encode(Envelope(command_id, name, msgspec.Raw(data), moment, reply_to)), _digest(name, data)


def _dump_data(command: Command) -> bytes:
    return _encode(_order_data(command) if isinstance(command, PlaceOrder) else _record_of(command).dump(command))


def dump_record(commands: list[bytes]) -> bytes:
    """Return the value of one record that holds all these commands."""
    return b"[" + b",".join(commands) + b"]"


# --- orders: nearly all commands are orders, so they have a faster way, which must agree with the general one


_ORDER: Final = msgspec.json.Decoder(OrderData)

_SIDES: Final = frozenset(get_args(Side))
_TYPES: Final = frozenset(get_args(OrderType))
_USUAL_TIMES_IN_FORCE: Final = frozenset({None, *get_args(TimeInForce)})
_SELF_TRADE_PREVENTIONS: Final = frozenset(get_args(SelfTradePrevention))


def _order_data(order: PlaceOrder) -> OrderData:
    return OrderData(
        order.account_id,
        order.market_id,
        order.client_order_id,
        order.outcome,
        order.side,
        order.type,
        None if order.quantity is None else format_decimal(order.quantity),
        None if order.spend is None else format_decimal(order.spend),
        None if order.limit_price is None else format_decimal(order.limit_price),
        order.time_in_force,
        None if order.expires_at is None else format_time(order.expires_at),
        order.post_only,
        order.reduce_only,
        None if order.max_cost is None else format_decimal(order.max_cost),
        None if order.min_proceeds is None else format_decimal(order.min_proceeds),
        order.self_trade_prevention,
    )


def _usual_order(command_id: str, data: msgspec.Raw) -> tuple[PlaceOrder, str] | None:
    """Return the order and its digest where all is as usual, or None: the general way then judges it."""
    try:
        wire = _ORDER.decode(data)
        order = PlaceOrder(
            wire.account_id,
            wire.market_id,
            new_id("or", command_id),
            wire.client_order_id,
            wire.outcome,
            wire.side,
            wire.type,
            None if wire.quantity is None else _micros(wire.quantity),
            None if wire.spend is None else _micros(wire.spend),
            None if wire.limit_price is None else _micros(wire.limit_price),
            wire.time_in_force,
            None,
            wire.post_only,
            wire.reduce_only,
            None if wire.max_cost is None else _micros(wire.max_cost),
            None if wire.min_proceeds is None else _micros(wire.min_proceeds),
            wire.self_trade_prevention,
        )
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors too
        return None
    if wire.expires_at is None and _is_usual(command_id, order):
        return order, _digest("PlaceOrder", _encode(wire))  # with amounts like these it is what digest_of would hash
    return None


def _micros(text: str) -> int:
    """Return the micro-units of an amount that is written with 6 decimals and is above 0 and not large."""
    digits = text[:-7] + text[-6:]
    if len(text) < 17 and text[-7:-6] == "." and digits.isdecimal() and digits.isascii():
        value = int(digits)
        if (value >= MICRO and text[0] != "0") or (value > 0 and len(text) == 8):
            return value
    raise ValueError("not usual")


def _is_usual(command_id: str, order: PlaceOrder) -> bool:
    """Return whether the texts of an order are surely within their limits; others may be, too."""
    account_id, market_id, client_order_id, outcome = (
        order.account_id,
        order.market_id,
        order.client_order_id,
        order.outcome,
    )
    return (
        command_id == order_command_id(account_id, client_order_id)
        and command_id.isascii()  # and printable, so both parts are
        and 1 <= len(account_id) <= 64
        and 1 <= len(client_order_id) <= 64
        and 1 <= len(market_id) <= 64
        and market_id.isascii()
        and market_id.isprintable()
        and " " not in account_id
        and " " not in market_id
        and 1 <= len(outcome) <= 100
        and outcome.isprintable()
        and outcome[0] != " " != outcome[-1]
        and (order.limit_price is None or order.limit_price <= MICRO)
    )


def _has_usual_values(order: Any) -> bool:
    """Return whether an order that Python code made has texts where they belong and surely all else within its limits.

    `Any` because compiled code would fail on fields that are not of the type that PlaceOrder promises.
    """
    return (
        type(order.account_id) is type(order.market_id) is type(order.client_order_id) is type(order.outcome) is str
        and order.side in _SIDES
        and order.type in _TYPES
        and order.time_in_force in _USUAL_TIMES_IN_FORCE
        and order.self_trade_prevention in _SELF_TRADE_PREVENTIONS
        and order.expires_at is None
        and (order.quantity is None or 0 < order.quantity <= AMOUNT_MAX)
        and (order.spend is None or 0 < order.spend <= AMOUNT_MAX)
        and (order.limit_price is None or order.limit_price > 0)
        and (order.max_cost is None or 0 < order.max_cost <= AMOUNT_MAX)
        and (order.min_proceeds is None or 0 < order.min_proceeds <= AMOUNT_MAX)
    )
