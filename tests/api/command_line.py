"""The command line as a person uses it: a process, its exit code, what it prints."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from settings import environment

if TYPE_CHECKING:
    from settings import Settings


def tidings(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
