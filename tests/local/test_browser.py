"""The browser of the tests: named, found, or fetched with all that it needs, its hash checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from local import browser
from local.npm import CHROMIUM, TYPESCRIPT, fetch
from local.processes import StartError, free_port
from tests.javascript_types import problems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIDTH = "document.querySelector('h1').firstChild.parentElement.getBoundingClientRect().width"


WORKS = "echo Chromium 150.0.1.2"
OLD = "echo Chromium 110.0.1.2"
LACKS = "echo libnss3.so: cannot open shared object file >&2; exit 127"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """A function that writes a program of a name, the shell's text that it is, on a PATH that has nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(browser, "PLACES", ())

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "is no file"),
        (LACKS, "does not start: libnss3.so: cannot open"),
        (OLD, "has version 110; the pages need 123"),
        ("true", "does not say its version"),
    ],
)
def test_a_named_browser_must_be_usable(program: Callable[[str, str], Path], text: str | None, problem: str) -> None:
    """Whoever names one gets no other."""
    other = program("chromium", WORKS)
    named = other.parent / "none" if text is None else program("named", text)

    with pytest.raises(browser.NoBrowserError, match=f"{named}, which {problem}"):
        browser.find(str(named))
    assert browser.find(str(other)).path == other


def test_a_browser_that_cannot_be_used_is_passed_over(program: Callable[[str, str], Path]) -> None:
    """One that lacks a library, or only tells how to install it, or is too old; the next one is taken."""
    program("chromium", LACKS)
    program("chromium-browser", OLD)

    assert browser.find(str(program("google-chrome", WORKS))) == browser.find()


@pytest.mark.parametrize("text", [None, LACKS])
def test_where_none_can_be_used_the_error_says_what_was_tried(
    program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """None here, or one that does not start; and why none can be fetched."""
    wanted = "none of chromium, .* is on the PATH"
    if text is not None:
        wanted = f"{program('chromium', text)} does not start: libnss3"
    monkeypatch.setattr(browser.platform, "machine", lambda: "riscv64")

    with pytest.raises(browser.NoBrowserError, match=rf"no browser: .*{wanted}.*; one that can be .* x86-64 only"):
        browser.find()


@pytest.mark.parametrize("text", [LACKS, WORKS])
def test_the_fetched_browser_must_start_too(
    program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    """A machine may lack what its package does not bring; the error says what, before any test runs."""
    monkeypatch.setattr(browser.platform, "system", lambda: "Linux")
    monkeypatch.setattr(browser.platform, "machine", lambda: "x86_64")
    files = tmp_path / CHROMIUM.folder_name / "bin"
    files.mkdir(parents=True)
    program("other", text).rename(files / "chromium")

    if text is LACKS:
        with pytest.raises(browser.NoBrowserError, match=r"the fetched one, .* does not start: libnss3"):
            browser.fetched(tmp_path)
    else:
        assert browser.fetched(tmp_path).path == files / "chromium"
        assert [path.name for path in files.iterdir() if "fonts" in path.name] == ["our-fonts.conf"]


def test_without_a_network_the_reason_is_told_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What npm says, and not how it was called; nothing is kept."""
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    with pytest.raises(StartError, match=r"npm cannot fetch @sparticuz/chromium 153\.0\.0: code ECONNREFUSED"):
        fetch(CHROMIUM, tmp_path / "ours")
    assert [path.name for path in (tmp_path / "ours").iterdir()] == ["lock"]


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
