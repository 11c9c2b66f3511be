"""Lines of events that another process makes are those that this one would make."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from api.export import event_lines
from api.export.event_blocks import EventForm, EventRow, block_of
from api.export.event_process import EventProcessError, blocks_beside
from messages.events import UnreadableEventError
from tests.api.export.exchange import exported, files
from tests.children import children_running
from tests.projections.logs import stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from domain.events import Recorded


def pages(log: list[Recorded], size: int) -> list[list[EventRow]]:
    """A log in pages of so many events."""
    rows = [
        (recorded.position, str(each.originator_id), each.originator_version, each.topic, each.state)
        for recorded, each in zip(log, stored(log), strict=True)
    ]
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@pytest.mark.parametrize("form", [EventForm(True, None), EventForm(False, ["m0", "m2"])], ids=["text", "markets"])
def test_the_lines_are_the_same(log: list[Recorded], form: EventForm) -> None:
    """Page by page, in their order; also without any page."""
    assert list(blocks_beside(form, pages(log, 300))) == [block_of(form, page) for page in pages(log, 300)]
    assert list(blocks_beside(form, [])) == []


def test_an_export_has_the_same_bytes(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its events become lines in this process or in another one."""
    exported(dsn, tmp_path / "here", tables=["events"])
    monkeypatch.setattr(event_lines, "PROCESS_EVENTS", 100)
    monkeypatch.setattr(event_lines, "PAGE_EVENTS", 70)
    exported(dsn, tmp_path / "beside", tables=["events"])

    assert files(tmp_path / "here") == files(tmp_path / "beside")


def test_what_cannot_be_read_is_told_by_its_topic(log: list[Recorded]) -> None:
    """As it is without another process; no process is left."""
    page = [*pages(log[:5], 5)[0], (6, "s", 1, "Nothing.v1", b"{}")]

    with pytest.raises(UnreadableEventError, match=r"topic Nothing\.v1 cannot be read"):
        list(blocks_beside(EventForm(True, None), [page]))
    assert not children_running("event_process")


def test_a_process_that_others_end_is_told(log: list[Recorded]) -> None:
    """An export that lost it ends with an error, and does not wait."""

    def killed_at_the_second() -> Iterator[list[EventRow]]:
        first, second, *_ = pages(log, 300)
        yield first
        (child,) = children_running("event_process")
        os.kill(child.pid, signal.SIGKILL)
        yield second

    with pytest.raises(EventProcessError, match="ended with -9"):
        list(blocks_beside(EventForm(True, None), killed_at_the_second()))
