"""Closing by a destructor: the library's applications close their recorders so, at any line of any thread."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from eventsourcing_kafka import KafkaApplicationRecorder, Settings

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 40

PROGRAM = """
import gc, sys
from eventsourcing_kafka import KafkaApplicationRecorder, Settings
from tests.eventsourcing_kafka.events import stored

class Application:
    # Only the garbage collector finds it: it refers to itself, as real ones do.
    def __init__(self):
        self.itself = self
        self.recorder = KafkaApplicationRecorder(settings)
    def __del__(self):
        self.recorder.close()

brokers, topic, folder, rounds = sys.argv[1:]
settings = Settings(
    bootstrap_servers=brokers, topic=topic, partitions=2, replication_factor=1, index_folder=folder
)
gc.set_threshold(1, 1, 1)  # so that garbage is collected wherever it can be
for number in range(int(rounds)):
    application = Application()
    application.recorder.insert_events([stored(f"a{number}", 1, "Made", b"{}")])
"""


def test_recorders_that_a_destructor_closes_stop_nobody(settings: Settings, tmp_path: Path) -> None:
    """Each is garbage while the next one is made and used, so it is closed in the middle of that: no thread waits for itself.

    The last one is closed when the interpreter ends.
    """
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, settings.bootstrap_servers, settings.topic, str(tmp_path), str(ROUNDS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Exception ignored" not in ended.stderr
    recorder = KafkaApplicationRecorder(settings)
    assert recorder.max_notification_id() == ROUNDS
    recorder.close()
