"""How far the demo is, on stderr: on a terminal a line that changes, elsewhere a line for each tenth."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def tell_progress(step: str) -> None:
    """Print what the demo does next."""
    print(step, file=sys.stderr, flush=True)


def progress_bar() -> Callable[[str, float], None]:
    """Return a function that shows a day and the part that is done, 0 to 1."""
    terminal = sys.stderr.isatty()
    tenth = 0

    def show(day: str, part: float) -> None:
        nonlocal tenth
        if terminal:
            print(f"\r{day}  {part:4.0%} ", end="", file=sys.stderr, flush=True)
        elif part * 10 >= tenth + 1:
            tenth = int(part * 10)
            print(f"{day}  {part:4.0%}", file=sys.stderr, flush=True)
        if terminal and part >= 1:
            print(file=sys.stderr)

    return show
