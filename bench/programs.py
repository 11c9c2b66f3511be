"""Runs the measured programs as processes that share one log in Kafka."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from settings import Settings, environment


def settings_of(folder: Path, bootstrap: str, **more: Any) -> Settings:
    """Return the settings of a new log on this broker, with local files in the folder."""
    prefix = f"bench-{uuid4().hex[:8]}."
    return Settings(
        home=folder, log="kafka", kafka_brokers=bootstrap, kafka_replication=1, kafka_topic_prefix=prefix, **more
    )


def start(name: str, settings: Settings, *options: str, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Start `tidings NAME` and return its process. It logs to this file, or to `NAME.log` in the settings' home."""
    with (log or settings.home / f"{name}.log").open("ab") as output:
        return subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-m", "api", name, *options],
            env=environment(settings) | {"PYTHONPATH": os.getcwd()},  # noqa: PTH109
            stdout=output,
            stderr=output,
        )


@contextmanager
def running(name: str, settings: Settings, *options: str) -> Iterator[psutil.Process]:
    """Run `tidings NAME` during this block."""
    process = start(name, settings, *options)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def cpu_seconds(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Return the CPU time that each process has used so far, in seconds."""
    return {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}


def tree_cpu_seconds(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Return the CPU time that each process and its children have used so far, in seconds: also children that have ended."""
    return {
        name: sum(map(_cpu_with_ended_children, [it, *it.children(recursive=True)])) for name, it in processes.items()
    }


def _cpu_with_ended_children(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:4])
    except psutil.NoSuchProcess:  # just ended: its parent counts it now or with the next look
        return 0.0
