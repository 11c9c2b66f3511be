"""Every refusal has a stable code, and every code is reached by a test of the rules."""

import re
from pathlib import Path

from domain.rejections import Code

ELSEWHERE = {Code.COMMAND_ID_REUSED}
"""The engine's: the rules never see a command twice."""


def test_every_code_is_asked_for_by_a_test_here() -> None:
    """`rejected(Code.X)` or `.code is Code.X` stands in some test of this folder."""
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__))
    reached = set(re.findall(r"Code\.([A-Z_]+)", texts))

    assert {code.name for code in Code} - reached == {code.name for code in ELSEWHERE}


def test_codes_are_their_own_names() -> None:
    """What is published is what stands in the code."""
    assert all(code.name == code.value for code in Code)
