"""Cash on its way from one partition to another: only a reader who cares for several partitions needs this room.

A transfer is sent by the partition that has the cash (`FundsSent`), carried by its engine, and received by another one
(`FundsReceived`), which cannot refuse it. Transfers from one partition to another form a channel and are numbered 1, 2, 3, ...
in it, so one that is carried twice is received once. Between the two events the cash is in transit: the book
`transit:<partition>` of the sender has it, and that of the receiver owes it, until both sum to zero.

The rules are in `domain.transfer_rules`.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Final

from domain.money import Credits, Fraction, Time
from domain.values import Value

RECEIPT: Final = "transfer:"
"""The beginning of the command ids of transfers that arrive."""

# --- commands


class TransferFunds(Value):
    """Send available cash of an account from this partition to another one.

    Sends `amount`, or `share` of what is available if that is more, but never more than is available. It is refused if that is
    less than `at_least`, which is `amount` unless it is named.
    """

    account_id: str
    to_partition: int
    amount: Credits
    at_least: Credits | None = None
    share: Fraction = 0


# --- events


class BalanceOpened(Value):
    """An account whose home is another partition has a balance here from now on: the first transfer to it follows."""

    TOPIC: ClassVar[str] = "BalanceOpened.v1"

    account_id: str


class FundsSent(Value, omit_defaults=True):
    """`amount` of available cash left for another partition: the transfer with this number in the channel to it.

    `requested`, `at_least` and `share` are the command's: `requested` its amount if another one was sent.
    """

    TOPIC: ClassVar[str] = "FundsSent.v1"

    account_id: str
    to_partition: int
    number: int
    amount: Credits
    requested: Credits | None = None
    at_least: Credits | None = None
    share: Fraction = 0


class FundsReceived(Value):
    """`amount` arrived from another partition: the transfer with this number in the channel from it."""

    TOPIC: ClassVar[str] = "FundsReceived.v1"

    account_id: str
    from_partition: int
    number: int
    amount: Credits


class FundsCarried(Value):
    """The transfers to another partition up to this number have been handed over, and need not be carried again."""

    TOPIC: ClassVar[str] = "FundsCarried.v1"

    to_partition: int
    number: int


TransferEvent = BalanceOpened | FundsSent | FundsReceived
"""The events of transfers that belong to an account; `FundsCarried` belongs to the partition."""

# --- state


class Transfer(Value):
    """A transfer on its way: what the receiver is told. `transfer_id` is the id of the command that sent it, at `time`."""

    from_partition: int
    number: int
    account_id: str
    amount: Credits
    time: Time
    transfer_id: str

    @property
    def receipt_id(self) -> str:
        """The command id that the events of its arrival have in the log."""
        return f"{RECEIPT}{self.from_partition}:{self.number}"


@dataclass(slots=True)
class Channels:
    """What has gone between this partition and each other one, by its number. Empty where there is one partition.

    `sent` and `received` have the number of the last transfer. `outgoing` has the transfers, oldest first, that may not have
    been carried yet: whoever takes the partition over carries them again.
    """

    sent: dict[int, int] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)
    outgoing: dict[int, list[Transfer]] = field(default_factory=dict)
