"""The engine: the one writer of a partition. It takes commands, decides them in memory, appends, and only then answers.

    stand by:  fold the log as it grows, until the engine that writes it is silent (a standby only)
    take over: claim the log, fold what a snapshot does not know of it
    for ever:  take the commands that have come
               decide each (first what is due by its time, then itself, then what it leaves unfinished)
               append their events, and how far the commands are read, as a batch, or in parts where many have come
               when a batch is known to be in the log, answer its commands

While one batch is on its way the next is decided already; nobody is answered before the log has confirmed.
Any doubt, an error or a timeout, ends in the same way: the state in memory is dropped and made again from the log, and
the commands without an outcome there are decided afresh. There is no undo.
"""

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec
import structlog

from consumers.engine.command_source import Answer, Source
from consumers.engine.log import Append, Fenced, InDoubt, Log, StaleCheckpoint
from consumers.engine.recorded_replies import REPLY_EVENTS_MAX
from consumers.engine.replica import Replica
from domain.events import Event
from domain.exchange import Entry, Exchange
from domain.money import Time
from domain.partition import CommandHadNoEffect, CommandRejected
from domain.rejections import Code, Rejection
from messages.commands import AdvanceTime, Command, InvalidCommand, QuoteOrder, Submitted
from messages.replies import Reply, make_reply, refusal
from messages.stored import to_stored

if TYPE_CHECKING:
    from pathlib import Path

    from eventsourcing.persistence import StoredEvent

_log: Final = structlog.get_logger()

IDLE_SECONDS: Final = 1.0
"""How long the engine waits for commands before it looks around again."""

PARTS: Final = 4
PART_COMMANDS_MIN: Final = 32
"""Commands that came together are appended in so many parts, but none smaller than this: each append has its own costs."""

RETRY_SECONDS_MAX: Final = 1.0
CLAIMS_MAX: Final = 5
"""How often a claim may be lost to another engine before this one gives up."""

FAILURES_MAX: Final = 3
"""How many errors of ours in a row, with nothing decided in between, stop the engine."""

FOLLOW_SECONDS: Final = 0.05
"""How long a standby waits for news of the log before it listens for signs of life."""

Clock = Callable[[], Time]


class Beats(Protocol):
    """Signs of life between the engines of one log (`consumers.kafka.heartbeats`). They decide who claims, not who writes."""

    seconds: float
    """From one sign to the next."""

    def stand_by(self) -> None:
        """Begin to listen."""

    def is_my_turn(self, position: int, *, behind: bool) -> bool:
        """Give a sign, and return whether to take over now; `behind`: the log has just grown, so its writer lives."""

    def hold(self, epoch: int, position: int) -> None:
        """Say that this engine writes the log from now on, under this epoch."""

    def must_end(self, position: int) -> bool:
        """Give a sign, and return whether another engine was told to take over. Raises Fenced when one has done so."""

    def check(self) -> None:
        """Raise Fenced when another engine has taken over from this one."""

    def end(self, position: int) -> None:
        """Say that this engine has ended."""

    def close(self) -> None:
        """Listen no more."""


def system_clock() -> Time:
    """Return the time of this machine."""
    return time_ns() // 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may hold."""

    commands_max: int = 1_000
    events_max: int = 4_000
    bytes_max: int = 1024 * 1024


class EngineFailedError(Exception):
    """The engine stopped because of an error of ours that came again each time."""


class _UndecidableError(Exception):
    """The exchange failed on the command with this id: an error of ours, with whatever state it left."""


class _Batch:
    """Events that are appended together, and the decisions that are answered when they are in the log."""

    __slots__ = (
        "before",
        "bytes",
        "commands",
        "decisions",
        "duplicates",
        "firsts",
        "positions",
        "rejected",
        "started",
        "stored",
    )

    def __init__(self) -> None:
        self.stored: list[StoredEvent] = []
        self.bytes = 0
        self.commands = self.rejected = self.duplicates = 0
        self.decisions: list[_Decision] = []
        self.firsts: list[tuple[str, int]] = []
        self.started = 0.0  # when its first command or event came
        self.positions: Sequence[int] = ()
        self.before = 0

    def position_of(self, place: int) -> int:
        """Return the position of an event by its place, once the batch is in the log; -1 is what stands before it."""
        return self.positions[place] if place >= 0 else self.before


class _Decision:
    """What becomes of a command, before that is known to be in the log.

    `place` is that of its last event in the batch. `first` is the decision on a command with the same id that came before
    and is not in the log yet either, `outcome` the same when it is.
    """

    __slots__ = ("batch", "events", "first", "outcome", "place", "reply", "submitted", "time")

    def __init__(
        self, submitted: Submitted, time: Time, batch: _Batch, place: int = -1, events: Sequence[Event] = ()
    ) -> None:
        self.submitted = submitted
        self.time = time
        self.batch = batch
        self.place = place
        self.events = events
        self.reply: Reply | None = None
        self.first: _Decision | None = None
        self.outcome: Reply | None = None

    def made(self) -> Reply:
        """Return the reply, its position still open."""
        return make_reply(self.submitted.command_id, self.submitted.digest, 0, self.time, self.events)


def _again(submitted: Submitted, outcome: Reply) -> Reply:
    """Return the first outcome of a command that came again, or the refusal of another one with its id."""
    if outcome.digest == submitted.digest:
        return outcome
    reused = Rejection(Code.COMMAND_ID_REUSED, "another command had this id", {"command_id": submitted.command_id})
    return refusal(submitted.command_id, submitted.digest, outcome.position, outcome.time, reused)


class Engine:
    """Decides the commands of one source and writes one partition's log, in a thread of its own or in the caller's.

    Args:
        log: the log, not yet taken over.
        source: where the commands come from.
        partition: the partition's number.
        clock: `system`, a function, or `command`: then the sender's `at` counts, and only commands move time.
        limits: what one batch may hold.
        folder: where snapshots and the index of commands are kept; none: all is folded at each start, and the index is
            in memory.
        beats: the signs of life that engines of one log give each other; none: nobody stands by.
        standby: whether to wait until no other engine gives any; needs `beats`.
    """

    def __init__(
        self,
        log: Log,
        source: Source,
        *,
        partition: int = 0,
        clock: Clock | Literal["system", "command"] = "system",
        limits: Limits | None = None,
        folder: "Path | None" = None,
        beats: Beats | None = None,
        standby: bool = False,
    ) -> None:
        self._log = log
        self._source = source
        self._partition = partition
        self._commands_clock = clock == "command"
        self._clock: Clock = clock if callable(clock) else system_clock
        self._limits = limits or Limits()
        self._beats = beats
        self._standby = standby
        self._replica = Replica(log, partition, folder)
        self._outcomes = self._replica.outcomes
        self._exchange = self._replica.exchange
        self._open: dict[str, _Decision] = {}
        self._undecidable: set[str] = set()
        self._batch = _Batch()
        self._sent: tuple[Append, _Batch] | None = None
        self._following: int | None = None
        self._parked = False
        self._failures = 0
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._runner: threading.Thread | None = None
        self.position = 0
        """The position of the last event that is known to be in the log."""
        self.error: Exception | None = None
        """Why the engine stopped by itself, or None."""

    # --- start and stop

    @property
    def exchange(self) -> Exchange:
        """The state in memory; only for the engine's own thread, or when it has stopped."""
        return self._exchange

    def start(self) -> None:
        """Run in a thread; returns at once."""
        self._runner = threading.Thread(target=self._run_in_thread, name=f"engine-{self._partition}", daemon=True)
        self._runner.start()

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Return when the log is read and commands are taken. Raises what stopped the engine, or TimeoutError."""
        if not self._ready.wait(timeout_seconds):
            raise TimeoutError("the engine has not taken over the log in time")
        if self.error is not None:
            raise self.error

    def request_stop(self) -> None:
        """End after the batch in hand; returns at once, may be called in a signal handler."""
        self._stopping.set()
        self._source.wake()

    def stop(self) -> None:
        """End after the batch in hand; waits for it."""
        self.request_stop()
        if self._runner is not None:
            self._runner.join()

    def run(self) -> None:
        """Run until stopped.

        Raises:
            Fenced: another engine writes the log.
            EngineFailedError: an error of ours came again and again.
        """
        _log.info("engine starting", partition=self._partition, source=self._source.name)
        try:
            self._run()
        except Exception as error:
            self.error = error
            _log.error("engine stopped", partition=self._partition, error=str(error), position=self.position)
            raise
        else:
            _log.info("engine stopped", partition=self._partition, position=self.position)
        finally:
            self._ready.set()
            if self._beats is not None:
                self._beats.close()
            self._source.close(self.error)
            self._log.close()
            self._replica.close()

    def _run_in_thread(self) -> None:
        with suppress(Fenced, EngineFailedError):  # `error` says it
            self.run()

    def _run(self) -> None:
        claims_lost = 0
        wait = 0.02
        while not self._stopping.is_set():
            try:
                if self._standby and not self._ready.is_set() and not self._stand_by():
                    return
                self._take_over()
                self._ready.set()
                claims_lost, wait = 0, 0.02
                self._serve()
            except Fenced:
                claims_lost += 1
                if self._ready.is_set() or (claims_lost == CLAIMS_MAX and not self._standby):
                    raise
                self._stopping.wait(random.uniform(0.05, 0.5))  # noqa: S311  two that duel back off at random
            except StaleCheckpoint as error:
                _log.warning("reading the log from its beginning", partition=self._partition, reason=str(error))
                self._replica.forget_files()
            except InDoubt as error:
                self._replica.drop()
                _log.warning("log in doubt, taking over again", partition=self._partition, reason=str(error))
                self._stopping.wait(wait)
                wait = min(2 * wait, RETRY_SECONDS_MAX)
            except _UndecidableError as error:
                _log.exception("command failed", partition=self._partition, command_id=str(error))
                self._undecidable.add(str(error))
            except Exception as error:
                self._replica.drop()
                self._failures += 1
                _log.exception("engine failed", partition=self._partition, failures=self._failures)
                if self._failures == FAILURES_MAX:
                    raise EngineFailedError(f"{type(error).__name__}: {error}") from error

    # --- take over

    def _stand_by(self) -> bool:
        """Fold the log as it grows; return True when it is time to take over, False when asked to stop."""
        assert self._beats is not None, "a standby listens"
        replica = self._replica
        replica.prepare()
        _log.info("standing by", partition=self._partition, position=replica.place.position)
        self._beats.stand_by()
        while not self._stopping.is_set():
            behind = replica.follow(FOLLOW_SECONDS)
            if self._beats.is_my_turn(replica.place.position, behind=behind):
                return True
            replica.save_followed()
        return False

    def _take_over(self) -> None:
        """Become the writer, with the state that the whole log makes."""
        began = perf_counter()
        if self._beats is not None and self._ready.is_set():
            self._beats.check()  # in doubt, or paused: perhaps another engine has taken over long ago
        self._batch, self._sent, self._parked = _Batch(), None, False
        self._open.clear()
        outcomes = self._replica.take_over()
        self._exchange, self.position = self._replica.exchange, self._replica.place.position
        self._following = self._source.rewind(self._replica.sources.get(self._source.name))
        _log.info(
            "log taken over",
            partition=self._partition,
            position=self.position,
            milliseconds=round((perf_counter() - began) * 1000, 1),
        )
        if self._beats is not None:
            self._beats.hold(self._log.epoch, self.position)
        # What a command left unfinished belongs to its outcome, so it is done before anybody is told of that.
        self._advance(self._exchange.time)
        self._send()
        self._confirm()
        ids = [outcome.command_id for outcome in outcomes]
        self._source.announce([found for command_id in ids if (found := self._outcomes.find(command_id))])

    # --- serve

    def _serve(self) -> None:
        while not self._stopping.is_set():
            works = self._source.take(self._limits.commands_max, 0.0 if self._sent else self._patience())
            now = self._clock()
            part = max(PART_COMMANDS_MIN, sum([len(work.commands) for work in works]) // PARTS)
            for work in works:
                for submitted in work.commands:
                    self._decide(submitted, now)
                    if self._batch.commands >= part and (self._sent is None or self._sent[0].done()):
                        self._send()  # who waits need not wait for the rest
                self._following = work.following
                self._parked |= work.parked
            if not works and not self._commands_clock:
                self._advance(max(now, self._exchange.time))
            self._send()
            if self._beats is not None and self._beats.must_end(self.position):
                self._hand_over()
            if self._replica.is_snapshot_due(self.position):
                self._send()
                self._confirm()  # now the state in memory is that of the log
                self._replica.save()
        self._confirm()
        self._replica.save_last(self.position)

    def _hand_over(self) -> None:
        """End as another engine was told to take over: finish what is in hand, then say so."""
        self._send()
        self._confirm()
        assert self._beats is not None, "that is how it was told"
        _log.info("handing over", partition=self._partition, position=self.position)
        self._beats.end(self.position)
        self._stopping.set()

    def _patience(self) -> float:
        """Return for how many seconds nothing is due."""
        idle = IDLE_SECONDS if self._beats is None else self._beats.seconds
        due = None if self._commands_clock else self._exchange.next_due()
        if due is None:
            return idle
        return min(max((due - self._clock()) / 1_000_000, 0.0), idle)

    def _decide(self, submitted: Submitted, now: Time) -> None:
        command, command_id = submitted.command, submitted.command_id
        batch = self._batch
        batch.commands += 1
        if not batch.started:
            batch.started = perf_counter()
        if self._is_repeated(submitted):
            return
        time = now if submitted.at is None or not self._commands_clock else submitted.at
        time = max(time, self._exchange.time)
        self._advance(time)
        if type(command) is QuoteOrder:
            self._quote(submitted, command, time)
            return
        if command_id in self._undecidable:
            self._source.park(submitted, "the engine failed on this command")
            self._parked = True
            return
        self._make_room()
        try:
            entries = self._entries(submitted, command, time)
        except Exception as error:
            raise _UndecidableError(command_id) from error
        batch = self._batch
        events = [entry.event for entry in entries]
        first = len(batch.stored)
        decision = _Decision(submitted, time, batch, first + len(entries) - 1, events)
        self._open[command_id] = decision
        batch.firsts.append((command_id, first))
        batch.rejected += type(events[0]) is CommandRejected
        self._add(entries, time, command_id, submitted.digest)
        self._advance(time, decision)
        self._batch.decisions.append(decision)

    def _is_repeated(self, submitted: Submitted) -> bool:
        """Return whether the command came before; it is then answered with its first outcome, or refused."""
        first = self._open.get(submitted.command_id)
        outcome = None if first is not None else self._outcomes.find(submitted.command_id)
        if first is None and outcome is None:
            return False
        self._batch.duplicates += 1
        again = _Decision(submitted, 0, self._batch)
        again.first, again.outcome = first, outcome
        self._batch.decisions.append(again)
        return True

    def _entries(self, submitted: Submitted, command: Command | InvalidCommand, time: Time) -> list[Entry]:
        """Return the events of a command, applied to the state."""
        command_id = submitted.command_id
        if isinstance(command, InvalidCommand):
            why = command.rejection
            event = CommandRejected(submitted.type, why.code, why.message, why.details)
            return [self._exchange.reply(event, time, command_id)]
        if isinstance(command, AdvanceTime):
            return [self._exchange.reply(CommandHadNoEffect("AdvanceTime"), time, command_id)]
        assert not isinstance(command, QuoteOrder), "a quote has no events"
        return self._exchange.handle(command, time, command_id)

    def _quote(self, submitted: Submitted, command: QuoteOrder, time: Time) -> None:
        """Answer with what the order would do after all that is decided by now."""
        outcome = self._exchange.quote(command.order, time)
        decision = _Decision(submitted, time, self._batch, len(self._batch.stored) - 1)
        if isinstance(outcome, Rejection):
            decision.reply = refusal(submitted.command_id, submitted.digest, 0, time, outcome)
        else:
            decision.events = [outcome]
        self._batch.decisions.append(decision)

    def _advance(self, time: Time, decision: _Decision | None = None) -> None:
        """Do all that is unfinished or due by this time; what a command left unfinished belongs to its decision."""
        exchange = self._exchange
        while not exchange.is_idle(time):
            self._make_room()
            found = exchange.step(time)
            if found is None:
                return
            command_id, entries = found
            self._add(entries, time, command_id, None)
            if decision is not None and command_id == decision.submitted.command_id:
                decision.batch, decision.place = self._batch, len(self._batch.stored) - 1
                room = REPLY_EVENTS_MAX - len(decision.events)
                decision.events = [*decision.events, *[entry.event for entry in entries[:room]]]

    def _add(self, entries: Sequence[Entry], time: Time, command_id: str, digest: str | None) -> None:
        batch = self._batch
        for entry in entries:
            stored = to_stored(entry, time, command_id, digest)
            batch.stored.append(stored)
            batch.bytes += len(stored.state)
            digest = None
        if not batch.started:
            batch.started = perf_counter()

    def _make_room(self) -> None:
        """Send the batch when it is half full: no command or step brings more events than the other half holds."""
        batch, limits = self._batch, self._limits
        if (
            batch.commands > limits.commands_max
            or 2 * len(batch.stored) >= limits.events_max
            or 2 * batch.bytes >= limits.bytes_max
        ):
            self._send()

    # --- append and answer

    def _send(self) -> None:
        """Confirm the batch that is on its way, and send this one after it."""
        self._confirm()
        batch, self._batch = self._batch, _Batch()
        if batch.stored or self._parked:
            assert self._following is not None, "the source said where it begins"
            self._parked = False
            mark = self._exchange.read_to(self._source.name, self._following)
            self._replica.sources[self._source.name] = self._following
            batch.stored.append(to_stored(mark, self._exchange.time or self._clock(), ""))
            self._sent = (self._log.begin(batch.stored), batch)
            for decision in batch.decisions:  # while it is on its way
                if decision.events:
                    decision.reply = decision.made()
        elif batch.decisions:
            batch.before = self.position
            self._answer(batch)

    def _confirm(self) -> None:
        """Wait until the batch that was sent is in the log, then answer its commands."""
        if self._sent is None:
            return
        append, batch = self._sent
        batch.positions = positions = append.result()
        self._sent = None
        batch.before, self.position = self.position, positions[-1]
        index = self._outcomes.index
        for command_id, place in batch.firsts:
            index.add(command_id, positions[place])
        index.advance(self.position)
        self._answer(batch)
        self._failures = 0
        _log.info(
            "batch",
            partition=self._partition,
            first=positions[0],
            last=positions[-1],
            commands=batch.commands,
            events=len(positions),
            rejected=batch.rejected,
            duplicates=batch.duplicates,
            milliseconds=round((perf_counter() - batch.started) * 1000, 1) if batch.started else 0.0,
        )

    def _answer(self, batch: _Batch) -> None:
        answers: list[Answer] = []
        for decision in batch.decisions:
            submitted = decision.submitted
            if decision.first is not None:
                decision.outcome = decision.first.outcome
            if decision.outcome is not None:
                answers.append((submitted, _again(submitted, decision.outcome)))
                continue
            reply = decision.reply or decision.made()
            msgspec.structs.force_setattr(reply, "position", decision.batch.position_of(decision.place))
            if self._open.get(submitted.command_id) is decision:
                del self._open[submitted.command_id]
                decision.outcome = reply
                self._outcomes.remember(reply)
            answers.append((submitted, reply))
        # They refer to the batch, and it to them: without this only the garbage collector would free them, in long stops.
        batch.decisions.clear()
        self._source.answer(answers)
