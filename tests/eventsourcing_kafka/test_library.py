"""One log serves every release of the library: what one of them wrote, the other one finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from eventsourcing_kafka import KafkaApplicationRecorder
from eventsourcing_kafka.library import EVENTS_HAVE_METADATA, id_from_text, id_to_text, names_of
from eventsourcing_kafka.protocol import encode_batch
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from eventsourcing_kafka import Settings

NAME = "5b1ebd4e-1c2f-4a33-9d5e-0123456789ab"


@pytest.mark.parametrize("text", ["a", "aggregate-1", NAME, NAME.upper(), NAME.replace("-", ""), f"{NAME} ", ""])
def test_ids_are_read_back(text: str) -> None:
    """In 9.5 a UUID and its text are two ids; in 10.0 every id is text."""
    assert id_from_text(id_to_text(text)) == text
    expected = text if EVENTS_HAVE_METADATA else UUID(NAME)
    if text == NAME:
        assert id_from_text(f"urn:uuid:{NAME}") == expected


def test_one_aggregate_has_one_name_in_every_release() -> None:
    """So an application keeps its aggregates when it goes from 9.5, where their ids are UUIDs, to 10.0, where they are text."""
    value = encode_batch("w", 1, 1, [stored(UUID(NAME), 1, "T", b"{}"), stored("a", 1, "T", b"{}")])

    assert [row[0] for row in json.loads(value)["events"]] == [f"urn:uuid:{NAME}", "a"]
    assert names_of("a") == ("a", "a")


def test_the_next_release_reads_this_log(settings: Settings) -> None:
    """And appends to it, and this one reads that."""
    folder = Path(__file__).resolve().parents[2] / "build" / "eventsourcing-next"
    if not folder.exists():
        pytest.skip("the next release is not installed: make test-next")
    name = UUID(NAME)
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        recorder.insert_events([stored(name, 1, "T", b'{"by":9}')])
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", OTHER, settings.bootstrap_servers, settings.topic, NAME],
            env=os.environ | {"PYTHONPATH": f"{folder}:{folder.parents[1]}"},
            check=True,
            timeout=60,
        )
        events = recorder.select_events(name)
    assert events[0] == stored(name, 1, "T", b'{"by":9}')
    assert (str(events[1].originator_id), events[1].originator_version, events[1].state) == (NAME, 2, b'{"by":10}')


OTHER = """
import sys
from contextlib import closing
from uuid import uuid4
from eventsourcing.persistence import StoredEvent
from eventsourcing_kafka import KafkaApplicationRecorder, Settings

_, servers, topic, name = sys.argv
settings = Settings(bootstrap_servers=servers, topic=topic, replication_factor=1, index_folder="temporary")
with closing(KafkaApplicationRecorder(settings)) as recorder:
    assert [(e.originator_id, e.originator_version) for e in recorder.select_events(name)] == [(name, 1)]
    event = StoredEvent(
        originator_id=name, originator_version=2, topic="T", state=b'{"by":10}', uuid=uuid4(), metadata={"by": "me"}
    )
    recorder.insert_events([event])
    assert recorder.select_events(name)[1] == event
"""
