"""Writers of the chaos test, each a process of its own that notes in a journal what its clients are told.

A line of a journal is `what event position`:

- `sent`: this event is about to be sent;
- `told`: the client was told that the log has it at this position;
- `refused`: the client was told that the log does not have it and never will;
- `doubt`: the client was told neither;
- `there`: the event was in doubt and is in the log, as the recorder found when it was inserted again; `unexpected`: it
  is there, although the client was told that it is not;
- `read`: a reader found it at this position; `found`, `missing`: it was looked up by its name after it was told;
- `won`, `out`: a take-over, and an error outside of an append.

The name of an event ends with its number in its batch and the size of the batch.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eventsourcing.persistence import IntegrityError

from eventsourcing_kafka import Checkpoint, Fenced, InDoubt, KafkaApplicationRecorder, Reader, Settings, Writer
from eventsourcing_kafka.library import PersistenceError
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    import signal

    from eventsourcing.persistence import StoredEvent

    from tests.stepped_clock import SteppedClock

READ_MAX = 200
"""The most events that a recorder reads after each insert."""


def settings_of(bootstrap: str, topic: str, nodes: int = 1, index_folder: str = "temporary") -> Settings:
    """Return settings with short waits."""
    return Settings(
        bootstrap_servers=bootstrap,
        topic=topic,
        replication_factor=nodes,
        index_folder=index_folder,
        connect_timeout=2.0,
        append_timeout=1.0,
        read_timeout=2.0,
    )


class Journal:
    """What the clients of one writer were told."""

    def __init__(self, name: str) -> None:
        """Notes go to stdout, a pipe: a line is written whole or not at all, and no full disk stops it."""
        self._name = name
        self._batches = 0

    def note(self, what: str, event: str, position: int = 0) -> None:
        """Note one thing."""
        os.write(1, f"{what} {event} {position}\n".encode())

    def new_batch(self) -> list[str]:
        """Return the names of the events of another batch, and note that they are sent."""
        self._batches += 1
        size = random.randint(1, 3)  # noqa: S311  # no secret
        names = [f"{self._name}.{os.getpid()}.{self._batches}.{i}/{size}" for i in range(size)]
        for name in names:
            self.note("sent", name)
        return names


def events_of(names: list[str]) -> list[StoredEvent]:
    """Return events with these names."""
    return [stored(name, 1, "Made", b"{}") for name in names]


def write_for_ever(settings: Settings, journal: Journal, pause: float) -> None:
    """Take over and append for ever."""
    checkpoint = Checkpoint()
    while True:
        with Reader(settings, checkpoint) as reader:
            try:
                writer = Writer.take_over(reader)
            except PersistenceError as error:
                journal.note("out", type(error).__name__)
                checkpoint = reader.checkpoint
                sleep(random.uniform(0, pause))  # noqa: S311  # a random time, so that one of two duelling writers wins
                continue
        journal.note("won", writer.checkpoint.writer)
        what = "told"
        while what == "told":
            names = journal.new_batch()
            what, first = append(writer, names)
            for i, name in enumerate(names):
                journal.note(what, name, first + i)
        checkpoint = writer.checkpoint
        writer.close()
        sleep(random.uniform(0, pause))  # noqa: S311


def append(writer: Writer, names: list[str]) -> tuple[str, int]:
    """Append events with these names. Return what their clients are told, and the first position."""
    try:
        return "told", writer.append(events_of(names)).start
    except Fenced:
        return "refused", 0
    except InDoubt:
        return "doubt", 0


def record_for_ever(settings: Settings, journal: Journal, pause: float) -> None:
    """Insert by the recorder for ever, and read on after each insert. What is in doubt is inserted again."""
    recorder: KafkaApplicationRecorder | None = None
    names: list[str] = []
    in_doubt = False
    read = 0
    while True:
        try:
            if recorder is None:
                recorder = KafkaApplicationRecorder(settings)
            names = names or journal.new_batch()
            what, first = insert(recorder, names)
            if what == "doubt" or (in_doubt and what == "refused"):
                in_doubt = True  # the log may have the batch from before
                continue
            if what == "there" and not in_doubt:
                what = "unexpected"
            for i, name in enumerate(names):
                journal.note(what, name, first + i)
            told, names, in_doubt = names, [], False
            if what == "told":
                journal.note("found" if recorder.select_events(told[0]) else "missing", told[0])
            for found in recorder.select_notifications(read + 1, READ_MAX):
                journal.note("read", str(found.originator_id), found.id)
                read = found.id
            sleep(random.uniform(0, pause / 10))  # noqa: S311
        except PersistenceError as error:
            journal.note("out", type(error).__name__)
            if recorder is not None:
                recorder.close()
            recorder = None
            sleep(random.uniform(0, pause))  # noqa: S311


def insert(recorder: KafkaApplicationRecorder, names: list[str]) -> tuple[str, int]:
    """Insert events with these names. Return what their clients are told, and the first position."""
    try:
        return "told", next(iter(recorder.insert_events(events_of(names)) or ()))
    except IntegrityError:
        return "there", 0
    except InDoubt:
        return "doubt", 0
    except Fenced:
        return "refused", 0


class WriterProcess:
    """A writer that can be killed, paused and started again."""

    def __init__(self, kind: str, name: str, settings: Settings, folder: Path, clock: SteppedClock | None) -> None:
        """Describe the process without starting it. `kind` is "writer" or "recorder"."""
        self.name = name
        self.kind = kind
        self.clock = clock
        self.journal = folder / f"{name}.journal"
        self.index = Path(settings.index_path())
        self._log = folder / f"{name}.log"
        self._arguments = [
            *(sys.executable, __file__, kind, name, settings.bootstrap_servers, settings.topic),
            *(str(settings.replication_factor), settings.index_folder),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._copying: Thread | None = None

    def start(self) -> None:
        """Start the process if it is not running. Raises RuntimeError if it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"Writer {self.name} ended by itself: {self._log.read_text()[-3000:]}")
        if self._process is None:
            environment = os.environ | (self.clock.environment if self.clock else {})
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._arguments, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, env=environment
                )
            self._copying = Thread(target=self._copy, args=[self._process.stdout], daemon=True)
            self._copying.start()

    def _copy(self, notes: Any) -> None:
        with notes, self.journal.open("ab", buffering=0) as journal:
            while found := os.read(notes.fileno(), 65536):
                journal.write(found)

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def limit_files(self, size: int) -> None:
        """Refuse its writes beyond this size of a file, as a full disk would; -1: refuse none."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, -1))

    def noted(self) -> int:
        """Return the size of its journal."""
        return self.journal.stat().st_size if self.journal.exists() else 0

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._copying is not None:
            self._copying.join()


def main() -> None:
    """Write for ever."""
    parser = argparse.ArgumentParser()
    for name in ("kind", "name", "bootstrap", "topic", "nodes", "index_folder"):
        parser.add_argument(name)
    given = parser.parse_args()
    settings = settings_of(given.bootstrap, given.topic, int(given.nodes), given.index_folder)
    journal = Journal(given.name)
    {"writer": write_for_ever, "recorder": record_for_ever}[given.kind](settings, journal, 0.5)


if __name__ == "__main__":
    main()
