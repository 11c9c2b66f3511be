"""Decides commands on the exchange's state, and keeps them until the log has their events and they have their replies.

Decider           fills one batch after the other
entries_of        decides one command
"""

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import msgspec

from consumers.engine.batch import AppendBatch, BatchLimits, DecidedCommand
from consumers.engine.command_source import CommandReply
from consumers.engine.log import Checkpoint
from consumers.engine.recorded_replies import REPLY_EVENTS_MAX, RecordedReplies
from consumers.engine.transfer_topic import Outgoing
from domain.exchange import Entry, Exchange
from domain.money import Time
from domain.partition import CommandHadNoEffect, CommandRejected, SnapshotWritten
from domain.rejections import Code, Rejection
from domain.transfer_rules import channel_full
from domain.transfers import FundsCarried, FundsSent, Transfer, TransferFunds
from domain.values import json_of
from messages.commands import AdvanceTime, InvalidCommand, QuoteOrder, Submitted
from messages.replies import Reply, refusal
from messages.stored import to_stored

LOOK_UPS_MAX: Final = 8
"""The most look-ups of old commands before the engine sees whether new ones have come."""

OLD_MAX: Final = 10_000
"""The most old commands that wait for their look-up. Beyond it new ones have to wait too."""


class CommandFailedError(Exception):
    """The exchange raised an error on the command with this id: a bug, and the state in memory may be damaged."""


class Decider:
    """Decides commands on the exchange's state and fills batches with their events. Made anew at each take-over.

    Args:
        exchange: the state, as the log tells it; from now on only the decider changes it.
        replies: the replies that are in the log.
        limits: the most that one batch may hold.
        sender_sets_time: whether commands happen at their sender's time; otherwise at the engine's.
        failed: ids of commands that the exchange raised an error on; they are parked.
        park: puts such a command aside.
        append: called when the batch has no room for another command or step; it must take the batch with `take_batch`.
    """

    def __init__(
        self,
        exchange: Exchange,
        replies: RecordedReplies,
        limits: BatchLimits,
        *,
        sender_sets_time: bool,
        failed: set[str],
        park: Callable[[Submitted, str], None],
        append: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._replies = replies
        self._limits = limits
        self._sender_sets_time = sender_sets_time
        self._failed = failed
        self._park = park
        self._append = append
        self._unconfirmed: dict[str, DecidedCommand] = {}
        self._old: deque[tuple[Submitted, int | None]] = deque()
        self.batch = AppendBatch()
        """What was decided and not taken yet."""
        self.next_offset: int | None = None
        """The source's offset of the next group of commands. Whoever takes the groups moves it."""

    def take_batch(self) -> AppendBatch:
        """Return the batch, and begin a new one."""
        batch, self.batch = self.batch, AppendBatch()
        return batch

    # --- decide

    def decide(self, submitted: Submitted, now: Time) -> None:
        """First do what is due by then, then decide the command, then finish what it left.

        Raises CommandFailedError.
        """
        batch = self.batch
        batch.commands += 1
        if not batch.started:
            batch.started = perf_counter()
        if not self._is_old(submitted):
            self._decide_new(submitted, now)

    def _decide_new(self, submitted: Submitted, now: Time) -> None:
        command, command_id = submitted.command, submitted.command_id
        time = now if submitted.at is None or not self._sender_sets_time else submitted.at
        time = max(time, self._exchange.time)
        self.advance(time)
        if type(command) is QuoteOrder:
            self._quote(submitted, command, time)
            return
        if command_id in self._failed:
            self._park(submitted, "the engine failed on this command")
            self.batch.parked = True
            return
        if type(command) is TransferFunds and (busy := channel_full(self._exchange.channels, command.to_partition)):
            self._tell(submitted, time, busy)
            return
        self._make_room()
        try:
            entries = entries_of(self._exchange, submitted, time)
        except Exception as error:
            raise CommandFailedError(command_id) from error
        batch = self.batch  # `_make_room` may have begun a new batch
        if isinstance(entries, Rejection):
            self._tell(submitted, time, entries)
            return
        events = [entry.event for entry in entries]
        first = len(batch.events)
        decided = DecidedCommand(submitted, time, batch, first + len(entries) - 1, events)
        self._unconfirmed[command_id] = decided
        batch.first_events.append((command_id, first))
        about = events[0]
        if type(about) is CommandRejected:
            batch.refused_codes.append(about.code)
        elif type(about) is FundsSent:
            transfer = self._exchange.channels.outgoing[about.to_partition][-1]
            batch.sent.append(Outgoing(about.to_partition, transfer, submitted.then))
        self._add(entries, time, command_id, submitted.digest)
        self.advance(time, decided)
        self.batch.decided.append(decided)

    def advance(self, time: Time, decided: DecidedCommand | None = None) -> None:
        """Do all that is unfinished or due by this time. What `decided` left unfinished belongs to its reply."""
        exchange = self._exchange
        while not exchange.is_idle(time):
            self._make_room()
            found = exchange.step(time)
            if found is None:
                return
            command_id, entries = found
            self._add(entries, time, command_id, None)
            if decided is not None and command_id == decided.submitted.command_id:
                decided.batch, decided.last = self.batch, len(self.batch.events) - 1
                room = REPLY_EVENTS_MAX - len(decided.events)
                decided.events = [*decided.events, *[entry.event for entry in entries[:room]]]

    def receive(self, transfer: Transfer, now: Time) -> None:
        """First do what is due, then add the events of a transfer from another partition, if it is not known.

        Raises MissingTransferError.
        """
        time = self._exchange.time if self._sender_sets_time else max(now, self._exchange.time)
        time = max(time, transfer.time)
        self.advance(time)
        self._make_room()
        self._add(self._exchange.receive(transfer, time), time, transfer.receipt_id, None)

    def note(self, event: SnapshotWritten | FundsCarried | None) -> None:
        """Add to the batch what the engine itself has to tell the log, if it has."""
        if event is not None:
            time = self._exchange.time
            self._add([self._exchange.emit_partition_event(event, time, "")], time, "", None)

    def _is_old(self, submitted: Submitted) -> bool:
        """Return whether a command with this id came before, or may have; then the command waits for that one's reply."""
        command_id = submitted.command_id
        original = self._unconfirmed.get(command_id)
        recorded = None if original is not None else self._replies.in_memory(command_id)
        if original is not None or recorded is not None:
            self._repeat(submitted, original, recorded)
            return True
        if self._replies.may_be_in_log(command_id):
            self._old.append((submitted, self.next_offset))
            return True
        return False

    def _repeat(self, submitted: Submitted, original: DecidedCommand | None, recorded: Reply | None) -> None:
        """Give the command the reply to the earlier command with its id."""
        self.batch.duplicates += 1
        repeated = DecidedCommand(submitted, 0, self.batch)
        repeated.original, repeated.recorded = original, recorded
        self.batch.decided.append(repeated)

    # --- old commands

    @property
    def is_busy(self) -> bool:
        """True while old commands wait for their look-up, or commands for their reply."""
        return bool(self._old or self.batch.decided)

    def look_up_old(self, now: Time, is_appended: Callable[[], bool] | None) -> None:
        """Read the replies to a few old commands from the log, while an append is on its way: until `is_appended`.

        New commands and their replies go first, so that whoever sends old ones again does not hold up the others. Raises
        InDoubt and CommandFailedError.
        """
        look_ups = 0
        while self._old and (look_ups < LOOK_UPS_MAX or len(self._old) > OLD_MAX):
            look_ups += 1
            submitted, _ = self._old[0]
            original = self._unconfirmed.get(submitted.command_id)
            recorded = None if original is not None else self._replies.find(submitted.command_id)
            if original is None and recorded is None:  # another command shares its fingerprint in the index
                self._decide_new(submitted, now)
            else:
                self._repeat(submitted, original, recorded)
            self._old.popleft()
            if is_appended is not None and is_appended():
                return

    def answered_offset(self) -> int | None:
        """Return the offset up to which all commands have been decided or answered: those that wait come after it."""
        return self._old[0][1] if self._old else self.next_offset

    def _quote(self, submitted: Submitted, command: QuoteOrder, time: Time) -> None:
        """Reply with what the order would do after all that is decided by now."""
        quoted = self._exchange.quote(command.order, time)
        if isinstance(quoted, Rejection):
            self._tell(submitted, time, quoted)
        else:
            last = len(self.batch.events) - 1
            self.batch.decided.append(DecidedCommand(submitted, time, self.batch, last, quoted))

    def _tell(self, submitted: Submitted, time: Time, why: Rejection) -> None:
        """Reply with a refusal that leaves nothing in the log. It holds after all that is decided by now, no longer."""
        decided = DecidedCommand(submitted, time, self.batch, len(self.batch.events) - 1)
        decided.reply = refusal(submitted.command_id, submitted.digest, 0, time, why)
        self.batch.decided.append(decided)

    def _add(self, entries: Sequence[Entry], time: Time, command_id: str, digest: str | None) -> None:
        batch = self.batch
        for entry in entries:
            stored = to_stored(entry, time, command_id, digest)
            batch.events.append(stored)
            batch.bytes += len(stored.state)
            digest = None
        if not batch.started:
            batch.started = perf_counter()

    def _make_room(self) -> None:
        """Append the batch when it has all commands that it may hold, or half of the events or bytes.

        One command or step has no more events than the other half holds.
        """
        batch, limits = self.batch, self._limits
        if (
            batch.commands > limits.commands_max
            or 2 * len(batch.events) >= limits.events_max
            or 2 * batch.bytes >= limits.bytes_max
        ):
            self._append()

    # --- replies

    def note_appended(self, batch: AppendBatch, after: Checkpoint) -> None:
        """Note in the command index where the commands of a batch stand, now that the log has it up to `after`."""
        index, positions = self._replies.index, batch.positions
        for command_id, first in batch.first_events:
            index.add(command_id, positions[first])
        index.advance(after)

    def replies_to(self, batch: AppendBatch) -> list[CommandReply]:
        """Return the reply to each command of a batch whose events, if it has any, are in the log. To be called once."""
        replies: list[CommandReply] = []
        for decided in batch.decided:
            submitted = decided.submitted
            if decided.original is not None:
                decided.recorded = decided.original.recorded
            if decided.recorded is not None:
                replies.append((submitted, _repeated_reply(submitted, decided.recorded)))
                continue
            reply = decided.reply or decided.make_reply()
            msgspec.structs.force_setattr(reply, "position", decided.batch.position_of(decided.last))
            if self._unconfirmed.get(submitted.command_id) is decided:
                del self._unconfirmed[submitted.command_id]
                decided.recorded = reply
                self._replies.remember(reply)
            replies.append((submitted, reply))
        # The commands refer to their batch, and it to them. Unless the circle is cut here, only the garbage collector
        # would free them, and it would stop the engine for long.
        batch.decided.clear()
        return replies


def entries_of(exchange: Exchange, submitted: Submitted, time: Time) -> list[Entry] | Rejection:
    """Decide a command at this time on an exchange that has nothing left to do then; return its events, already applied.

    The command is not a quote, which has no events. A refusal is no outcome, and only returned with `Submitted.top_up`.
    """
    command, command_id = submitted.command, submitted.command_id
    if isinstance(command, InvalidCommand):
        why = command.rejection
        event = CommandRejected(submitted.type, why.code, why.message, why.details, None, None, json_of(submitted.body))
        return [exchange.emit_partition_event(event, time, command_id)]
    if isinstance(command, AdvanceTime):
        ticked = CommandHadNoEffect("AdvanceTime", None, None, json_of(submitted.body))
        return [exchange.emit_partition_event(ticked, time, command_id)]
    assert not isinstance(command, QuoteOrder), "a quote has no events"
    if submitted.top_up:
        return exchange.handle_if_funded(command, time, command_id, submitted.body)
    return exchange.handle(command, time, command_id, submitted.body)


def _repeated_reply(submitted: Submitted, recorded: Reply) -> Reply:
    """Return the recorded reply if the same command came again, a refusal if another command has its id."""
    if recorded.digest == submitted.digest:
        return recorded
    reused = Rejection(Code.COMMAND_ID_REUSED, "another command had this id", {"command_id": submitted.command_id})
    return refusal(submitted.command_id, submitted.digest, recorded.position, recorded.time, reused)
