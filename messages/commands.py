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

from domain.market import OpenMarket
from domain.market_evolution import uniform_prices
from domain.money import Time
from domain.orders import PlaceOrder
from domain.placement import partition_of
from domain.story import PublishStory
from domain.transfers import RECEIPT, TransferFunds
from domain.values import NO_JSON, json_of
from messages.codecs import command_codec
from messages.command_types import (
    BODY_BYTES_MAX,
    COMMAND_ID_MAX,
    COMMANDS,
    RECORD_COMMANDS_MAX,
    THEN_BYTES_MAX,
    AdvanceTime,
    Command,
    Envelope,
    QuoteOrder,
    Submitted,
    UnreadableError,
)
from messages.fields import ID, InvalidCommand
from messages.ids import new_id, with_ids
from messages.json_text import RepeatedKey, check_keys, check_outer_keys, without_bom
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


def parse_record(value: bytes, partition: int = 0) -> list[Submitted | UnreadableError]:
    """Return the commands of a record of the `commands` topic, in their order: one object, or an array of objects.

    What they create gets ids of this partition.

    An UnreadableError stands in the place of an object that is no command. Raises UnreadableError when the whole value
    is unreadable.
    """
    value = without_bom(value)
    if not _is_array(value):
        return [_parse_or_error(value, partition)]
    try:
        envelopes = _RECORD.decode(value)
        _check_count(len(envelopes))
        check_keys(value, _encode(envelopes))
        return [_submitted(envelope, partition) for envelope in envelopes]
    except (*_UNDECODABLE, UnreadableError):
        pass
    return [_parse_or_error(part, partition) for part in record_parts(value)]


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


def _parse_or_error(value: bytes, partition: int) -> Submitted | UnreadableError:
    try:
        return parse_command(value, partition)
    except UnreadableError as error:
        return error


# --- one command from the wire


def parse_command(value: bytes, partition: int = 0) -> Submitted:
    """Return one command; with an invalid field, its refusal stands in place of the command. Raises UnreadableError.

    What it creates gets ids of this partition.
    """
    value = without_bom(value)
    try:
        envelope = _ENVELOPE.decode(value)
        check_outer_keys(value, _encode(envelope))
    except _UNDECODABLE as error:
        raise UnreadableError(str(error)) from None
    return _submitted(envelope, partition)


def _submitted(envelope: Envelope, partition: int) -> Submitted:
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
            command = _parse_data(command_type, command_id, data, partition)
            text = _dump_data(command)
        submitted = Submitted(
            command_id, command, _digest(command_type, text), at, envelope.reply_to, command_type, _body(text)
        )
        return _with_wishes(submitted, envelope)
    except InvalidCommand as error:
        body, text = _invalid_body(bytes(data))
        return Submitted(command_id, error, _digest(command_type, text), None, envelope.reply_to, command_type, body)


def _with_wishes(submitted: Submitted, envelope: Envelope) -> Submitted:
    """Return the same command with what only a sender to several partitions asks for. Raises InvalidCommand."""
    submitted.top_up = envelope.top_up
    if envelope.then is NO_JSON or envelope.then == NO_JSON:
        return submitted
    then = bytes(envelope.then)
    if submitted.type != TransferFunds.__name__:
        raise InvalidCommand("then", "can only follow a transfer")
    if len(then) > THEN_BYTES_MAX:
        raise InvalidCommand("then", f"must have at most {THEN_BYTES_MAX} bytes", maximum=THEN_BYTES_MAX)
    try:
        inner = parse_command(then)
    except UnreadableError as error:
        raise InvalidCommand("then", f"is no command: {error}") from None
    if inner.then:
        raise InvalidCommand("then", "must not have another command follow")
    submitted.then = then
    return submitted


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


def _parse_data(command_type: str, command_id: str, data: msgspec.Raw, partition: int) -> Command:
    try:
        values = msgspec.json.decode(data)
        check_keys(bytes(data))
    except _UNDECODABLE as error:
        raise InvalidCommand("data", str(error)) from None
    return command_of(command_type, command_id, values, partition)


def command_of(command_type: str, command_id: str, data: Mapping[str, Any], partition: int = 0) -> Command:
    """Return the command of this type with these fields, given in their wire form, and its server-assigned ids.

    Ids of what it creates are those of this partition.

    Raises InvalidCommand, and KeyError for a type that is not in `COMMANDS`.
    """
    command: Command = command_codec(COMMANDS[command_type]).parse(data, "")
    if isinstance(command, PlaceOrder):
        _check_order_id(command_id, command.account_id, command.client_order_id)
    return with_ids(command_id, command, partition)


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


def dump_command(
    command_id: str,
    command: Command,
    at: Time | None = None,
    reply_to: str | None = None,
    *,
    top_up: bool = False,
    then: bytes = b"",
) -> bytes:
    """Return the JSON of one command; `dump_record` joins several. `then` is the JSON of the command that a transfer carries."""
    name, data = type(command).__name__, _dump_data(command)
    moment = None if at is None else format_time(at)
    return _encode(Envelope(command_id, name, msgspec.Raw(data), moment, reply_to, top_up, json_of(then)))


def dump_with_digest(
    command_id: str,
    command: Command,
    at: Time | None = None,
    reply_to: str | None = None,
    *,
    top_up: bool = False,
    then: bytes = b"",
) -> tuple[bytes, str]:
    """Return the JSON of one command and its digest; `top_up` and `then` as in `dump_command`."""
    name, data = type(command).__name__, _dump_data(command)
    moment = None if at is None else format_time(at)
    envelope = Envelope(command_id, name, msgspec.Raw(data), moment, reply_to, top_up, json_of(then))
    return _encode(envelope), _digest(name, data)


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
