"""Every refusal has a stable code, and a test of the rules reaches every code."""

import re
from pathlib import Path

from domain.rejections import Code

ELSEWHERE = {Code.COMMAND_ID_REUSED}
"""The codes of the engine: the rules never see a command twice."""


def test_every_code_is_asked_for_by_a_test_here() -> None:
    """Every code occurs in a test of this folder, as `Code.X`."""
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__))
    reached = set(re.findall(r"Code\.([A-Z_]+)", texts))

    assert {code.name for code in Code} - reached == {code.name for code in ELSEWHERE}


def test_codes_are_their_own_names() -> None:
    """The published code is the name in the source."""
    assert all(code.name == code.value for code in Code)
