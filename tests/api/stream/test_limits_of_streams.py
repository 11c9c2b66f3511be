"""What bounds a stream: how many there may be, how long they last, what waits for a slow one; and what frees them."""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import Exchange, connected, start
from tests.api.stream.reading import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bounded(database: str, tmp_path: Path) -> Iterator[Exchange]:
    """An exchange whose streams have small limits: 210 of an address, a beat each 0.3 s, an end after 3 s."""
    limits: dict[str, Any] = {
        "stream_owner_connections_max": 210,
        "stream_beat_ms": 300,
        "stream_seconds_max": 3,
        "address_reads_per_second": 0,
        "address_costly_reads_per_second": 0,
    }
    with start(database, tmp_path, **limits) as running:
        found = connected(running)
        yield found
        found.api.client.close()


def test_a_quiet_stream_beats_and_ends_with_a_bye(bounded: Exchange) -> None:
    """A beat has an id, the log's end and that of the read models. The bye says where to resume."""
    with opened(bounded.running.url) as stream:
        blocks = stream.until(lambda block: block.event == "bye")
        assert list(stream) == []
    beats = [block for block in blocks if block.event == "beat"]
    assert len(beats) >= 5
    assert all(beat.own_id and set(beat.data) == {"head", "projected", "time"} for beat in beats)
    assert blocks[-1].data == {"code": 1012, "after": int(blocks[-1].last_id)}


def test_one_stream_too_many_is_refused_and_a_stop_ends_all_at_once(bounded: Exchange) -> None:
    """With 200 streams open: the next ones up to the limit, then 503; and the server stops in under a second."""
    with ExitStack() as stack:
        streams = [stack.enter_context(opened(bounded.running.url)) for _ in range(210)]
        with opened(bounded.running.url) as refused:
            assert (refused.status, refused.body()["code"]) == (503, "TOO_MANY_STREAMS")
        for stream in streams[:10]:
            next(iter(stream))
        assert bounded.running.hub.status()["connections"] == 210
        began = monotonic()
        bounded.running.hub.stop()
        bounded.running.http.__exit__()
        assert monotonic() - began < 1.0
        blocks = streams[-1].until(lambda block: block.event == "bye")
        assert blocks[-1].data["code"] == 1012


def test_who_leaves_is_forgotten(bounded: Exchange) -> None:
    """A disconnect is noticed at once, though nothing is sent."""
    with ExitStack() as stack:
        for _ in range(20):
            next(iter(stack.enter_context(opened(bounded.running.url))))
        assert bounded.running.hub.status()["connections"] == 20
    ends = monotonic() + 2
    while bounded.running.hub.status()["connections"]:
        assert monotonic() < ends
        sleep(0.01)
