"""A strategy in a process of its own, to which a backtest tells what has happened so far."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from analysis.strategy_frames import LogStep, StrategyAnswer
from domain.exchange import Entry
from messages.frames import read_frame, write_frame
from messages.stored import to_stored
from settings import environment_of_strangers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from domain.events import Recorded

_answer: Final = msgspec.msgpack.Decoder(StrategyAnswer).decode

ORDERS_MAX: Final = 1_000
"""The most orders and cancellations that a strategy may send at one position."""

ANSWER_SECONDS: Final = 60.0
"""The longest wait for a strategy's answer."""

STOP_SECONDS: Final = 5.0
"""The longest wait for the end of a strategy's process; then it is killed."""


class StrategyError(Exception):
    """The strategy raised an error, ended its process, did not answer, or sent what is no order."""


class StrategyProcess:
    """The process of a strategy. A context manager; the end of the block ends it.

    It gets two pipes and the events that are sent through them, and shares nothing else with this process. What it prints goes
    to stderr.
    """

    def __init__(self, file: Path, name: str, account_id: str, partition: int = 0) -> None:
        self._arguments = [str(file), name, account_id, str(partition)]
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        """Start it. Raises StrategyError when the strategy cannot be loaded."""
        with ExitStack() as stack:
            steps, writing = os.pipe()
            reading, answers = os.pipe()
            self._steps = stack.enter_context(os.fdopen(writing, "wb"))
            self._answers = stack.enter_context(os.fdopen(reading, "rb"))
            # -P: the current folder is the user's, and may have modules of our names.
            command = [sys.executable, "-P", "-m", "analysis.strategy_child"]
            try:
                self._process = subprocess.Popen(  # noqa: S603  our own module
                    [*command, *self._arguments, str(steps), str(answers)],
                    stdin=subprocess.DEVNULL,
                    stdout=2,
                    pass_fds=(steps, answers),
                    env=environment_of_strangers(),
                )
            finally:
                os.close(steps)
                os.close(answers)
            stack.callback(self._end)
            self._read()
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._opened.close()

    def step(self, position: int, events: Sequence[Recorded]) -> list[tuple[str, Any]]:
        """Tell what has happened, up to a position of the log, and return what the strategy sends.

        An order is the `data` of its command without ids, a cancellation the id of a market or "". Raises StrategyError.
        """
        stored = [
            to_stored(Entry(each.stream, each.version, each.event), each.time, each.command_id, None) for each in events
        ]
        rows = [(str(each.originator_id), each.originator_version, each.topic, each.state) for each in stored]
        with suppress(BrokenPipeError):  # then there is no answer
            write_frame(self._steps, msgspec.msgpack.encode(LogStep(position, rows)))
        sent = self._read()
        if len(sent) > ORDERS_MAX:
            raise StrategyError(f"it sent {len(sent)} orders; at most {ORDERS_MAX} can be sent at a position")
        return [(kind, msgspec.json.decode(content) if kind == "order" else content.decode()) for kind, content in sent]

    def _read(self) -> list[tuple[str, bytes]]:
        if not select.select([self._answers], [], [], ANSWER_SECONDS)[0]:
            raise StrategyError(f"it did not answer within {ANSWER_SECONDS:g} seconds: does it end?")
        content = read_frame(self._answers)
        if content is None:
            raise StrategyError(f"the process of the strategy ended with exit code {self._process.wait()}")
        answer = _answer(content)
        if answer.error:
            raise StrategyError(answer.error.rstrip())
        return answer.sent

    def _end(self) -> None:
        with suppress(BrokenPipeError):
            self._steps.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
