r"""Signed records of the topic `orders`, by which trading services trade for their own accounts.

The value is one command of the topic `commands`: `PlaceOrder`, `CancelOrder`, `CancelOrders` or `AmendOrder`. Three headers
sign it:

    key-id     the id of an API key, such as key_90f2...
    time       when it was signed, RFC 3339
    signature  hex(HMAC-SHA256(SHA-256(secret of the key), key-id + "\n" + time + "\n" + value))

`tidings_client.kafka` signs; here is what checks. The exchange keeps the SHA-256 of a secret, not the secret, so this is the
key of the HMAC. The id in the value is part of what is signed. A record that is sent again has the same id and so no second
effect; one that is signed long before it arrives is refused.
"""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from domain.money import Time
from domain.orders import AmendOrder, CancelOrder, CancelOrders, PlaceOrder
from messages.command_types import Submitted, UnreadableError
from messages.fields import InvalidCommand
from messages.wire import format_time, parse_time

KINDS: Final = (PlaceOrder, CancelOrder, CancelOrders, AmendOrder)
"""The commands that a trading service may send."""

TIME_DIFFERENCE_MAX: Final = 60_000_000
"""The most microseconds between the signing of a record and its arrival at the broker, either way."""

OWN_IDS: Final = "orders"
"""The second part of a service's ids, except those of orders: `{account}:orders:...`."""

_HEADERS: Final = ("key-id", "time", "signature")


def hash_of(secret: str) -> bytes:
    """Return what the exchange keeps of a key's secret."""
    return sha256(secret.encode()).digest()


def _signature(value: bytes, key_id: str, time: str, key_hash: bytes) -> str:
    return hmac.new(key_hash, f"{key_id}\n{time}\n".encode() + value, sha256).hexdigest()


def signed_headers(headers: Sequence[tuple[str, bytes | None]] | None) -> dict[str, str]:
    """Return the three headers of a record. Raises UnreadableError: one is missing, stands twice, or is no short text."""
    found: dict[str, str] = {}
    for name, value in headers or ():
        if name in _HEADERS:
            if name in found or value is None or len(value) > 200 or not value.isascii():
                raise UnreadableError(f"the header {name} is no short text, or stands twice")
            found[name] = value.decode()
    if missing := [name for name in _HEADERS if name not in found]:
        raise UnreadableError(f"the header {missing[0]} is missing")
    return found


def check_signature(value: bytes, headers: Mapping[str, str], key_hash: bytes, arrived: Time) -> None:
    """Raise UnreadableError unless the headers sign this value with this key, about when it arrived."""
    expected = _signature(value, headers["key-id"], headers["time"], key_hash)
    if not hmac.compare_digest(expected.encode(), headers["signature"].encode()):
        raise UnreadableError("the signature does not fit the record")
    try:
        signed = parse_time(headers["time"])
    except ValueError as error:
        raise UnreadableError(f"the header time {error}") from None
    if abs(arrived - signed) > TIME_DIFFERENCE_MAX:
        raise UnreadableError(f"the record arrived at {format_time(arrived)}, too far from the time of its signature")


def check_service_command(submitted: Submitted, account_id: str) -> None:
    """Raise UnreadableError unless the owner of this account may send this command by a signed record.

    A command with an invalid field passes if its account and id are right: the engine refuses it, with a reply.
    """
    command, kind = submitted.command, submitted.type
    if kind not in {each.__name__ for each in KINDS}:
        raise UnreadableError(f"a trading service may not send {kind}")
    if isinstance(command, InvalidCommand):
        own = f"order:{account_id}:" if kind == PlaceOrder.__name__ else f"{account_id}:{OWN_IDS}:"
        if not submitted.command_id.startswith(own):
            raise UnreadableError("command_id is not one of the key's account")
        return
    if command.account_id != account_id:  # type: ignore[union-attr]  # each of KINDS has one
        raise UnreadableError("the command is for another account than the key")
    if not isinstance(command, PlaceOrder) and not submitted.command_id.startswith(f"{account_id}:{OWN_IDS}:"):
        raise UnreadableError(f"command_id must begin with {account_id}:{OWN_IDS}:")
