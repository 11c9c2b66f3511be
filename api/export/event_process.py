"""A process that makes lines of events, so that a long export uses two processors.

It is told pages of the log on its stdin and answers with blocks of lines on its stdout. It ends with its stdin, so also when
the export is killed.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

import msgspec

from api.export.event_blocks import EventBlock, EventForm, EventRow, block_of
from messages.events import UnreadableEventError
from messages.frames import LENGTH_BYTES, read_frame, widen_pipe, write_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_form: Final = msgspec.msgpack.Decoder(EventForm).decode
_page: Final = msgspec.msgpack.Decoder(list[EventRow]).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class EventProcessError(RuntimeError):
    """The process ended early; what went wrong stands on stderr."""


def blocks_beside(form: EventForm, pages: Iterable[list[EventRow]]) -> Iterator[EventBlock]:
    """Yield the lines of each page, made by another process while the next page is read.

    Raises UnreadableEventError, and EventProcessError if the process was ended by others.
    """
    # -P: the current folder is the user's, and may have modules of our names.
    command = [sys.executable, "-P", "-m", "api.export.event_process"]
    # Its own group, so that Ctrl-C ends the export, which ends it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:  # noqa: S603  our own module
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        widen_pipe(process.stdin)
        widen_pipe(process.stdout)
        asked: list[EventRow] | None = None
        try:
            write_frame(process.stdin, _encode(form))
            for page in pages:  # it is read while the process is at work on the one before
                block = None if asked is None else _answer(process.stdout)
                asked = page
                write_frame(process.stdin, _encode(page))
                if block is not None:
                    yield block
            if asked is not None:
                yield _answer(process.stdout)
        except BrokenPipeError:
            if asked is not None:
                block_of(form, asked)  # raises what the process has failed on
            raise EventProcessError(f"the process that writes events ended with {process.wait()}") from None
        finally:
            process.kill()  # it has answered all, or nobody wants its answers
            with suppress(BrokenPipeError):
                process.stdin.close()


def _answer(file: IO[bytes]) -> EventBlock:
    content = read_frame(file)
    if content is None:
        raise BrokenPipeError
    return EventBlock(int.from_bytes(content[:LENGTH_BYTES], "big"), content[LENGTH_BYTES:])


def main() -> None:
    """Answer until stdin ends: the first frame says in what form."""
    steps, answers = sys.stdin.buffer, sys.stdout.buffer
    if (first := read_frame(steps)) is None:
        return
    form = _form(first)
    with suppress(
        BrokenPipeError, UnreadableEventError
    ):  # nobody listens any more; the other side finds the same error
        while (content := read_frame(steps)) is not None:
            block = block_of(form, _page(content))
            write_frame(answers, block.rows.to_bytes(LENGTH_BYTES, "big"), block.lines)


if __name__ == "__main__":
    main()
