"""The channels between the partitions of an exchange, as the logs tell of them: what was sent, and what has arrived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from domain.transfers import FundsReceived, FundsSent, Transfer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.replay import History
    from domain.events import Recorded
    from domain.money import Credits, Time


class Receipt(NamedTuple):
    """A transfer as its receiver's log has it."""

    account_id: str
    amount: Credits
    time: Time
    position: int


@dataclass(slots=True)
class ReadChannel:
    """What the logs tell of the transfers from one partition to another: the numbers of the last ones."""

    sent: int = 0
    received: int = 0
    sendings: dict[int, Transfer] = field(default_factory=dict)
    """The transfers whose receipt has not been read, by number."""
    receipts: dict[int, Receipt] = field(default_factory=dict)
    """The receipts whose sending has not been read, by number."""
    differences: list[str] = field(default_factory=list)
    """What was received otherwise than it was sent."""

    @property
    def between(self) -> list[Transfer]:
        """The transfers that have been sent and not received, oldest first."""
        return [transfer for number, transfer in self.sendings.items() if number > self.received]

    @property
    def in_transit(self) -> Credits:
        """The cash in transit, in micro-credits."""
        return sum(transfer.amount for transfer in self.between)

    def match(self) -> None:
        """Compare each receipt with its sending, where both are known, and forget both."""
        for number in self.sendings.keys() & self.receipts.keys():
            sending, receipt = self.sendings.pop(number), self.receipts.pop(number)
            if (sending.account_id, sending.amount) != receipt[:2]:
                was = f"{receipt.amount} micro-credits of {receipt.account_id}"
                self.differences.append(
                    f"{was} were received, {sending.amount} of {sending.account_id} sent ({number})"
                )
            elif receipt.time < sending.time:
                self.differences.append(f"transfer {number} was received before it was sent")


class ChannelsReader:
    """Reads logs on and on. It keeps only what is in transit, however much has been sent."""

    def __init__(self, histories: Mapping[int, History]) -> None:
        """Read these partitions' logs, which somebody else has opened, and closes."""
        self._histories = histories
        self._positions = dict.fromkeys(histories, 0)
        self.channels: dict[tuple[int, int], ReadChannel] = {}
        """What is known by now, by sender and receiver."""

    def read(self) -> None:
        """Read all logs up to their ends as they are now. Raises UnreadableEventError."""
        # What a log has received by now was sent before, so its sender's log has it when that is read.
        ends = {partition: history.end() for partition, history in self._histories.items()}
        for partition, history in self._histories.items():
            for recorded in history.events(after=self._positions[partition]):
                self._note(partition, recorded)
                self._positions[partition] = recorded.position
        for (sender, receiver), channel in self.channels.items():
            channel.match()
            if sender not in ends:
                continue
            for number, receipt in list(channel.receipts.items()):
                if receipt.position <= ends.get(receiver, 0):
                    del channel.receipts[number]
                    channel.differences.append(f"transfer {number} was received and never sent")

    def _note(self, partition: int, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, FundsSent):
            channel = self._channel(partition, event.to_partition)
            channel.sendings[event.number] = Transfer(
                partition, event.number, event.account_id, event.amount, recorded.time, recorded.command_id
            )
            channel.sent = self._next(channel, "sent", channel.sent, event.number)
        elif isinstance(event, FundsReceived):
            channel = self._channel(event.from_partition, partition)
            channel.receipts[event.number] = Receipt(event.account_id, event.amount, recorded.time, recorded.position)
            channel.received = self._next(channel, "received", channel.received, event.number)

    @staticmethod
    def _next(channel: ReadChannel, what: str, before: int, number: int) -> int:
        if number != before + 1:
            channel.differences.append(f"transfer {number} was {what} after transfer {before}")
        return number

    def _channel(self, sender: int, receiver: int) -> ReadChannel:
        return self.channels.setdefault((sender, receiver), ReadChannel())
