"""Finds a Chromium for the tests of the pages, and says how to start it.

`find` looks for one that somebody names, then for one on the PATH. It downloads nothing: `apt-get install chromium`, or the
browser's own installer, brings one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
"""The names of browsers on the PATH."""

PLACES: Final = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
"""Where browsers lie on macOS."""

ARGUMENTS: Final = (
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
"""The arguments that keep a browser to the pages under test."""


class NoBrowserError(RuntimeError):
    """There is no browser here; the text says what was tried."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser: its program, and the arguments to start it with."""

    path: Path
    arguments: tuple[str, ...] = ARGUMENTS


def find(given: str | None = None) -> Browser:
    """Return the browser that `given` names, or the first one found; raises NoBrowserError."""
    if given:
        if not Path(given).is_file():
            raise NoBrowserError(f"TIDINGS_TEST_BROWSER names {given}, which is no file")
        return Browser(Path(given))
    found = [path for name in NAMES if (path := shutil.which(name))] + [path for path in PLACES if Path(path).is_file()]
    if not found:
        raise NoBrowserError(
            f"no browser: TIDINGS_TEST_BROWSER is not set, and none of {', '.join(NAMES)} is on the PATH "
            "(Debian: apt-get install chromium)"
        )
    return Browser(Path(found[0]))
