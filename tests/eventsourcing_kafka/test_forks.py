"""What was opened before a fork is refused in the child, at once, and still works in the parent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventsourcing_kafka import Settings

SCRIPT = """
import os, sys, warnings
from tests.eventsourcing_kafka.events import stored
from eventsourcing_kafka.library import ProgrammingError
from eventsourcing_kafka import KafkaApplicationRecorder, Reader, Settings, Writer

warnings.simplefilter("ignore")
settings = Settings(bootstrap_servers=sys.argv[1], topic=sys.argv[2], replication_factor=1, index_folder="temporary")
event = lambda name: [stored(name, 1, "Made", b"{}")]
recorder = KafkaApplicationRecorder(settings)
recorder.insert_events(event("a"))
recorder.select_events("a")
reader = Reader(settings)
reader.read(1)
calls = [
    lambda: recorder.insert_events(event("b")),
    lambda: recorder.select_events("a"),
    lambda: recorder.select_notifications(1, 10),
    lambda: recorder.max_notification_id(),
    lambda: recorder.take_over(),
    lambda: recorder.writer.append(event("b")),
    lambda: reader.read(),
    lambda: reader.end(),
]
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    assert recorder.insert_events(event("c")) == [2]  # the child has not claimed the log
    assert [n.id for n in recorder.select_notifications(1, 10)] == [1, 2]
    print("done")
else:
    for call in calls:
        try:
            call()
        except ProgrammingError as error:
            assert "Open them after the fork" in str(error)
        else:
            raise AssertionError("not refused")
    reader.close()
    recorder.close()
    with Reader(settings) as another:
        assert [batch.first for batch in another.read_to(another.end())] == [1]
"""


def test_what_was_opened_before_a_fork_is_refused_in_the_child(settings: Settings) -> None:
    """Each call waited for ever, or claimed the log from its parent. The child ends as usual, and may open its own."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, settings.bootstrap_servers, settings.topic],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
