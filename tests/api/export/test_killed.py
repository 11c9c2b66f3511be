"""An export that is killed, whenever that is, and run again has the bytes of one run."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.api.export.conftest import FILE_POSITIONS
from tests.api.export.exchange import exported, files

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from api.export import event_lines, run, tables, writing
from tests.api.export.exchange import exported, opened
tables.FILE_POSITIONS, writing.SAVE_SECONDS, event_lines.PROCESS_EVENTS = int(sys.argv[4]), 0, int(sys.argv[5])
with opened(sys.argv[1]) as source:
    options = run.ExportOptions(format=sys.argv[3])
    run.export(Path(sys.argv[2]), source, options, lambda line: print(line, flush=True))
"""
"""Exports, and prints a line before each file."""

INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from api.export import event_lines, run, tables
from local.processes import polls
from tests.api.export.exchange import opened

def main_thread_waits():
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None and frame.f_code.co_name != "shutdown":
        frame = frame.f_back
    return frame is not None

handled = threading.Event()

def handle(*_):
    handled.set()
    raise KeyboardInterrupt

def interrupt(line):
    print(line, flush=True)
    while not handled.is_set():  # a signal just before the main thread begins to wait does not wake it
        os.kill(os.getpid(), signal.SIGINT)
        handled.wait(1)
    next(None for _ in polls(30) if main_thread_waits())

signal.signal(signal.SIGINT, handle)
tables.FILE_POSITIONS, event_lines.PAGE_EVENTS = int(sys.argv[3]), 50
with opened(sys.argv[1]) as source:
    run.export(Path(sys.argv[2]), source, run.ExportOptions(format="jsonl", tables=["events"]), interrupt)
"""
"""Exports events, and gets Ctrl-C when the first file is begun."""


def kill_after(dsn: str, folder: Path, file_format: str, lines: int, seconds: float, process_events: int) -> bool:  # noqa: PLR0917
    """Export until so many files are begun, wait a little, and kill. Return whether the export was still going on."""
    command = [sys.executable, "-c", PROGRAM, dsn, str(folder), file_format, str(FILE_POSITIONS), str(process_events)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            beside = psutil.Process(child.pid).children()
            child.kill()
            assert not psutil.wait_procs(beside, timeout=60)[1], "what it started ends with it"
        return child.wait() < 0


def kill_often(dsn: str, folder: Path, file_format: str, kills: int, seed: int, process_events: int = 10_000) -> None:  # noqa: PLR0917
    """Kill an export at random moments, then compare it with one that nobody killed.

    Events of files with at least `process_events` positions become lines in another process, which ends with the export.
    """
    dice = random.Random(seed)  # noqa: S311  repeatable
    exported(dsn, folder / "whole", format=file_format)
    killed = 0
    for _ in range(10 * kills):
        if killed == kills:
            break
        killed += kill_after(
            dsn, folder / "killed", file_format, dice.randrange(1, 8), dice.random() * 0.03, process_events
        )
    exported(dsn, folder / "killed", format=file_format, verify=True)

    assert killed
    assert files(folder / "killed") == files(folder / "whole")


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_a_killed_export_goes_on(dsn: str, tmp_path: Path, file_format: str) -> None:
    """Two kills."""
    kill_often(dsn, tmp_path, file_format, 2, 1)


def test_ctrl_c_ends_an_export_within_a_page(dsn: str, tmp_path: Path) -> None:
    """The file that is being written is not written to its end, and no other one is begun."""
    command = [sys.executable, "-c", INTERRUPTED, dsn, str(tmp_path / "x"), str(FILE_POSITIONS)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert len(done.stdout.splitlines()) == 1
    assert not list((tmp_path / "x").rglob("*.jsonl"))


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_an_export_that_is_killed_twenty_times_goes_on(dsn: str, tmp_path: Path, file_format: str, seed: int) -> None:
    """Each kill at another moment, until the export is whole."""
    kill_often(dsn, tmp_path, file_format, 20, seed, process_events=100 if seed % 2 else 10_000)
