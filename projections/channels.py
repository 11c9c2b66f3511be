"""Comparing both ends of every channel between partitions: what one received is what the other one sent, in order.

Whoever checks an exchange that goes on reads how far the logs of receivers are before those of senders: then everything that
was received is among what was sent. What was sent and not received is in transit.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from domain.events import Recorded
from domain.money import Credits, Time
from domain.transfers import FundsReceived, FundsSent
from projections.verify import Difference


@dataclass(frozen=True, slots=True)
class ChannelComparison:
    """A channel: how many transfers were sent and received, and what is wrong with it.

    `in_transit` is the amount that was sent and not received, `oldest` the time when the first of these transfers was sent
    (None: there is none).
    """

    from_partition: int
    to_partition: int
    sent: int
    received: int
    in_transit: Credits
    oldest: Time | None
    differences: list[Difference]


@dataclass(slots=True)
class _End:
    """The transfers of a channel as one end knows them, by their numbers: 24 bytes each, as there may be many millions."""

    accounts: "array[int]" = field(default_factory=lambda: array("q"))
    amounts: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    gap: int | None = None
    """The first number that does not follow the one before it."""

    def add(self, number: int, account: int, amount: Credits, time: Time) -> None:
        """Take in the next transfer."""
        if number != len(self.amounts) + 1 and self.gap is None:
            self.gap = number
        self.accounts.append(account)
        self.amounts.append(amount)
        self.times.append(time)


_NOTHING: Final = _End()


class ChannelEnds:
    """Both ends of all channels, collected while the log of one partition after the other is read."""

    def __init__(self) -> None:
        self._sent: dict[tuple[int, int], _End] = {}
        self._received: dict[tuple[int, int], _End] = {}
        self._accounts: dict[str, int] = {}

    def noting(self, partition: int, events: Iterable[Recorded], received_until: int) -> Iterator[Recorded]:
        """Pass the events of a partition on, and note the transfers among them, receipts up to a position only."""
        for recorded in events:
            event = recorded.event
            if isinstance(event, FundsSent):
                end = self._sent.setdefault((partition, event.to_partition), _End())
                end.add(event.number, self._account(event.account_id), event.amount, recorded.time)
            elif isinstance(event, FundsReceived) and recorded.position <= received_until:
                end = self._received.setdefault((event.from_partition, partition), _End())
                end.add(event.number, self._account(event.account_id), event.amount, recorded.time)
            yield recorded

    def _account(self, account_id: str) -> int:
        return self._accounts.setdefault(account_id, len(self._accounts))

    def compared(self) -> Iterator[ChannelComparison]:
        """Yield every channel, by its partitions."""
        for channel in sorted(self._sent.keys() | self._received.keys()):
            sent, received = self._sent.get(channel, _NOTHING), self._received.get(channel, _NOTHING)
            count = len(received.amounts)
            yield ChannelComparison(
                *channel,
                len(sent.amounts),
                count,
                sum(sent.amounts[count:]),
                sent.times[count] if count < len(sent.times) else None,
                list(self._differences(sent, received)),
            )

    def _differences(self, sent: _End, received: _End) -> Iterator[Difference]:
        """Yield what is wrong with a channel; of the transfers themselves, the first that differs."""
        for name, end in (("sent", sent), ("received", received)):
            if end.gap is not None:
                yield Difference("channel", {"number": end.gap, "problem": f"{name} out of order"})
        names = list(self._accounts)
        for at, (account, amount, time) in enumerate(
            zip(received.accounts, received.amounts, received.times, strict=True)
        ):
            found = {"number": at + 1, "received_account": names[account], "received_amount": amount}
            if at >= len(sent.amounts):
                yield Difference("channel", {**found, "problem": "received, and never sent"})
                return
            if (account, amount) != (sent.accounts[at], sent.amounts[at]):
                was = {"sent_account": names[sent.accounts[at]], "sent_amount": sent.amounts[at]}
                yield Difference("channel", {**found, **was, "problem": "received otherwise than it was sent"})
                return
            if time < sent.times[at]:
                yield Difference("channel", {**found, "problem": "received before it was sent"})
                return
