"""What must hold over several partitions after each event: the invariants of each one, and those of the channels between them."""

from collections import defaultdict
from typing import NamedTuple

from domain.exchange import Entry, Exchange
from domain.invariants import Audit
from domain.ledger import TRANSIT
from domain.money import Credits, Time
from domain.transfers import FundsReceived, FundsSent


class Move(NamedTuple):
    """A transfer as one end of its channel knows it."""

    account_id: str
    amount: Credits
    time: Time


class Audits:
    """An audit of each partition, made of its log alone, and one of every channel."""

    def __init__(self, partitions: int) -> None:
        self.of = [Audit(Exchange(partition, partitions)) for partition in range(partitions)]
        self.sent: dict[tuple[int, int], list[Move]] = defaultdict(list)
        self.received: dict[tuple[int, int], list[Move]] = defaultdict(list)

    def apply(self, partition: int, entry: Entry, time: Time, command_id: str) -> None:
        """Apply the next event of a partition's log."""
        event = entry.event
        self.of[partition].apply(entry, time=time, command_id=command_id)
        if isinstance(event, FundsSent):
            channel = self.sent[partition, event.to_partition]
            channel.append(Move(event.account_id, event.amount, time))
            assert event.number == len(channel), "a channel's numbers have no gap"
        elif isinstance(event, FundsReceived):
            channel = self.received[event.from_partition, partition]
            channel.append(Move(event.account_id, event.amount, time))
            self._check_receipt((event.from_partition, partition), channel[-1])

    def _check_receipt(self, channel: tuple[int, int], receipt: Move) -> None:
        number, sent = len(self.received[channel]), self.sent[channel]
        assert number <= len(sent), f"what {channel} received was sent"
        sending = sent[number - 1]
        assert (sending.account_id, sending.amount) == receipt[:2], f"{channel} received what was sent"
        assert sending.time <= receipt.time, f"at every time {channel} has received no more than was sent"

    def check_all(self, partition: int) -> None:
        """Check a partition as it must be between batches, and the sum over all of them."""
        self.of[partition].check_all()
        assert self.in_transit() == sum(
            balance
            for audit in self.of
            for name, balance in audit.exchange.ledger.balances.items()
            if name.startswith(f"{TRANSIT}:")
        ), "the books of what is in transit have what was sent and not received"

    def in_transit(self) -> Credits:
        """Return how much has been sent and not received."""
        return sum(move.amount for channel, sent in self.sent.items() for move in sent[len(self.received[channel]) :])

    def total(self, account_id: str) -> Credits:
        """Return the cash of an account in all partitions, without what is in transit."""
        balances = [audit.exchange.accounts.get(account_id) for audit in self.of]
        return sum(account.cash + account.held for account in balances if account is not None)


Event = tuple[Entry, Time, str]
"""An event of a log, with its time and the id of its command."""


def audit_logs(logs: list[list[Event]]) -> Audits:
    """Audit the logs of all partitions in an order in which their events can have happened."""
    audits, nexts = Audits(len(logs)), [0] * len(logs)
    while any(following < len(log) for following, log in zip(nexts, logs, strict=True)):
        ready = [
            (log[following][1], partition)
            for partition, (following, log) in enumerate(zip(nexts, logs, strict=True))
            if following < len(log) and _can_follow(audits, partition, log[following][0])
        ]
        assert ready, "every receipt has its sending"
        _, partition = min(ready)
        audits.apply(partition, *logs[partition][nexts[partition]])
        nexts[partition] += 1
    for partition in range(len(logs)):
        audits.check_all(partition)
    return audits


def _can_follow(audits: Audits, partition: int, entry: Entry) -> bool:
    event = entry.event
    if not isinstance(event, FundsReceived):
        return True
    return len(audits.sent[event.from_partition, partition]) >= event.number
