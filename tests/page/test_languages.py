"""The texts of the pages: the catalogue has all of them, in German too, and no page falls back by accident."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from api.page.filters import MONTHS
from api.page.languages import FOLDER, language_of
from tests.sources import ROOT

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

CATALOGUE = FOLDER / "de" / "LC_MESSAGES" / "page.po"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2.ext.babel_extract")]


def test_german_has_every_text() -> None:
    """Each text of the templates and of the code has a translation with the same placeholders."""
    options = {"templates/**.html": {"extensions": "jinja2.ext.i18n", "newstyle_gettext": "true"}}
    found = extract_from_dir(ROOT / "api" / "page", METHODS, options)
    texts = {message[0] if isinstance(message, tuple) else message for _, _, message, _, _ in found} | {*MONTHS}
    catalogue = read_po(BytesIO(CATALOGUE.read_bytes()))
    known = {(each.id[0] if isinstance(each.id, tuple) else each.id): each for each in catalogue if each.id}

    assert sorted(texts - {*known}) == []
    assert sorted({*known} - texts) == []
    assert [each.id for each in known.values() if not each.string or list(each.check(catalogue))] == []


def test_the_compiled_catalogue_is_that_of_the_text() -> None:
    """After a change of page.po: `python -m babel.messages.frontend compile -d api/page/locale -D page`."""
    made = BytesIO()
    write_mo(made, read_po(BytesIO(CATALOGUE.read_bytes())))

    assert CATALOGUE.with_suffix(".mo").read_bytes() == made.getvalue()


def test_a_browser_chooses_the_language(exchange: Exchange) -> None:
    """By `Accept-Language`; a page that is kept for one is not shown to the other."""
    told = {}
    for language in ("de-CH, en;q=0.5", "en-US, de;q=0.9", "fr", "de;q=nonsense"):
        headers = {"accept": "text/html", "accept-language": language}
        answer = exchange.api.client.get("/leaderboard", headers=headers)
        assert answer.status_code == 200, answer.text
        told[language] = answer.text

    assert "<h1>Rangliste</h1>" in told["de-CH, en;q=0.5"]
    assert all("<h1>Leaderboard</h1>" in text for language, text in told.items() if not language.startswith("de-CH"))
    assert language_of({"headers": []}) == "en"
