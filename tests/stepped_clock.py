"""The wall clock of another process, which a test sets while that process runs. The monotonic clock goes on as it is.

    clock = SteppedClock(folder)
    subprocess.Popen(..., env=os.environ | clock.environment)
    clock.step(-60)

It needs Linux and a C compiler.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("stepped_clock.c")


def has_compiler() -> bool:
    """Return whether a clock can be stepped here."""
    return _compiler() is not None


class SteppedClock:
    """The clock of the processes that are started with its `environment`. It begins as this machine's."""

    def __init__(self, folder: Path) -> None:
        """Compile what is preloaded."""
        compiler = _compiler()
        assert compiler is not None, "ask for it first"
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / "stepped_clock.so"
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        self._file = folder / "clock"
        self._file.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(library), "TIDINGS_TEST_CLOCK": str(self._file)}
        self.seconds = 0.0
        """The number of seconds that the clock is ahead of this machine's."""

    def step(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self.seconds += seconds
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", round(self.seconds * 1e9)))


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")
