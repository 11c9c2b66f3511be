"""The rules of transfers between partitions: what may be sent, what is received, and how both change the state."""

from collections.abc import Container, Mapping, Sequence
from typing import Final

from domain.account import Account
from domain.account_rules import cannot_spend
from domain.decided import no_account
from domain.money import MICRO, Credits, Time
from domain.placement import lives_elsewhere
from domain.rejections import Code, Rejection, invalid, reject
from domain.transfers import (
    BalanceOpened,
    Channels,
    FundsCarried,
    FundsReceived,
    FundsSent,
    Transfer,
    TransferEvent,
    TransferFunds,
)

OUTGOING_MAX: Final = 10_000
"""The most transfers to one partition that may wait to be carried there."""


class MissingTransferError(Exception):
    """A transfer came before the one that precedes it in its channel: the records between them are lost."""

    def __init__(self, transfer: Transfer, expected: int) -> None:
        super().__init__(
            f"transfer {transfer.number} from partition {transfer.from_partition} came before transfer {expected}"
        )
        self.transfer = transfer
        self.expected = expected


# --- decide


def transfer_funds(  # noqa: PLR0917  what is sent, where it is sent from, what may leave
    account: Account,
    command: TransferFunds,
    partition: int,
    partitions: int,
    sent: Mapping[int, int],
    held_back: Credits,
) -> FundsSent | Rejection:
    """Return the sending, or why it is refused.

    Args:
        account: the account that sends.
        command: the transfer.
        partition: this partition.
        partitions: the number of partitions.
        sent: the number of the last transfer to each partition.
        held_back: what of the account's cash may not leave the partition yet.
    """
    to_partition = command.to_partition
    if to_partition == partition or not 0 <= to_partition < partitions:
        return invalid("to_partition", "must be another partition of the exchange", given=to_partition)
    at_least = command.amount if command.at_least is None else command.at_least
    if at_least > command.amount:
        return invalid("at_least", "must be at most the amount", given=at_least)
    if refusal := cannot_spend(account, at_least):
        return refusal
    sendable = max(account.cash - held_back, 0)
    if sendable < at_least:
        return reject(
            Code.WITHDRAWAL_HELD,
            "gains that could still be taken back stay in their partition; they can be traded there",
            required=at_least,
            withdrawable=sendable,
            available=account.cash,
        )
    amount = min(sendable, max(command.amount, sendable * command.share // MICRO))
    return FundsSent(
        command.account_id,
        to_partition,
        sent.get(to_partition, 0) + 1,
        amount,
        None if amount == command.amount else command.amount,
        command.at_least,
        command.share,
    )


def channel_full(channels: Channels, to_partition: int) -> Rejection | None:
    """Return why no more may be sent to a partition for now, or None. That is no outcome: the same transfer may come again."""
    if len(channels.outgoing.get(to_partition, ())) < OUTGOING_MAX:
        return None
    text = "too many transfers wait to be carried to this partition"
    return reject(Code.BUSY, text, to_partition=to_partition, maximum=OUTGOING_MAX)


def receive_funds(transfer: Transfer, accounts: Container[str], received: Mapping[int, int]) -> Sequence[TransferEvent]:
    """Return the events of a transfer that arrives; none if it is here already.

    Raises MissingTransferError when the one before it has not come.
    """
    expected = received.get(transfer.from_partition, 0) + 1
    if transfer.number < expected:
        return ()
    if transfer.number > expected:
        raise MissingTransferError(transfer, expected)
    receipt = FundsReceived(transfer.account_id, transfer.from_partition, transfer.number, transfer.amount)
    return [receipt] if transfer.account_id in accounts else [BalanceOpened(transfer.account_id), receipt]


def absent_account(account_id: str, partition: int, partitions: int) -> Account | Rejection:
    """Return the account without a balance here: an empty one if its home is elsewhere, else the refusal, for it does not exist.

    Whether it exists elsewhere only its home can tell; an empty account can do nothing but be refused.
    """
    return Account(account_id, "", "") if lives_elsewhere(account_id, partition, partitions) else no_account(account_id)


def no_balance() -> Rejection:
    """Return the refusal of what even costs nothing, but needs a balance in this partition."""
    return reject(Code.INSUFFICIENT_FUNDS, "the account has no balance in this partition", required=1, available=0)


def funds_needed(lacking: Rejection) -> Rejection:
    """Return what a sender is told that can fetch the funds: as much as the refusal says is required and available."""
    return Rejection(Code.FUNDS_NEEDED, "this needs cash that other partitions may have", lacking.details)


# --- evolve


def evolve_balance(account: Account | None, event: TransferEvent) -> Account:
    """Return the account after the event: the same object, changed. A balance away from home has no name."""
    if isinstance(event, BalanceOpened):
        assert account is None, "a balance is opened once"
        return Account(event.account_id, "", "")
    assert account is not None, "a balance is opened first"
    account.cash += event.amount if isinstance(event, FundsReceived) else -event.amount
    return account


def evolve_channels(channels: Channels, event: TransferEvent, partition: int, time: Time, command_id: str) -> None:
    """Note a transfer that this partition sent or received."""
    if isinstance(event, FundsSent):
        to_partition = event.to_partition
        assert event.number == channels.sent.get(to_partition, 0) + 1, "the numbers of a channel have no gap"
        channels.sent[to_partition] = event.number
        transfer = Transfer(partition, event.number, event.account_id, event.amount, time, command_id)
        channels.outgoing.setdefault(to_partition, []).append(transfer)
    elif isinstance(event, FundsReceived):
        assert event.number == channels.received.get(event.from_partition, 0) + 1, (
            "the numbers of a channel have no gap"
        )
        channels.received[event.from_partition] = event.number


def evolve_carried(channels: Channels, event: FundsCarried) -> None:
    """Forget the transfers that need not be carried again."""
    left = [transfer for transfer in channels.outgoing.get(event.to_partition, ()) if transfer.number > event.number]
    if left:
        channels.outgoing[event.to_partition] = left
    else:
        channels.outgoing.pop(event.to_partition, None)
