"""Texts of others on a terminal: names, paths and reasons may hold control characters, and a terminal obeys these."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

# C0 except tab and newline, DEL, C1, and what reorders or hides text.
_CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
_CONTROL: Final = re.compile(f"[{_CONTROLS}]")
_CONTROL_OR_COLOR: Final = re.compile(rf"\x1b\[[0-9;]*m|[{_CONTROLS}]")


def harmless(text: str) -> str:
    r"""Return the text with every control character as `\u001b`, which is also what JSON writes for it."""
    return _CONTROL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}" if len(found[0]) == 1 else found[0]


class HarmlessStream:
    """A text stream that escapes control characters. A line may begin with CR, to overwrite the last one."""

    def __init__(self, stream: TextIO, *, colors: bool) -> None:
        """`colors`: let through the sequences that set a color; whoever writes colors escapes the texts of others first."""
        self._stream = stream
        self._pattern = _CONTROL_OR_COLOR if colors else _CONTROL

    def write(self, text: str) -> int:
        """Write the text."""
        begin = text[: text.startswith("\r")]
        self._stream.write(begin + self._pattern.sub(_escaped, text[len(begin) :]))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def harmless_output() -> Iterator[None]:
    """Let no control character through to stdout and stderr while the block runs."""
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(cast("TextIO", HarmlessStream(sys.stdout, colors=False))))
        stack.enter_context(redirect_stderr(cast("TextIO", HarmlessStream(sys.stderr, colors=True))))
        yield
