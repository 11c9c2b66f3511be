"""The browser of the tests: named, found, or fetched with all that it needs, its hash checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from local import browser
from local.npm import TYPESCRIPT, fetch
from local.processes import StartError
from tests.javascript_types import problems

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = "document.querySelector('h1').firstChild.parentElement.getBoundingClientRect().width"


def test_a_named_browser_must_be_there(tmp_path: Path) -> None:
    """Whoever names one gets no other."""
    with pytest.raises(browser.NoBrowserError, match="is no file"):
        browser.find(str(tmp_path / "none"))


def test_without_a_browser_one_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be fetched, the error says what was tried."""
    monkeypatch.setattr(browser.shutil, "which", lambda _name: None)
    monkeypatch.setattr(browser, "PLACES", ())
    monkeypatch.setattr(browser.platform, "machine", lambda: "riscv64")
    with pytest.raises(
        browser.NoBrowserError, match=r"chromium.* is on the PATH; one that can be fetched .* x86-64 only"
    ):
        browser.find()


@pytest.mark.chaos
def test_the_fetched_browser_draws_words(tmp_path: Path) -> None:
    """Its own libraries and its own font: without that, pages have no text and look sound all the same."""
    found = browser.fetched(tmp_path)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(**found.options(os.environ))
        page = started.new_page()
        page.set_content("<h1 style='display:inline-block'>Words</h1>")
        assert page.evaluate(WIDTH) > 30
        started.close()
    assert browser.fetched(tmp_path) == found


@pytest.mark.chaos
def test_another_hash_is_refused(tmp_path: Path) -> None:
    """Nothing of such a package is kept."""
    with pytest.raises(StartError, match="expected sha512-x, was sha512-"):
        fetch(TYPESCRIPT._replace(integrity="sha512-x"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.chaos
def test_types_in_comments_are_checked(tmp_path: Path) -> None:
    """A number that is a text is found."""
    (tmp_path / "bad.js").write_text('/** @type {number} */\nexport const wrong = "text";\n')

    assert "bad.js(2,14): error TS2322" in problems(tmp_path)
