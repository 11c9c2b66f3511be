"""No text of others makes a terminal do anything."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, cast

import structlog
from hypothesis import given
from hypothesis import strategies as st

from api import logs
from api.terminal import HarmlessStream, harmless, harmless_output
from settings import Settings

if TYPE_CHECKING:
    from typing import TextIO

    import pytest

HOSTILE = "\x1b[2J\x1b]0;pwned\x07\x9b31m\u202eevil\x7f\x00\r"


def is_harmless(text: str) -> bool:
    """Return whether a text is printable but for tabs and newlines."""
    return not any(
        ord(each) < 32 or 127 <= ord(each) < 160 or each in "\u202e\u200b\u2028" for each in text if each not in "\t\n"
    )


@given(st.text())
def test_every_control_character_is_escaped(text: str) -> None:
    """As JSON writes it, so that JSON stays JSON."""
    assert is_harmless(harmless(text + HOSTILE))
    stream = io.StringIO()
    HarmlessStream(cast("TextIO", stream), colors=False).write(
        "." + json.dumps({"a": text + HOSTILE}, ensure_ascii=False)
    )
    assert json.loads(stream.getvalue()[1:]) == {"a": text + HOSTILE}
    assert is_harmless(stream.getvalue())


def test_output_and_log_lines_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the log is text with colors for people; a progress line may begin with CR."""
    with harmless_output():
        logs.configure(Settings(log_format="console"))
        sys.stdout.write(f"a story: {HOSTILE}\n")
        sys.stdout.write("\r2 of 3")
        structlog.get_logger("t").warning("request", path=f"/{HOSTILE}")
        structlog.reset_defaults()
    found = capsys.readouterr()

    assert is_harmless(found.out.replace("\r2 of 3", ""))
    assert "\r2 of 3" in found.out
    assert "\\u001b[2J" in found.out
    assert is_harmless(found.err)
    assert "\\u001b[2J" in found.err
