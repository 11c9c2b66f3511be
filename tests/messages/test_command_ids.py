"""Over Kafka nobody can take the id that another sender's command has, or will have."""

import pytest

from domain.account import DepositCash, OpenAccount
from domain.orders import PlaceOrder
from messages.command_ids import Sender, check_owner
from messages.commands import Submitted, UnreadableError, dump_command, order_command_id, parse_command


def order(account: str, client_id: str, **changes: str) -> bytes:
    """Return the record of an order with the id that belongs to it, and fields changed afterwards."""
    placed = PlaceOrder(account, "mk_1", "", client_id, "Yes", "buy", "market", spend=1_000_000)
    text = dump_command(order_command_id(account, client_id), placed)
    for name, value in changes.items():
        text = text.replace(
            {"account": account, "client_id": client_id, "spend": '"1.000000"'}[name].encode(), value.encode()
        )
    return text


def is_refused(value: bytes | Submitted, *, sender: Sender = "service") -> bool:
    """Return whether a command becomes a dead letter."""
    submitted = value if isinstance(value, Submitted) else parse_command(value)
    try:
        check_owner(submitted, sender=sender)
    except UnreadableError:
        return True
    return False


@pytest.mark.parametrize(
    "command_id", ["OpenAccount:first", "ac_1:DepositCash:first", "DepositCash:a:b", "OpenAccount:"]
)
def test_the_ids_of_http_are_only_for_http(command_id: str) -> None:
    """Whatever the command, and also one that would be refused by its fields."""
    for command in (OpenAccount("", "ann"), DepositCash("ac_1", 5), OpenAccount("", "")):
        value = dump_command(command_id, command)
        assert is_refused(value) == (command_id != "OpenAccount:")
        assert not is_refused(value, sender="http")


@pytest.mark.parametrize(
    "command_id", ["wire:desk-7", "OpenAccount", "wire:DepositCash:1", "ac_1:first-deposit", "orders:1"]
)
def test_other_ids_are_free(command_id: str) -> None:
    """Services choose their own prefixes."""
    assert not is_refused(dump_command(command_id, DepositCash("ac_1", 5)))


def test_the_id_of_an_order_is_only_for_this_order() -> None:
    """Not for another command, not for another account's order; an invalid order takes its own id, as over HTTP."""
    own, victims = order_command_id("ac_1", "1"), order_command_id("ac_2", "1")
    assert not is_refused(order("ac_1", "1"))
    assert not is_refused(order("ac_1", "1", spend='"-1"')), "refused by the engine, under its own id"
    assert is_refused(order("ac_1", "1").replace(own.encode(), victims.encode()))
    assert is_refused(order("ac_1", "1", spend='"-1"').replace(own.encode(), victims.encode()))
    assert is_refused(dump_command(victims, DepositCash("ac_1", 5)))
    assert is_refused(dump_command(victims, DepositCash("ac_1", 5)), sender="http")
    assert is_refused(dump_command(victims, OpenAccount("", "x" * 5_000)))
