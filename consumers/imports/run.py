"""Runs an import: a real engine decides the commands of a history into a real log that has nothing else in it."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Final

from consumers.engine.command_source import CommandGroup
from consumers.engine.engine import Engine
from domain.orders import PlaceOrder
from domain.partition import CommandsRead
from messages.commands import Submitted, body_and_digest
from messages.stored import decode_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from eventsourcing.persistence import ApplicationRecorder

    from consumers.engine.batch import BatchLimits
    from consumers.engine.command_source import CommandReply
    from consumers.engine.log import Log
    from consumers.imports.history import ImportHistory, TimedCommand
    from messages.replies import Reply

READY_SECONDS: Final = 600.0
"""The longest wait for the engine: after an import that was killed it folds what is in the log."""

_LOOK_SECONDS: Final = 0.2
_FIRST_EVENTS: Final = 10_000
"""More than the first append of any log has."""


class OccupiedLogError(Exception):
    """The log has something else in it than this import."""


@dataclass(slots=True)
class ImportReport:
    """What an import did; `before` commands were in the log already, from an import that was killed or is done."""

    commands: int = 0
    before: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    """Trades by what became of their orders: filled, partially_filled, canceled (nothing was filled)."""
    refused: Counter[str] = field(default_factory=Counter)
    """Trades that the rules refused, by code."""
    others_refused: Counter[str] = field(default_factory=Counter)
    """Other commands that were refused, by type and code: none, unless an import meets a rule that it does not know."""
    position: int = 0
    seconds: float = 0.0


class ImportSource:
    """The commands of a history as the source of an engine. It gives out nothing before `open`."""

    def __init__(self, name: str, history: ImportHistory) -> None:
        self._name = name
        self._history = history
        self._commands: Iterator[TimedCommand] = iter(())
        self._next_offset = 1
        self._opened = threading.Event()
        self._stopped = False
        self.next_offsets: Mapping[str, int] = {}
        """What the log says about sources, this one and others."""
        self.done = threading.Event()
        """Set when all commands were given out."""
        self.parked: list[str] = []
        self.report = ImportReport()

    @property
    def name(self) -> str:
        """The name under which the log says how far this source is read."""
        return self._name

    def open(self) -> None:
        """Give out commands from now on."""
        self._opened.set()

    def rewind(self, next_offsets: Mapping[str, int]) -> int:
        """Go on behind the commands that the log has."""
        self.next_offsets = dict(next_offsets)
        self._next_offset = next_offsets.get(self._name) or 1
        self._commands = islice(self._history.commands(), self._next_offset - 1, None)
        return self._next_offset

    def take(self, limit: int, timeout_seconds: float) -> Sequence[CommandGroup]:
        """Return the next commands."""
        if not self._opened.wait(timeout_seconds) or self._stopped:
            return ()
        commands = [_submitted(command) for command in islice(self._commands, limit)]
        if not commands:
            self.done.set()
            return ()
        self._next_offset += len(commands)
        return (CommandGroup(commands, self._next_offset),)

    def send_replies(self, replies: Sequence[CommandReply]) -> None:
        """Count what became of the commands, now that the log has them."""
        report = self.report
        report.commands += len(replies)
        for submitted, reply in replies:
            if type(submitted.command) is not PlaceOrder:
                if reply.code is not None:
                    report.others_refused[f"{submitted.type} {reply.code}"] += 1
            elif reply.code is not None:
                report.refused[reply.code] += 1
            else:
                report.orders[reply.result["status"]] += 1

    def repeat_replies(self, replies: Sequence[Reply]) -> None:
        """Do nothing: nobody waits for them."""

    def park(self, command: Submitted, reason: str) -> None:
        """Note a command that the engine fails on: an error of ours, that ends the import."""
        self.parked.append(f"{command.command_id}: {reason}")

    def wake(self) -> None:
        """Let `take` return, now and from now on: the engine is to stop."""
        self._stopped = True
        self._opened.set()

    def close(self, error: BaseException | None) -> None:  # noqa: ARG002  the engine has it too
        """End the import."""
        self.done.set()


def _submitted(timed: TimedCommand) -> Submitted:
    body, digest = body_and_digest(timed.command)
    return Submitted(timed.command_id, timed.command, digest, timed.time, None, type(timed.command).__name__, body)


def source_name(digest: str) -> str:
    """Return the name of the source of an import."""
    return f"import-{digest}"


def check_log(recorder: ApplicationRecorder, digest: str) -> None:
    """Raise OccupiedLogError unless the log is empty, or begins with this import. Nothing is claimed or written."""
    if not recorder.max_notification_id():
        return
    for event in recorder.select_notifications(1, _FIRST_EVENTS):
        data = decode_state(event.topic, event.state).data
        if isinstance(data, CommandsRead):
            if data.source == source_name(digest):
                return
            break
    raise OccupiedLogError("the log has events of something else than this import")


def run_import(
    log: Log,
    history: ImportHistory,
    digest: str,
    *,
    limits: BatchLimits,
    partition: int = 0,
    folder: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Decide all commands of the history that the log does not have yet, and return what became of them.

    The log has been checked with `check_log`. An import that is killed at any moment goes on when it is run again, and the
    log is the same in the end.

    `progress` is called now and then with the number of commands that are in the log.

    Raises:
        OccupiedLogError: others have written to the log, or time has gone on in it, since the import was killed.
        Fenced: another engine runs.
        EngineFailedError: an error of ours.
    """
    began = perf_counter()
    source = ImportSource(source_name(digest), history)
    engine = Engine(log, source, partition=partition, clock="command", limits=limits, folder=folder)
    engine.start()
    try:
        engine.wait_until_ready(READY_SECONDS)
        source.report.before = source.next_offsets.get(source.name, 1) - 1
        _check_goes_on(source, history)
        source.open()
        while not source.done.wait(_LOOK_SECONDS):
            progress(source.report.before + source.report.commands)
    finally:
        engine.stop()
    if engine.error is not None:
        raise engine.error
    assert not source.parked, f"the engine failed on {source.parked[0]}"
    progress(source.report.before + source.report.commands)
    source.report.position = engine.position
    source.report.seconds = perf_counter() - began
    return source.report


def _check_goes_on(source: ImportSource, history: ImportHistory) -> None:
    """Raise OccupiedLogError where the rest of the history cannot follow what the log has.

    Each append ends with the name of its source, so the log says whether anybody else has appended, or only moved time.
    """
    is_done = next(islice(history.commands(), source.report.before, None), None) is None
    if not is_done and set(source.next_offsets) - {source.name}:
        raise OccupiedLogError(
            "others have written to the log since this import was stopped; the rest cannot follow them"
        )
