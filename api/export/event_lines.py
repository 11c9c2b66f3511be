"""The events of the log as JSON lines, read from the log in pages."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from api.export.event_blocks import EventBlock, EventForm, block_of
from api.export.event_process import blocks_beside
from messages.stored import from_stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from eventsourcing.persistence import ApplicationRecorder

    from api.export.event_blocks import EventRow
    from api.export.row_lines import Lines

PAGE_EVENTS: Final = 5_000
"""The number of events that are read from the log at a time."""

PROCESS_EVENTS: Final = 20_000
"""The least positions of a file for which it pays to start a process."""

_ROWS: Final = SQL(
    "SELECT notification_id, originator_id, originator_version, topic, state FROM {} "
    "WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id LIMIT %s"
)


def event_lines(
    log: ApplicationRecorder,
    after: int,
    until: int,
    lines: Lines,
    *,
    markets: AbstractSet[str] | None,
    data_as_text: bool,
) -> Iterator[bytes]:
    """Yield the events after a position up to another one as JSON lines, and count them in `lines`.

    With `markets` only those about one of these are taken. With `data_as_text` the JSON of `data` is a string, which Parquet
    keeps byte for byte. Many events become lines in a process of their own.
    """
    form = EventForm(data_as_text, None if markets is None else sorted(markets))
    pages = read_pages(log, after, until)
    if until - after < PROCESS_EVENTS:
        blocks: Iterator[EventBlock] = (block_of(form, page) for page in pages)
    else:
        blocks = blocks_beside(form, pages)
    for block in blocks:
        lines.rows += block.rows
        yield lines.note(block.lines)


def read_pages(log: ApplicationRecorder, after: int, until: int) -> Iterator[list[EventRow]]:
    """Yield the events after a position up to another one as the log has them, page by page."""
    read = partial(_read_rows, log) if isinstance(log, PostgresApplicationRecorder) else partial(_read, log)
    while after < until:
        page = read(after, until)
        if not page:
            return
        yield page
        after = page[-1][0]


def _read(log: ApplicationRecorder, after: int, until: int) -> list[EventRow]:
    page = log.select_notifications(after, PAGE_EVENTS, stop=until, inclusive_of_start=False)
    return [(each.id, str(each.originator_id), each.originator_version, each.topic, each.state) for each in page]


def _read_rows(log: PostgresApplicationRecorder, after: int, until: int) -> list[EventRow]:
    """Do what `_read` does in a fraction of its time: states come in binary form, and rows are not made `Notification`s."""
    query = _ROWS.format(Identifier(log.datastore.schema, log.events_table_name))
    with log.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, [after, until, PAGE_EVENTS], prepare=True, binary=True).fetchall()


def position_at(log: ApplicationRecorder, time: int, end: int) -> int:
    """Return the last position at or before a time, 0 where there is none. `end` is the last position of the log."""
    low, high = 0, end  # the answer is at or after `low`, and at or before `high`
    while low < high:
        middle = (low + high + 1) // 2
        found = log.select_notifications(middle, 1)
        if not found or from_stored(found[0].id, found[0]).time > time:
            high = middle - 1
        else:
            low = max(middle, found[0].id)
    return low
