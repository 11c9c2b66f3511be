"""Transfers between partitions as records of the topic `transfers`, which engines alone write and read.

    {"from": 0, "number": 42, "account_id": "ac_...", "amount": "25.000000", "time": "...", "transfer_id": "...", "then": {...}}

`transfer_id` is the id of the command that sent it, at `time`. `then` is a command that the transfer carries along.
"""

from typing import Final

import msgspec

from domain.money import format_decimal, parse_decimal
from domain.transfers import Transfer
from domain.values import NO_JSON, json_of
from messages.json_text import decode_untrusted
from messages.wire import format_time, parse_time


class _WireTransfer(msgspec.Struct, omit_defaults=True, rename={"from_partition": "from"}):
    from_partition: int
    number: int
    account_id: str
    amount: str
    time: str
    transfer_id: str
    then: msgspec.Raw = NO_JSON


_encode: Final = msgspec.json.Encoder().encode
_DECODER: Final = msgspec.json.Decoder(_WireTransfer)


def dump_transfer(transfer: Transfer, then: bytes = b"") -> bytes:
    """Return the value of a transfer's record; `then` is the JSON of the command that it carries along, or empty."""
    wire = _WireTransfer(
        transfer.from_partition,
        transfer.number,
        transfer.account_id,
        format_decimal(transfer.amount),
        format_time(transfer.time),
        transfer.transfer_id,
        json_of(then),
    )
    return _encode(wire)


def parse_transfer(value: bytes) -> tuple[Transfer, bytes]:
    """Return a transfer, and the JSON of the command that it carries along, or nothing. Raises ValueError for anything else."""
    wire = decode_untrusted(_DECODER.decode, value)
    amount = parse_decimal(wire.amount)
    if min(wire.number, amount) < 1 or wire.from_partition < 0:
        raise ValueError("a transfer has a number and an amount above 0, and comes from a partition")
    transfer = Transfer(
        wire.from_partition, wire.number, wire.account_id, amount, parse_time(wire.time), wire.transfer_id
    )
    return transfer, b"" if wire.then == NO_JSON else bytes(wire.then)
