"""Release 10.0 of the library: what its events have beside those of 9.5, and the names that 9.5 gave them.

Not collected with 9.5, see conftest.py: `make test-next`.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from eventsourcing.persistence import IntegrityError

from eventsourcing_kafka import KafkaApplicationRecorder, Reader, Writer
from eventsourcing_kafka.protocol import encode_batch
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from eventsourcing_kafka import Settings

NAME = "5b1ebd4e-1c2f-4a33-9d5e-0123456789ab"


def test_an_aggregate_that_was_named_by_text_is_found(settings: Settings) -> None:
    """In 9.5 an application could give its aggregates the text of a UUID as id; in the log it has no prefix."""
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        with Reader(settings) as reader, Writer.take_over(reader) as writer:
            at = writer.checkpoint
            record = encode_batch(at.writer, at.epoch, 1, [stored("x" * 36, version, "T", b"{}") for version in (1, 2)])
            writer._producer.send(record.replace(b"x" * 36, NAME.encode())).offset(10)
        with pytest.raises(IntegrityError):
            recorder.insert_events([stored(NAME, 2, "T", b"{}")])
        recorder.insert_events([stored(NAME, version, "T", b"{}") for version in (3, 4)])
        assert [e.originator_version for e in recorder.select_events(NAME)] == [1, 2, 3, 4]
        assert [e.originator_version for e in recorder.select_events(NAME, desc=True, limit=3)] == [4, 3, 2]
        assert {e.originator_id for e in recorder.select_events(NAME)} == {NAME}


def test_what_an_event_has_since_10_is_kept(settings: Settings) -> None:
    """Its UUID and metadata come back from the log; each may be missing."""
    more: list[dict[str, Any]] = [
        {},
        {"uuid": UUID(int=7)},
        {"metadata": {"who": "me"}},
        {"uuid": UUID(int=8), "metadata": {"é": "ü"}},
    ]
    events = [stored("a", version, "T", b"{}", **fields) for version, fields in enumerate(more)]
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        recorder.insert_events(events)
        recorder._lookup._fetcher.clear()
        assert recorder.select_events("a") == events
        assert recorder.select_events("a", gt=1, lte=2) == events[2:3]
        found = recorder.select_notifications(1, 10)
        with recorder.subscribe() as subscription:
            assert [next(subscription) for _ in events] == found
    assert [vars(n) for n in found] == [vars(e) | {"id": i} for i, e in enumerate(events, 1)]
