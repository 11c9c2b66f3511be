"""The engine: the one writer of a partition. It takes commands, decides them in memory, appends, and only then replies.

    stand by:  (a standby only) fold the log as it grows, until the engine that writes it is silent
    take over: claim the log; fold the part of it that the snapshot does not cover
    serve:     take the commands that have come
               decide each: first what is due by its time, then the command, then what it leaves unfinished
               append the events and the read offset; split them into several batches if many commands came
               look up a few old commands that have come again, while the log is writing
               when the log has a batch, send its replies

The engine decides the next batch while one is on its way to the log. It sends no reply before the log has confirmed.
Any doubt, an error or a timeout, ends in the same way: the engine drops the state in memory, makes it again from the
log, and decides the commands again that have no reply there. There is no undo.
"""

import random
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal

import structlog

from consumers.engine.batch import AppendBatch, BatchLimits
from consumers.engine.clock import Clock, system_clock
from consumers.engine.command_source import CommandSource
from consumers.engine.courier import Courier, TransferMeasures
from consumers.engine.decider import CommandFailedError, Decider
from consumers.engine.heartbeats import Heartbeats
from consumers.engine.log import Append, Fenced, InDoubt, Log, LogLost, UnsafeLog
from consumers.engine.replica import Replica
from consumers.engine.runner import EngineFailedError, EngineRunner
from consumers.engine.transfer_topic import TransferTopic
from domain.exchange import Exchange
from messages.commands import Submitted
from messages.stored import to_stored

if TYPE_CHECKING:
    from pathlib import Path

    from eventsourcing.persistence import StoredEvent

_logger: Final = structlog.get_logger()

IDLE_SECONDS: Final = 1.0
"""The longest wait for commands before the engine looks around again."""

APPENDS: Final = 4
"""The number of appends into which a large group of commands is split: the first replies need not wait for the last."""

APPEND_COMMANDS_MIN: Final = 32
"""The fewest commands of such an append: each append has costs of its own."""

RETRY_SECONDS_MAX: Final = 1.0
"""The longest pause before the engine takes over again after a doubt."""

CLAIMS_MAX: Final = 5
"""The number of claims lost to another engine after which this one gives up."""

FAILURES_MAX: Final = 3
"""The number of errors of ours in a row, with no batch appended in between, after which the engine stops."""

UNRECORDED_MAX: Final = 1_000
"""The quotes and repeated commands after which the log says how far the source is read: a new engine takes the rest again."""

FOLLOW_SECONDS: Final = 0.05
"""The longest wait of a standby for news of the log before it listens for heartbeats."""


class Engine(EngineRunner):
    """Decides the commands of one source and writes one partition's log, in a thread of its own or in the caller's.

    Args:
        log: the log, not yet taken over.
        source: where the commands come from.
        partition: the partition's number.
        transfers: what carries cash to and from other partitions; only where there are several.
        clock: `system`, a function, or `command`: then the sender's `at` counts, and only commands move time.
        limits: the most that one batch may hold.
        hold_seconds: how long payouts cannot be withdrawn; with 0 all available cash can be.
        folder: where snapshots and the command index are kept. Without it the engine folds the whole log at each start,
            and the index is in memory.
        heartbeats: those that the engines of one log exchange; without them nobody stands by.
        standby: whether to wait until no other engine sends heartbeats; needs `heartbeats`.
    """

    def __init__(
        self,
        log: Log,
        source: CommandSource,
        *,
        partition: int = 0,
        transfers: TransferTopic | None = None,
        clock: Clock | Literal["system", "command"] = "system",
        limits: BatchLimits | None = None,
        hold_seconds: int = 0,
        folder: "Path | None" = None,
        heartbeats: Heartbeats | None = None,
        standby: bool = False,
    ) -> None:
        super().__init__(partition)
        self._log, self._source = log, source
        self._transfers = transfers
        self._courier: Courier | None = None
        self._sender_sets_time = clock == "command"
        self._clock: Clock = clock if callable(clock) else system_clock
        self._limits = limits or BatchLimits()
        self._hold_seconds = hold_seconds
        self._heartbeats, self._standby = heartbeats, standby
        self._replica = Replica(log, partition, folder)
        self._failed_commands: set[str] = set()
        self._exchange = self._replica.exchange
        self._decider = self._new_decider()
        self._sent: tuple[Append, AppendBatch] | None = None
        self._unrecorded = 0  # commands that were answered since the log last said how far the source is read
        self._failures = 0

    @property
    def exchange(self) -> Exchange:
        """The state in memory; only for the engine's own thread, or when it has stopped."""
        return self._exchange

    def snapshot_age(self) -> float | None:
        """Return the seconds since this engine last began a snapshot, or read one; None if it keeps none."""
        return self._replica.snapshot_age()

    def transfers(self) -> TransferMeasures | None:
        """Return the numbers of what goes to and comes from other partitions; None if there are none, or nothing is known yet."""
        return None if self._courier is None else self._courier.measured()

    def _wake(self) -> None:
        self._source.wake()

    def _close(self) -> None:
        if self._heartbeats is not None:
            self._heartbeats.close()
        self._source.close(self.error)
        if self._transfers is not None:
            self._transfers.close()
        self._log.close()
        self._replica.close()

    def _run(self) -> None:
        claims_lost = 0
        wait = 0.02
        while not self._stopping.is_set():
            try:
                if self._standby and not self._ready.is_set() and not self._stand_by():
                    return
                self.measures.state = "taking_over"
                self._take_over()
                self.measures.begin_to_serve()
                self._ready.set()
                claims_lost, wait = 0, 0.02
                self._serve()
            except Fenced:
                claims_lost += 1
                if self._ready.is_set() or (claims_lost == CLAIMS_MAX and not self._standby):
                    raise
                self._stopping.wait(random.uniform(0.05, 0.5))  # noqa: S311  two that duel back off at random
            except (LogLost, UnsafeLog):
                raise
            except InDoubt as error:
                self._replica.drop()
                self.measures.note_doubt()
                _logger.warning("log_in_doubt", partition=self._partition, reason=str(error), retry_seconds=wait)
                self._stopping.wait(wait)
                wait = min(2 * wait, RETRY_SECONDS_MAX)
            except CommandFailedError as error:
                _logger.exception("command_failed", partition=self._partition, command_id=str(error))
                self._failed_commands.add(str(error))
            except Exception as error:
                self._replica.drop()
                self._failures += 1
                _logger.exception("engine_failed", partition=self._partition, failures=self._failures)
                if self._failures == FAILURES_MAX:
                    raise EngineFailedError(f"{type(error).__name__}: {error}") from error

    # --- take over

    def _stand_by(self) -> bool:
        """Fold the log as it grows; return True when it is time to take over, False when asked to stop."""
        assert self._heartbeats is not None, "a standby listens"
        replica = self._replica
        replica.prepare()
        _logger.info("standby_started", partition=self._partition, position=replica.folded_checkpoint.position)
        self._heartbeats.stand_by()
        self.measures.state = "standby"
        while not self._stopping.is_set():
            self._log.raise_if_unsafe()
            log_grew = replica.follow(FOLLOW_SECONDS)
            self.measures.note_followed()
            self.position = replica.folded_checkpoint.position
            if self._heartbeats.is_my_turn(replica.folded_checkpoint.position, log_grew=log_grew):
                return True
        return False

    def _take_over(self) -> None:
        """Become the writer, with the state that the whole log makes."""
        began = perf_counter()
        if self._heartbeats is not None and self._ready.is_set():
            self._heartbeats.check()  # in doubt, or paused: perhaps another engine has taken over long ago
        self._sent = None
        last_replies = self._replica.take_over()
        self._exchange, self.position = self._replica.exchange, self._replica.folded_checkpoint.position
        self._decider = self._new_decider()
        self._decider.next_offset = self._source.rewind(self._replica.next_offsets)
        if self._transfers is not None:
            self._courier = Courier(self._transfers, self._decider, self._exchange, self._replica.next_offsets)
        if self._decider.next_offset != self._replica.next_offsets.get(self._source.name, self._decider.next_offset):
            # Commands expired: the log says so with the next append, and nobody twice.
            self._unrecorded = UNRECORDED_MAX
        _logger.info(
            "log_taken_over",
            partition=self._partition,
            position=self.position,
            milliseconds=round((perf_counter() - began) * 1000, 1),
        )
        if self._heartbeats is not None:
            self._heartbeats.hold(self._log.epoch, self.position)
        # What a command left unfinished belongs to its reply, so it is done before anybody is told of that.
        self._decider.advance(self._exchange.time)
        self._confirm_and_append()
        self._confirm()
        ids = [reply.command_id for reply in last_replies]
        self._source.repeat_replies([found for each in ids if (found := self._replica.replies.find(each))])

    def _new_decider(self) -> Decider:
        self._exchange.hold_seconds = self._hold_seconds
        return Decider(
            self._exchange,
            self._replica.replies,
            self._limits,
            sender_sets_time=self._sender_sets_time,
            failed=self._failed_commands,
            park=self._park,
            append=self._confirm_and_append,
        )

    def _park(self, submitted: Submitted, reason: str) -> None:
        if self._courier is None or not self._courier.park(submitted, reason):
            self._source.park(submitted, reason)

    # --- serve

    def _serve(self) -> None:
        decider, measures = self._decider, self.measures
        while not self._stopping.is_set():
            self._log.raise_if_unsafe()
            is_busy = self._sent is not None or decider.is_busy
            measures.took_at = began = perf_counter()
            groups = self._source.take(self._limits.commands_max, 0.0 if is_busy else self._seconds_to_wait())
            measures.idle_seconds += perf_counter() - began
            now = self._clock()
            if self._courier is not None:
                self._courier.receive(now)
            measures.waiting = sum([len(group.commands) for group in groups])
            enough = max(APPEND_COMMANDS_MIN, measures.waiting // APPENDS)
            for group in groups:
                for submitted in group.commands:
                    decider.decide(submitted, now)
                    if decider.batch.commands >= enough and (self._sent is None or self._sent[0].done()):
                        self._confirm_and_append()
                decider.next_offset = group.next_offset
                decider.batch.parked |= group.parked
            if not groups and not self._sender_sets_time:
                decider.advance(max(now, self._exchange.time))
            self._confirm_and_append()
            decider.look_up_old(now, None if self._sent is None else self._sent[0].done)
            if self._heartbeats is not None and self._heartbeats.must_end(self.position):
                self._hand_over(self._heartbeats)
                return  # without a last snapshot: another engine writes the log now
            if self._heartbeats is not None and self._heartbeats.is_doubted():
                self._unrecorded = UNRECORDED_MAX  # the next append asks the log, which knows
            if self._replica.is_snapshot_due(self.position):
                self._confirm_and_append()
                self._confirm()  # now the state in memory is that of the log
                self._replica.save()
        self._confirm()
        self._replica.save_last(self.position)
        self._confirm_and_append()
        self._confirm()

    def _hand_over(self, heartbeats: Heartbeats) -> None:
        """Finish the current batch, say so, and end: another engine was told to take over."""
        self._confirm_and_append()
        self._confirm()
        _logger.info("handing_over", partition=self._partition, position=self.position)
        heartbeats.end(self.position)
        self._stopping.set()

    def _seconds_to_wait(self) -> float:
        """Return how long to wait for commands: until something is due, at most `IDLE_SECONDS` or one heartbeat."""
        idle = IDLE_SECONDS if self._heartbeats is None else self._heartbeats.seconds
        due = None if self._sender_sets_time else self._exchange.next_due()
        if due is None:
            return idle
        return min(max((due - self._clock()) / 1_000_000, 0.0), idle)

    def _confirm_and_append(self) -> None:
        """Confirm the batch that is on its way, and begin to append the next one."""
        self._confirm()
        self._decider.note(self._replica.take_written())
        if self._courier is not None:
            self._courier.look_after()
        batch = self._decider.take_batch()
        self._unrecorded += len(batch.decided)
        next_offset = self._decider.answered_offset()
        is_held = next_offset != self._decider.next_offset and next_offset == self._replica.next_offsets.get(
            self._source.name
        )  # by old commands that wait: the log need not say the same again
        if batch.events or batch.parked or (self._unrecorded >= UNRECORDED_MAX and not is_held):
            assert next_offset is not None, "the source said where it begins"
            self._unrecorded = 0
            batch.events.append(self._mark(self._source.name, next_offset))
            if self._courier is not None and (mark := self._courier.take_mark()) is not None:
                batch.events.append(self._mark(*mark))
            self._sent = (self._log.begin(batch.events), batch)
            batch.make_replies()
        elif batch.decided:  # only quotes and repeats: nothing to append
            batch.position_before = self.position
            self.measures.duplicates += batch.duplicates
            self._source.send_replies(self._decider.replies_to(batch))

    def _mark(self, source: str, next_offset: int) -> "StoredEvent":
        """Return the event that says how far a source is read."""
        self._replica.next_offsets[source] = next_offset
        read = self._exchange.commands_read(source, next_offset)
        return to_stored(read, self._exchange.time or self._clock(), "")

    def _confirm(self) -> None:
        """Wait until the log has the batch that is on its way, then send the replies to its commands."""
        if self._sent is None:
            return
        append, batch = self._sent
        batch.positions = positions = append.result()
        self._sent = None
        batch.position_before, self.position = self.position, positions[-1]
        self._replica.known_log.note(self._log.checkpoint)
        self._decider.note_appended(batch, self._log.checkpoint)
        if self._courier is not None:
            self._courier.carry(batch.sent)
        self._source.send_replies(self._decider.replies_to(batch))
        self._failures = 0
        self.measures.note_appended(self._partition, batch)
