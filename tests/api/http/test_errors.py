"""Error codes: the rules, the routes and the page agree with one table."""

from __future__ import annotations

import re
from pathlib import Path

from api.http.errors import CODES, table
from domain.rejections import Code

ROOT = Path(__file__).parents[3]


def test_the_page_is_the_table() -> None:
    """docs/errors.md is what `python -m api.http.errors` prints."""
    assert table() == (ROOT / "docs" / "errors.md").read_text()


def test_every_refusal_of_the_rules_has_a_status() -> None:
    """The table has every code of the domain, with a status of 4xx; what is busy is so for a while, and is asked again."""
    assert {code.value for code in Code} - set(CODES) == set()
    assert {code: CODES[code.value].status for code in Code if CODES[code.value].status >= 500} == {Code.BUSY: 503}
    assert all(CODES[code.value].status >= 400 for code in Code)


def test_codes_in_the_code_are_in_the_table_and_the_other_way_round() -> None:
    """Every code that a route answers with is in the table, and every code in the table is used."""
    source = "\n".join(path.read_text() for path in (ROOT / "api").rglob("*.py"))
    named = set(re.findall(r'ApiError\(\s*"([A-Z_]+)"', source)) | set(re.findall(r'\d{3}: "([A-Z_]+)"', source))

    assert named - set(CODES) == set()
    assert set(CODES) - named - {code.value for code in Code} == set()


def test_statuses_follow_the_name() -> None:
    """Codes for what was not found are 404, codes for what exists or was used before 409."""
    for code, meaning in CODES.items():
        if code.endswith("_NOT_FOUND"):
            assert meaning.status == 404
        if code.endswith(("_EXISTS", "_REUSED")):
            assert meaning.status == 409
