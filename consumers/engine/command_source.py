"""The source of the engine's commands, which also takes its replies.

CommandSource               what the engine needs
├── LocalCommandSource      a queue in this process
└── KafkaCommandSource      consumers/kafka/command_source.py
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from consumers.errors import EngineStopped, Undecidable
from messages.commands import Submitted
from messages.replies import Reply

CommandReply = tuple[Submitted, Reply]
"""A command, and the reply to it."""


class CommandGroup(NamedTuple):
    """Commands that came together. `next_offset` may be recorded once all have replies."""

    commands: Sequence[Submitted]
    next_offset: int
    parked: bool = False
    """True if part of it went to the dead letters: then the progress is recorded even if nothing else happened."""


class CommandSource(Protocol):
    """Commands in their order. Each is taken once, until the engine rewinds. An offset counts commands or records."""

    @property
    def name(self) -> str:
        """The name under which the log says how far this source is read; known once `rewind` was called."""

    def rewind(self, next_offsets: Mapping[str, int]) -> int:
        """Go on at the offset up to which the log says the source is read, or at its beginning if it says nothing.

        Args:
            next_offsets: the name of each source in the log -> the offset up to which it is read.

        Returns the offset of the next command: a later one where commands expired before they were read.
        """

    def take(self, limit: int, timeout_seconds: float) -> Sequence[CommandGroup]:
        """Return about `limit` commands at most; wait for the first one, and return none when the time is up."""

    def send_replies(self, replies: Sequence[CommandReply]) -> None:
        """Send each reply to the sender of its command; must not wait for them."""

    def repeat_replies(self, replies: Sequence[Reply]) -> None:
        """Send replies that an earlier engine may not have sent."""

    def park(self, command: Submitted, reason: str) -> None:
        """Put aside a command that cannot be decided. When this returns, the command is kept where people see it."""

    def wake(self) -> None:
        """Have `take` return at once; from any thread."""

    def close(self, error: BaseException | None) -> None:
        """Take no more commands, and release whoever waits for a reply."""


Waiter = tuple[asyncio.AbstractEventLoop, asyncio.Future[Reply]] | tuple[None, Future[Reply]]
"""The waiter for a reply: a task of an event loop, or a thread."""


def deliver(replies: Sequence[tuple[Waiter, Reply | Exception]]) -> None:
    """Hand over replies, or the reasons why there are none, from any thread. Each event loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[Any, Reply | Exception]]] = {}
    for (loop, future), reply in replies:
        by_loop.setdefault(loop, []).append((future, reply))
    for loop, pairs in by_loop.items():
        if loop is None:
            _resolve(pairs)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[Any, Reply | Exception]]) -> None:
    for future, reply in pairs:
        if future.done():  # the waiter has given up
            continue
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)


class LocalCommand(Submitted, kw_only=True):
    """A command from this process, and who waits for its reply."""

    waiter: Any


_WAKE: Final = None


class LocalCommandSource:
    """A queue in this process, bounded by the number of commands that have no reply yet."""

    def __init__(self, commands_max: int = 10_000, name: str = "local") -> None:
        self._name = name
        self._commands_max = commands_max
        self._queue: SimpleQueue[LocalCommand | None] = SimpleQueue()
        self._taken: dict[int, LocalCommand] = {}
        self._again: list[LocalCommand] = []
        self._next_offset = 1
        self._closed = False

    @property
    def name(self) -> str:
        """The name under which the log says how far this source is read."""
        return self._name

    @property
    def under_way(self) -> int:
        """The number of commands that have no reply yet."""
        return self._queue.qsize() + len(self._taken)

    def has_room(self, commands: int) -> bool:
        """Return whether so many more commands may wait."""
        return self.under_way + commands <= self._commands_max

    def put(self, command: LocalCommand) -> None:
        """Queue a command. Raises EngineStopped."""
        if self._is_closed():
            raise EngineStopped("the engine has stopped")
        self._queue.put(command)
        if self._is_closed():  # it closed meanwhile: nobody will take the command
            self._release(EngineStopped("the engine has stopped"))

    def rewind(self, next_offsets: Mapping[str, int]) -> int:
        """Give out again the commands that were taken and have no reply."""
        self._next_offset = next_offsets.get(self.name) or 1
        self._again = [*self._taken.values(), *self._again]
        self._taken.clear()
        return self._next_offset

    def take(self, limit: int, timeout_seconds: float) -> Sequence[CommandGroup]:
        """Return the commands that wait, as one group."""
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
        except Empty:  # no more commands wait
            pass
        if not commands:
            return ()
        for command in commands:
            self._taken[id(command)] = command
        self._next_offset += len(commands)
        return (CommandGroup(commands, self._next_offset),)

    def send_replies(self, replies: Sequence[CommandReply]) -> None:
        """Set the futures, those of one event loop all at once."""
        delivered: list[tuple[Waiter, Reply]] = []
        for command, reply in replies:
            assert isinstance(command, LocalCommand), "only such commands are put here"
            self._taken.pop(id(command), None)
            delivered.append((command.waiter, reply))
        deliver(delivered)

    def repeat_replies(self, replies: Sequence[Reply]) -> None:
        """Do nothing: nobody in this process waits for a command that was decided before it started."""

    def park(self, command: Submitted, reason: str) -> None:
        """Tell the caller that the command gets no reply."""
        assert isinstance(command, LocalCommand), "only such commands are put here"
        self._taken.pop(id(command), None)
        deliver([(command.waiter, Undecidable(reason))])

    def wake(self) -> None:
        """Have `take` return."""
        self._queue.put(_WAKE)

    def close(self, error: BaseException | None) -> None:
        """Raise EngineStopped for all who wait."""
        self._closed = True
        self._release(EngineStopped(str(error) if error else "the engine has stopped"))

    def _is_closed(self) -> bool:
        return self._closed

    def _release(self, error: EngineStopped) -> None:
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
