"""The process of a strategy: it is told events, keeps an exchange of its own of them, and asks the strategy after each step.

Nothing else reaches it: neither the log nor the settings that name it, neither objects nor open files of the backtest.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from analysis.strategy import CancelAll, Order, Seen
from analysis.strategy_frames import LogStep, StrategyAnswer
from domain.exchange import Exchange
from messages.frames import read_frame, write_frame
from messages.stored import decode_state

if TYPE_CHECKING:
    from collections.abc import Callable

_step: Final = msgspec.msgpack.Decoder(LogStep).decode
_pack: Final = msgspec.msgpack.Encoder().encode
_json: Final = msgspec.json.Encoder().encode


def main(arguments: list[str]) -> None:
    """Serve a strategy until the backtest ends: its file, its name, its account, the partition, two open pipes."""
    file, name, account_id, partition, reading, writing = arguments
    with os.fdopen(int(reading), "rb") as steps, os.fdopen(int(writing), "wb") as answers:
        try:
            strategy = load(Path(file), name)
        except BaseException:  # noqa: BLE001  a module may raise anything, SystemExit too
            write_frame(answers, _pack(StrategyAnswer([], traceback.format_exc())))
            return
        write_frame(answers, _pack(StrategyAnswer([])))
        _serve(strategy, Seen(Exchange(int(partition)), account_id), steps, answers)


def load(file: Path, name: str) -> Callable[[Seen], Any]:
    """Return the strategy with this name in a file; of a class, an object of it. Files beside it can be imported."""
    sys.path.insert(0, str(file.absolute().parent))
    spec = importlib.util.spec_from_file_location("strategy", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["strategy"] = module
    spec.loader.exec_module(module)
    found = getattr(module, name)
    strategy: Callable[[Seen], Any] = found() if isinstance(found, type) else found
    if not callable(strategy):
        raise TypeError(f"{name} is neither a function nor a class whose objects can be called")
    return strategy


def _serve(strategy: Callable[[Seen], Any], seen: Seen, steps: IO[bytes], answers: IO[bytes]) -> None:
    while (content := read_frame(steps)) is not None:
        try:
            _apply(_step(content), seen)
            answer = StrategyAnswer([_sent(each, seen) for each in strategy(seen) or ()])
        except BaseException:  # noqa: BLE001  a strategy may raise anything, SystemExit too, and may spoil what it sees
            answer = StrategyAnswer([], traceback.format_exc())
        write_frame(answers, _pack(answer))


def _apply(step: LogStep, seen: Seen) -> None:
    """Bring what the strategy sees up to these events."""
    events = []
    for stream, version, topic, state in step.events:
        read = decode_state(topic, state)
        seen.exchange.apply(read.data, stream=stream, version=version, time=read.time, command_id=read.command_id)
        events.append(read.data)
    seen.position, seen.events = step.position, tuple(events)


def _sent(each: Any, seen: Seen) -> tuple[str, bytes]:
    match each:
        case Order():
            return "order", _json(each.wire(seen.market_id(each.market)))
        case CancelAll():
            return "cancel", b"" if each.market is None else seen.market_id(each.market).encode()
        case _:
            raise TypeError(f"a strategy sends Order and CancelAll, not {type(each).__name__}")


if __name__ == "__main__":
    main(sys.argv[1:])
