"""Commands as others send them: JSON with decimal strings, and the domain's values.

    {"command_id": "...", "type": "PlaceOrder", "at": "2024-10-24T10:02:00Z", "reply_to": "...", "data": {...}}

The sender chooses `command_id`, which makes a retry harmless; an order's is always
`order:{account_id}:{client_order_id}`. `at` and `reply_to` are optional. `at` is the sender's time; only an engine that
takes its clock from the commands uses it. `reply_to` becomes the key of the reply's record. `data` has the command's
fields, without server-assigned ids: the ids of what the command creates follow from `command_id`.

Every command passes here, so this module is compiled (`local/compile.py`). Orders have a fast path in `messages.order`.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from domain.account import OpenAccount
from domain.invitations import AcceptInvitation, CreateInvitation
from domain.market import OpenMarket
from domain.market_evolution import uniform_prices
from domain.money import Time
from domain.orders import PlaceOrder
from domain.placement import partition_of
from domain.story import PublishStory
from domain.transfers import RECEIPT
from messages.codecs import command_codec
from messages.command_types import (
    BODY_BYTES_MAX,
    COMMAND_ID_MAX,
    COMMANDS,
    RECORD_COMMANDS_MAX,
    AdvanceTime,
    Command,
    Envelope,
    QuoteOrder,
    Submitted,
    UnreadableError,
)
from messages.fields import ID, InvalidCommand
from messages.json_text import RepeatedKey, check_keys, check_outer_keys, without_bom
from messages.names import derived_slug, name_key
from messages.order import ORDER_COMMAND_ID, OrderData, fast_order, order_command_id, order_data, surely_valid
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
    "body_and_digest",
    "check_command",
    "command_of",
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

RESERVED: Final = ("due:", RECEIPT)
"""The beginnings of the ids that the engine gives itself: when something is due, and when a transfer from a partition arrives."""


# --- server-assigned ids


def new_id(prefix: str, command_id: str, number: int = 0, partition: int = 0) -> str:
    """Return the id of what a command creates: `or_` and 26 hex digits of a hash of the command's id; `or3_` in partition 3.

    Prefixes: `st` stories, `mk` markets, `ac` accounts, `or` orders, `iv` invitations, which have no partition. `number` tells
    apart what one command creates of a kind (the markets of a story). A command makes the same ids in a partition wherever and
    however often it is sent.
    """
    text = f"{command_id}#{number}" if number else command_id
    stamped = f"{prefix}{partition}" if partition else prefix
    # 104 bits: nobody finds two command ids whose hashes collide.
    return f"{stamped}_{hashlib.blake2b(text.encode(), digest_size=13).hexdigest()}"


def with_ids(command_id: str, command: Command, partition: int = 0) -> Command:
    """Return the command with its server-assigned fields: ids, derived slugs, and the key of an account's name.

    A new story or account gets an id of this partition; a market is where its story is, and an order where its market is.
    """
    match command:
        case PlaceOrder():
            return replace(command, order_id=new_id("or", command_id, partition=partition_of(command.market_id)))
        case OpenAccount():
            account_id = new_id("ac", command_id, partition=partition)
            return replace(command, account_id=account_id, name_key=name_key(command.name))
        case CreateInvitation():
            return replace(command, invitation_id=new_id("iv", command_id))
        case AcceptInvitation():
            account_id = new_id("ac", command_id, partition=partition)
            return replace(command, account_id=account_id, name_key=name_key(command.name))
        case OpenMarket():
            market_id = new_id("mk", command_id, partition=partition_of(command.story_id))
            return _named_market(command, command.story_id, market_id)
        case PublishStory():
            story_id = new_id("st", command_id, partition=partition)
            slug = derived_slug(command.title, "story", story_id) if command.slug is None else ""
            markets = tuple(
                _named_market(market, story_id, new_id("mk", command_id, number, partition))
                for number, market in enumerate(command.markets)
            )
            return replace(command, story_id=story_id, derived_slug=slug, markets=markets)
        case _:
            return command


def _named_market(market: OpenMarket, story_id: str, market_id: str) -> OpenMarket:
    slug = derived_slug(market.question, "market", market_id) if market.slug is None else ""
    return replace(market, story_id=story_id, market_id=market_id, derived_slug=slug)


# --- bodies and digests

_DEPTH_MAX: Final = 32
"""The deepest nesting of arrays and objects in a body that the log keeps. Many readers of JSON refuse more than 64."""


def body_and_digest(command: Command) -> tuple[bytes, str]:
    """Return what the log keeps of the command if it changes nothing (`Submitted.body`), and its digest.

    The digest is 16 hex digits that tell commands apart: equal for equal commands, whatever their ids and spelling. Fields
    that have their defaults do not count, spelled out or not, so a field that is added later changes no digest.
    """
    data = _dump_data(command)
    return _body(data), _digest(type(command).__name__, data)


def _body(data: bytes) -> bytes:
    return data if len(data) <= BODY_BYTES_MAX else b""


def _invalid_body(data: bytes) -> tuple[bytes, bytes]:
    """Return what the log keeps of an invalid command, and the text that its digest is made from.

    The text has no blanks between its parts: an event stands in one line. What some readers of JSON would refuse, or would
    read differently, is not kept.
    """
    try:
        text = msgspec.json.format(data, indent=-1)
        value = msgspec.json.decode(text)
        check_keys(text)
        if _depth(value) <= _DEPTH_MAX:
            return _body(text), text
    except _UNDECODABLE:
        pass
    return b"", data


def _depth(value: Any) -> int:
    """Return how deeply arrays and objects are nested in a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _digest(command_type: str, data: bytes) -> str:
    return hashlib.blake2b(command_type.encode() + data, digest_size=8).hexdigest()


# --- records from the wire

# What decoding may raise: not JSON, not UTF-8 inside of a string, nested too deeply, a key twice.
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RepeatedKey)

_RECORD: Final = msgspec.json.Decoder(list[Envelope])
_ENVELOPE: Final = msgspec.json.Decoder(Envelope)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ORDER: Final = msgspec.json.Decoder(OrderData)


def parse_record(value: bytes) -> list[Submitted | UnreadableError]:
    """Return the commands of a record of the `commands` topic, in their order: one object, or an array of objects.

    An UnreadableError stands in the place of an object that is no command. Raises UnreadableError when the whole value
    is unreadable.
    """
    value = without_bom(value)
    if not _is_array(value):
        return [_parse_or_error(value)]
    try:
        envelopes = _RECORD.decode(value)
        _check_count(len(envelopes))
        check_keys(value, _encode(envelopes))
        return [_submitted(envelope) for envelope in envelopes]
    except (*_UNDECODABLE, UnreadableError):
        pass
    return [_parse_or_error(part) for part in record_parts(value)]


def record_parts(value: bytes) -> list[bytes]:
    """Return the text of each command of a record. Raises UnreadableError for an array that is broken or too long."""
    value = without_bom(value)
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


# --- one command from the wire


def parse_command(value: bytes) -> Submitted:
    """Return one command; with an invalid field, its refusal stands in place of the command. Raises UnreadableError."""
    value = without_bom(value)
    try:
        envelope = _ENVELOPE.decode(value)
        check_outer_keys(value, _encode(envelope))
    except _UNDECODABLE as error:
        raise UnreadableError(str(error)) from None
    return _submitted(envelope)


def _submitted(envelope: Envelope) -> Submitted:
    command_id, command_type, data = envelope.command_id, envelope.type, envelope.data
    if not is_command_id(command_id):
        raise UnreadableError(
            f"command_id must be 1 to {COMMAND_ID_MAX} printable characters, not beginning with {' or '.join(RESERVED)}"
        )
    if command_type not in COMMANDS:
        raise UnreadableError("type is not the name of a command")
    command: Command | InvalidCommand
    try:
        at = None if envelope.at is None else _parse_at(envelope.at)
        if envelope.reply_to is not None:
            _check_reply_to(envelope.reply_to)
        if command_type == "PlaceOrder" and (found := _fast_order(command_id, data)) is not None:
            command, text = found
        else:
            command = _parse_data(command_type, command_id, data)
            text = _dump_data(command)
        return Submitted(
            command_id, command, _digest(command_type, text), at, envelope.reply_to, command_type, _body(text)
        )
    except InvalidCommand as error:
        body, text = _invalid_body(bytes(data))
        return Submitted(command_id, error, _digest(command_type, text), None, envelope.reply_to, command_type, body)


def _fast_order(command_id: str, data: msgspec.Raw) -> tuple[PlaceOrder, bytes] | None:
    """Return the order and its `_dump_data` by the fast path, or None: the command codec then judges the order."""
    try:
        wire = _ORDER.decode(data)
    except _UNDECODABLE:
        return None
    if command_id != order_command_id(wire.account_id, wire.client_order_id):
        return None
    order_id = new_id("or", command_id, partition=partition_of(wire.market_id))
    found = fast_order(wire, wire.account_id, wire.market_id, order_id)
    if found is None:
        return None
    encoded = _encode(wire)
    try:
        check_keys(bytes(data), encoded)
    except _UNDECODABLE:
        return None
    order, canonical = found
    return order, encoded if canonical else _dump_data(order)


@lru_cache(maxsize=128)  # all commands of a sender name the same receiver
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
        check_keys(bytes(data))
    except _UNDECODABLE as error:
        raise InvalidCommand("data", str(error)) from None
    return command_of(command_type, command_id, values)


def command_of(command_type: str, command_id: str, data: Mapping[str, Any]) -> Command:
    """Return the command of this type with these fields, given in their wire form, and its server-assigned ids.

    Raises InvalidCommand, and KeyError for a type that is not in `COMMANDS`.
    """
    command: Command = command_codec(COMMANDS[command_type]).parse(data, "")
    if isinstance(command, PlaceOrder):
        _check_order_id(command_id, command.account_id, command.client_order_id)
    return with_ids(command_id, command)


# --- commands that Python code made


def check_command(command_id: str, command: Command) -> None:
    """Raise InvalidCommand when the id or a field of a command that Python code made breaks a limit."""
    if not is_command_id(command_id):
        raise InvalidCommand(
            "command_id", f"must be 1 to {COMMAND_ID_MAX} printable characters", maximum=COMMAND_ID_MAX
        )
    order = command if isinstance(command, PlaceOrder) else None
    if order is None or not surely_valid(order):
        command_codec(type(command)).check(command, "")
    if order is not None:
        _check_order_id(command_id, order.account_id, order.client_order_id)


def _check_order_id(command_id: str, account_id: str, client_order_id: str) -> None:
    if command_id != order_command_id(account_id, client_order_id):
        raise InvalidCommand("command_id", f"of an order must be {ORDER_COMMAND_ID}")


# --- to the wire


def dump_command(command_id: str, command: Command, at: Time | None = None, reply_to: str | None = None) -> bytes:
    """Return the JSON of one command; `dump_record` joins several."""
    return dump_with_digest(command_id, command, at, reply_to)[0]


def dump_with_digest(
    command_id: str, command: Command, at: Time | None = None, reply_to: str | None = None
) -> tuple[bytes, str]:
    """Return the JSON of one command and its digest."""
    name, data = type(command).__name__, _dump_data(command)
    moment = None if at is None else format_time(at)
    return _encode(Envelope(command_id, name, msgspec.Raw(data), moment, reply_to)), _digest(name, data)


def _dump_data(command: Command) -> bytes:
    if isinstance(command, PlaceOrder):
        return _encode(order_data(command))
    return _encode(command_codec(type(command)).dump(_without_defaults(command)))


def _without_defaults(command: Command) -> Command:
    """Return the same command without a default that depends on its other fields; `order_data` does this for orders."""
    match command:
        case OpenMarket():
            return _without_default(command)
        case PublishStory():
            return replace(command, markets=tuple(map(_without_default, command.markets)))
        case _:
            return command


def _without_default(market: OpenMarket) -> OpenMarket:
    if market.outcomes and market.initial_prices == uniform_prices(len(market.outcomes)):
        return replace(market, initial_prices=())
    return market


def dump_record(commands: list[bytes]) -> bytes:
    """Return the value of one record that holds these commands."""
    return b"[" + b",".join(commands) + b"]"
