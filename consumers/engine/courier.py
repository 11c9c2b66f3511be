"""Cash on its way between partitions: what an engine does beside its commands where the exchange has several partitions.

A transfer is carried only when the log is known to have it, again after every take-over, and until the topic has acknowledged
it; then the log is told (`FundsCarried`). It may so be carried twice; its number says that it has come before.
"""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from consumers.engine.transfer_topic import Outgoing, TransferTopic
from domain.ledger import TRANSIT
from domain.transfer_rules import MissingTransferError
from domain.transfers import FundsCarried, Transfer
from messages.commands import Submitted, UnreadableError, parse_command

if TYPE_CHECKING:
    from consumers.engine.decider import Decider
    from domain.exchange import Exchange
    from domain.money import Credits, Time

_logger: Final = structlog.get_logger()

NOTE_SECONDS: Final = 1.0
"""The longest time for which the log is not told that transfers have been carried, unless it is written to anyway."""

AHEAD_SECONDS_MAX: Final = 5.0
"""The longest time by which the clock of another engine may be ahead of ours without a warning: clocks need NTP."""


class TransferMeasures(NamedTuple):
    """What an engine can tell of its transfers, by the other partition."""

    sent: "dict[int, int]"
    received: "dict[int, int]"
    """Numbers of the last transfers."""
    waiting: "dict[int, int]"
    """Transfers that the log does not say were carried."""
    oldest: "dict[int, Time]"
    """When the oldest of them was sent."""
    missing: "dict[int, int]"
    """Number of the transfer that a channel lacks: it stands still until that comes."""
    transit: "Credits"
    """Book of what is in transit: over all partitions its sum is what was sent and has not arrived, in micro-credits."""
    ahead_seconds: float
    """Most by which a transfer came from the future since the take-over, in seconds."""


class Courier:
    """Carries the transfers of one engine from a take-over on. `next_offset` is how far this partition's topic is read."""

    def __init__(self, topic: TransferTopic, decider: "Decider", exchange: "Exchange", read: Mapping[str, int]) -> None:
        """Carry again all that may not have been carried. `read` has how far each source is read, as the log says."""
        self._topic = topic
        self._decider = decider
        self._exchange = exchange
        exchange.partitions, exchange.placing = topic.partitions, topic.placing
        self.next_offset = self._marked = topic.rewind(read)
        self._waiting: dict[int, list[Outgoing]] = {}
        self._acknowledged: dict[int, int] = {}
        self._acknowledged_at = 0.0
        self._then: Submitted | None = None
        self._missing: dict[int, int] = {}
        self._ahead_seconds = 0.0
        self._ahead: set[int] = set()
        for to_partition, transfers in exchange.channels.outgoing.items():
            self.carry([Outgoing(to_partition, transfer, b"") for transfer in transfers])

    # --- what arrives

    def receive(self, now: "Time") -> None:
        """Take in what has come, and decide what it carries along. Raises InDoubt and CommandFailedError."""
        for arrival in self._topic.take():
            self._note_clock(arrival.transfer, now)
            try:
                self._decider.receive(arrival.transfer, now)
            except MissingTransferError as error:
                self._note_missing(error)
            else:
                self._decide(arrival.then, now)
            self.next_offset = arrival.next_offset

    def _note_missing(self, error: MissingTransferError) -> None:
        """Tell once that the topic has lost records: this channel stands still, all others go on."""
        sender, number = error.transfer.from_partition, error.expected
        if self._missing.get(sender) != number:
            self._missing[sender] = number
            _logger.error("transfers_missing", partition=self._exchange.partition, reason=str(error))

    def _note_clock(self, transfer: Transfer, now: "Time") -> None:
        """Tell once of a partition whose clock is ahead of ours."""
        ahead, sender = (transfer.time - now) / 1_000_000, transfer.from_partition
        self._ahead_seconds = max(self._ahead_seconds, ahead)
        if ahead <= AHEAD_SECONDS_MAX:
            self._ahead.discard(sender)
        elif sender not in self._ahead:
            self._ahead.add(sender)
            _logger.warning("clock_ahead", partition=self._exchange.partition, from_partition=sender, seconds=ahead)

    def _decide(self, then: bytes, now: "Time") -> None:
        if not then:
            return
        try:
            self._then = parse_command(then, self._exchange.partition)
        except UnreadableError as error:
            _logger.warning("carried_command_unreadable", partition=self._exchange.partition, reason=str(error))
        else:
            self._decider.decide(self._then, now)

    def park(self, submitted: Submitted, reason: str) -> bool:
        """Leave out a command that cannot be decided if a transfer carried it along; return whether one did.

        Its sender has no reply, and sends it again by itself.
        """
        if submitted is not self._then:
            return False
        _logger.error("carried_command_left_out", command_id=submitted.command_id, reason=reason)
        return True

    def take_mark(self) -> tuple[str, int] | None:
        """Return what the next append must say of how far the topic is read; None if that has not moved."""
        if self.next_offset == self._marked:
            return None
        self._marked = self.next_offset
        return self._topic.name, self._marked

    # --- what is sent

    def carry(self, transfers: Sequence[Outgoing]) -> None:
        """Carry transfers that the log has."""
        for outgoing in transfers:
            self._waiting.setdefault(outgoing.to_partition, []).append(outgoing)
            self._topic.send(outgoing)

    def look_after(self) -> None:
        """Send again what failed, and note what has been carried: in a batch that will be appended anyway, if one comes soon."""
        for to_partition, number in self._topic.acknowledged().items():
            waiting = self._waiting.get(to_partition, [])
            self._waiting[to_partition] = [one for one in waiting if one.transfer.number > number]
            if not self._acknowledged:
                self._acknowledged_at = monotonic()
            self._acknowledged[to_partition] = number
        for to_partition in self._topic.failed():
            _logger.warning("transfers_not_carried", partition=self._exchange.partition, to_partition=to_partition)
            for outgoing in self._waiting.get(to_partition, ()):
                self._topic.send(outgoing)
        overdue = self._acknowledged and monotonic() > self._acknowledged_at + NOTE_SECONDS
        if self._acknowledged and (overdue or self._decider.batch.events):
            for to_partition, number in self._acknowledged.items():
                self._decider.note(FundsCarried(to_partition, number))
            self._acknowledged.clear()

    # --- what is told of it

    def measured(self) -> TransferMeasures:
        """Return the numbers as they are now; from any thread, so they may be those of half a batch."""
        channels = self._exchange.channels
        sent, received = channels.sent.copy(), channels.received.copy()
        outgoing = {to_partition: waiting for to_partition, waiting in channels.outgoing.copy().items() if waiting}
        balances = self._exchange.ledger.balances
        return TransferMeasures(
            sent,
            received,
            {to_partition: len(outgoing.get(to_partition, ())) for to_partition in sent},
            {to_partition: waiting[0].time for to_partition, waiting in outgoing.items()},
            {sender: number for sender, number in self._missing.copy().items() if received.get(sender, 0) < number},
            sum(balances.get(f"{TRANSIT}:{other}", 0) for other in {*sent, *received}),
            self._ahead_seconds,
        )
