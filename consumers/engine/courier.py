"""Cash on its way between partitions: what an engine does beside its commands where the exchange has several partitions.

A transfer is carried only when the log is known to have it, again after every take-over, and until the topic has acknowledged
it; then the log is told (`FundsCarried`). It may so be carried twice; its number says that it has come before.
"""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from consumers.engine.transfer_topic import Outgoing, TransferTopic
from domain.transfer_rules import MissingTransferError
from domain.transfers import FundsCarried
from messages.commands import Submitted, UnreadableError, parse_command

if TYPE_CHECKING:
    from consumers.engine.decider import Decider
    from domain.exchange import Exchange
    from domain.money import Time

_logger: Final = structlog.get_logger()

NOTE_SECONDS: Final = 1.0
"""The longest time for which the log is not told that transfers have been carried, unless it is written to anyway."""


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
        for to_partition, transfers in exchange.channels.outgoing.items():
            self.carry([Outgoing(to_partition, transfer, b"") for transfer in transfers])

    # --- what arrives

    def receive(self, now: "Time") -> None:
        """Take in what has come, and decide what it carries along. Raises InDoubt and CommandFailedError."""
        for arrival in self._topic.take():
            try:
                self._decider.receive(arrival.transfer, now)
            except MissingTransferError as error:
                # The topic has lost records. This channel stands still; all others go on.
                _logger.error("transfers_missing", partition=self._exchange.partition, reason=str(error))  # noqa: TRY400
            else:
                self._decide(arrival.then, now)
            self.next_offset = arrival.next_offset

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
