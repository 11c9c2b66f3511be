"""Measures the tools for analysts: an export of a long log in both formats, and a second run that finds nothing new.

    python -m bench analysts [--events 1000000] [--folder FOLDER]

A log is written to PostgreSQL (see seasons.py), and projector processes fold it. Each export runs in a process of its own.
With `--folder` the log and the read models are kept, and reused by the next run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench import seasons
from bench.parts import show
from bench.projections import catch_up, recorder_of
from local.postgres import Postgres

KEYS: Final = {
    "events": "events in the log",
    "parquet": "`tidings export` of all tables as Parquet: `seconds`, `cpu_seconds` of its processes, `rss_mb` (the most memory "
    "of both) and `mb` (the size of the files)",
    "jsonl": "the same as JSON lines",
    "idle": "a second run of the Parquet export, with nothing new",
}

EXPORT = r"""
import json, re, resource, sys
from pathlib import Path
from time import perf_counter
import psycopg
from api.export.run import ExportOptions, export
from api.export.snapshot import ExportSource
from bench.projections import recorder_of
from projections.machine.store import CONNECT_OPTIONS
dsn, folder, file_format, what = sys.argv[1:]
began = perf_counter()
with psycopg.connect(dsn, autocommit=True, **CONNECT_OPTIONS) as connection, recorder_of(dsn) as log:
    options = ExportOptions(format=file_format, tables=what.split(",") if what else None)
    report = export(Path(folder), ExportSource(log, connection), options)
used, child = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
# On Linux `ru_maxrss` includes what the parent had when it started the process: for the child that is an upper bound.
memory = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(json.dumps({
    "seconds": round(perf_counter() - began, 2),
    "cpu_seconds": round(used.ru_utime + used.ru_stime + child.ru_utime + child.ru_stime, 1),
    "rss_mb": round((int(memory[1]) + child.ru_maxrss) / 1024),
    "mb": round(sum(entry.bytes for entry in report.manifest.files) / 1e6),
}))
"""


@contextmanager
def exchange(folder: Path, events: int) -> Iterator[str]:
    """Yield the DSN of a database with a log of this many events and read models that have folded it."""
    with Postgres.start(folder / "postgres", own=folder, settings={"fsync": "off"}, end_with_process=True) as server:
        dsn = server.database(f"analysts_{events}")
        with recorder_of(dsn) as log:
            if log.max_notification_id() is None:
                seasons.write(log, events)
                head = log.max_notification_id()
                assert head is not None, "just written"
                catch_up(server, dsn, dsn, head, 2)
        yield dsn


def exported(dsn: str, folder: Path, file_format: str, what: str = "") -> dict[str, Any]:
    """Export in a process of its own; return what it took."""
    command = [sys.executable, "-c", EXPORT, dsn, str(folder), file_format, what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own program
    figures: dict[str, Any] = json.loads(done.stdout)
    print(f"  {file_format} {what} {figures}", flush=True)
    return figures


def export_figures(dsn: str, folder: Path) -> dict[str, Any]:
    """Measure the exports."""
    return {
        "parquet": exported(dsn, folder / "parquet", "parquet"),
        "idle": exported(dsn, folder / "parquet", "parquet"),
        "jsonl": exported(dsn, folder / "jsonl", "jsonl"),
    }


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        Path(scratch).chmod(0o711)  # as root, PostgreSQL runs as another user
        with exchange(folder, options.events) as dsn:
            show({"events": options.events, **export_figures(dsn, Path(scratch))}, KEYS)


if __name__ == "__main__":
    main()
