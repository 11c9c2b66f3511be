"""Channels as the logs tell of them: what is in transit, and what was received otherwise than it was sent."""

from collections.abc import Iterator

import pytest

from analysis.channels import ChannelsReader
from analysis.replay import History
from domain.events import Event, Recorded
from domain.transfers import FundsReceived, FundsSent
from projections.machine.batch import Batch

A, B = "ac_a", "ac_b"


class Logs:
    """The logs of partitions, which grow."""

    def __init__(self, partitions: int = 3) -> None:
        self.events: list[list[Recorded]] = [[] for _ in range(partitions)]
        self.reader = ChannelsReader({partition: self._history(partition) for partition in range(partitions)})

    def _history(self, partition: int) -> History:
        log = self.events[partition]

        def read(after: int, until: int) -> Iterator[Batch]:
            yield Batch(partition, list(log[after:until]))

        return History(read, lambda: len(log), partition)

    def add(self, partition: int, time: int, event: Event) -> None:
        """Append an event."""
        log = self.events[partition]
        log.append(Recorded(len(log) + 1, "stream", 1, time, "c", event))

    def differences(self) -> list[str]:
        """Read on, and return all that does not fit."""
        self.reader.read()
        return [text for channel in self.reader.channels.values() for text in channel.differences]


def test_what_is_sent_and_not_received_is_in_transit() -> None:
    """In both directions, and read on as the logs grow."""
    logs = Logs()
    logs.add(0, 10, FundsSent(A, 2, 1, 100))
    logs.add(0, 11, FundsSent(B, 2, 2, 5))
    logs.add(2, 12, FundsReceived(A, 0, 1, 100))
    logs.add(2, 13, FundsSent(B, 0, 1, 7))
    assert logs.differences() == []
    there, back = logs.reader.channels[0, 2], logs.reader.channels[2, 0]
    assert (there.sent, there.received, there.in_transit, [each.number for each in there.between]) == (2, 1, 5, [2])
    assert (back.sent, back.received, back.in_transit) == (1, 0, 7)

    logs.add(2, 14, FundsReceived(B, 0, 2, 5))
    assert logs.differences() == []
    assert (there.in_transit, there.sendings, there.receipts) == (0, {}, {}), "what has arrived is forgotten"


@pytest.mark.parametrize(
    ("receipt", "time", "says"),
    [
        (FundsReceived(A, 0, 1, 99), 12, "99 micro-credits of ac_a were received, 100 of ac_a sent"),
        (FundsReceived(B, 0, 1, 100), 12, "100 micro-credits of ac_b were received, 100 of ac_a sent"),
        (FundsReceived(A, 0, 1, 100), 9, "transfer 1 was received before it was sent"),
        (FundsReceived(A, 0, 2, 100), 12, "transfer 2 was received after transfer 0"),
        (FundsReceived(A, 1, 1, 100), 12, "transfer 1 was received and never sent"),
    ],
)
def test_what_does_not_fit_is_told(receipt: FundsReceived, time: int, says: str) -> None:
    """Other amounts or accounts, the wrong order of times or numbers, and what nobody has sent."""
    logs = Logs()
    logs.add(0, 10, FundsSent(A, 2, 1, 100))
    logs.add(2, time, receipt)
    assert says in logs.differences()[0]
