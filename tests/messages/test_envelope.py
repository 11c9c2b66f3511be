"""What a sender to several partitions asks for, around a command: `top_up`, and `then` with a transfer."""

import msgspec
import pytest

from domain.account import DepositCash, OpenAccount
from domain.orders import PlaceOrder
from domain.transfers import TransferFunds
from messages.command_types import THEN_BYTES_MAX
from messages.commands import (
    InvalidCommand,
    dump_command,
    dump_record,
    new_id,
    order_command_id,
    parse_command,
    parse_record,
    with_ids,
)

ORDER = PlaceOrder("ac_a", "mk3_m", "", "1", "Yes", "buy", "market", spend=1_000_000)
ORDER_ID = order_command_id("ac_a", "1")
TRANSFER = TransferFunds("ac_a", 3, 5)


def test_they_come_back_as_they_went() -> None:
    """Beside the command, which has the same digest and body without them."""
    then = dump_command(ORDER_ID, ORDER, reply_to="api-1", top_up=True)

    received = parse_command(dump_command("t1", TRANSFER, top_up=True, then=then))

    assert (received.command, received.top_up, received.then) == (TRANSFER, True, then)
    plain = parse_command(dump_command("t1", TRANSFER))
    assert (plain.digest, plain.body, plain.top_up, plain.then) == (received.digest, received.body, False, b"")
    inner = parse_command(received.then)
    assert (inner.command, inner.top_up, inner.reply_to) == (with_ids(ORDER_ID, ORDER), True, "api-1")


def test_without_them_a_command_has_not_a_byte_of_them() -> None:
    """With one partition nobody names them; spelled out, their defaults mean the same."""
    plain = dump_command(ORDER_ID, ORDER)
    assert set(msgspec.json.decode(plain)) == {"command_id", "type", "data"}

    named = plain[:-1] + b',"top_up":false,"then":null}'
    assert parse_command(named) == parse_command(plain)


@pytest.mark.parametrize(
    ("command", "then", "why"),
    [
        (DepositCash("ac_a", 5), dump_command(ORDER_ID, ORDER), "can only follow a transfer"),
        (TRANSFER, b'{"command_id":"x"}', "is no command"),
        (TRANSFER, b"[]", "is no command"),
        (TRANSFER, dump_command("due:1", ORDER), "is no command"),
        (TRANSFER, dump_command("t2", TRANSFER, then=dump_command(ORDER_ID, ORDER)), "another command"),
        (TRANSFER, dump_command("o", OpenAccount("", "x" * THEN_BYTES_MAX)), "at most 4096 bytes"),
    ],
)
def test_what_cannot_follow_is_refused(command: DepositCash | TransferFunds, then: bytes, why: str) -> None:
    """The command itself is refused, with the field's name."""
    refused = parse_command(dump_command("t1", command, then=then)).command

    assert isinstance(refused, InvalidCommand)
    assert refused.field == "then"
    assert why in str(refused)


def test_what_is_created_belongs_to_the_partition_that_reads_the_command() -> None:
    """Alone and in a record; an order belongs to its market."""
    opened, placed = dump_command("o1", OpenAccount("", "Ada")), dump_command(ORDER_ID, ORDER)

    read = [parse_command(opened, 3), *parse_record(dump_record([opened, placed]), 3), *parse_record(placed)]

    ids = [getattr(one.command, "order_id", None) or one.command.account_id for one in read]  # type: ignore[union-attr]
    account, order = new_id("ac", "o1", partition=3), new_id("or", ORDER_ID, partition=3)
    assert ids == [account, account, order, order]
