"""Where the engine's commands come from, and where its replies go: this process, or Kafka (consumers/kafka/command_source.py)."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from consumers.errors import EngineStopped, Undecidable
from messages.commands import Submitted
from messages.replies import Reply

Answer = tuple[Submitted, Reply]


class Work(NamedTuple):
    """Commands that came together. When all have their outcome, the source is read up to `following`."""

    commands: Sequence[Submitted]
    following: int
    parked: bool = False
    """Whether something in it went to the dead letters: then the progress is recorded even if nothing else happened."""


class Source(Protocol):
    """Commands in their order, each taken once until the engine rewinds."""

    @property
    def name(self) -> str:
        """The name under which the log says how far this source is read."""

    def rewind(self, following: int | None) -> int:
        """Go on from where the log says the source is read to, None where it says nothing yet; return from where."""

    def take(self, limit: int, timeout_seconds: float) -> Sequence[Work]:
        """Return about `limit` commands at most, waiting for the first one; none after the time is up."""

    def answer(self, answers: Sequence[Answer]) -> None:
        """Tell the senders; must not wait for them."""

    def announce(self, replies: Sequence[Reply]) -> None:
        """Tell again what a former engine may not have told any more."""

    def park(self, command: Submitted, reason: str) -> None:
        """Put aside a command that cannot be decided; it is kept where people see it before this returns."""

    def wake(self) -> None:
        """Let `take` return at once; from any thread."""

    def close(self, error: BaseException | None) -> None:
        """Take no more, and let go whoever waits."""


Waiter = tuple[asyncio.AbstractEventLoop, asyncio.Future[Reply]] | tuple[None, Future[Reply]]
"""Who waits for a reply: a task of an event loop, or a thread."""


def deliver(outcomes: Sequence[tuple[Waiter, Reply | Exception]]) -> None:
    """Hand over replies, or why there are none, from any thread; an event loop is woken once for all of its own."""
    by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[Any, Reply | Exception]]] = {}
    for (loop, future), outcome in outcomes:
        by_loop.setdefault(loop, []).append((future, outcome))
    for loop, pairs in by_loop.items():
        if loop is None:
            _resolve(pairs)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[Any, Reply | Exception]]) -> None:
    for future, outcome in pairs:
        if future.done():  # it was given up
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class LocalCommand(Submitted, kw_only=True):
    """A command from this process, and who waits for its reply."""

    waiter: Any


_WAKE: Final = None


class LocalSource:
    """A queue in this process, bounded by those that have no answer yet."""

    def __init__(self, commands_max: int = 10_000, name: str = "local") -> None:
        self._name = name
        self._commands_max = commands_max
        self._queue: SimpleQueue[LocalCommand | None] = SimpleQueue()
        self._taken: dict[int, LocalCommand] = {}
        self._again: list[LocalCommand] = []
        self._following = 1
        self._closed = False

    @property
    def name(self) -> str:
        """The name under which the log says how far this source is read."""
        return self._name

    @property
    def full(self) -> bool:
        """Whether as many commands wait as may."""
        return self._queue.qsize() + len(self._taken) >= self._commands_max

    def put(self, command: LocalCommand) -> None:
        """Queue a command. Raises EngineStopped."""
        if self._is_closed():
            raise EngineStopped("the engine has stopped")
        self._queue.put(command)
        if self._is_closed():  # meanwhile: then nobody will take it
            self._let_go(EngineStopped("the engine has stopped"))

    def rewind(self, following: int | None) -> int:
        """Give out again what was taken and not answered."""
        self._following = following or 1
        self._again = [*self._taken.values(), *self._again]
        self._taken.clear()
        return self._following

    def take(self, limit: int, timeout_seconds: float) -> Sequence[Work]:
        """Return what waits."""
        commands, self._again = self._again[:limit], self._again[limit:]
        queue = self._queue
        deadline = monotonic() + timeout_seconds
        try:
            while len(commands) < limit:
                wait = 0.0 if commands else max(0.0, deadline - monotonic())
                command = queue.get(timeout=wait) if wait else queue.get_nowait()
                if command is _WAKE:
                    break
                commands.append(command)
        except Empty:  # that is all
            pass
        if not commands:
            return ()
        for command in commands:
            self._taken[id(command)] = command
        self._following += len(commands)
        return (Work(commands, self._following),)

    def answer(self, answers: Sequence[Answer]) -> None:
        """Set the futures, those of one event loop all at once."""
        outcomes: list[tuple[Waiter, Reply]] = []
        for command, reply in answers:
            assert isinstance(command, LocalCommand), "only such commands are put here"
            self._taken.pop(id(command), None)
            outcomes.append((command.waiter, reply))
        deliver(outcomes)

    def announce(self, replies: Sequence[Reply]) -> None:
        """Nobody in this process waits for what was decided before it started."""

    def park(self, command: Submitted, reason: str) -> None:
        """Tell the caller that there will be no outcome."""
        assert isinstance(command, LocalCommand), "only such commands are put here"
        self._taken.pop(id(command), None)
        deliver([(command.waiter, Undecidable(reason))])

    def wake(self) -> None:
        """Let `take` return."""
        self._queue.put(_WAKE)

    def close(self, error: BaseException | None) -> None:
        """Fail all who wait."""
        self._closed = True
        self._let_go(EngineStopped(str(error) if error else "the engine has stopped"))

    def _is_closed(self) -> bool:
        return self._closed

    def _let_go(self, error: EngineStopped) -> None:
        waiting = [*self._taken.values(), *self._again]
        self._taken.clear()
        self._again = []
        while True:
            try:
                command = self._queue.get_nowait()
            except Empty:
                break
            if command is not None:
                waiting.append(command)
        deliver([(command.waiter, error) for command in waiting])
