"""The events of the log as JSON lines: the envelope and the public form of `/v1/events`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from domain.events import Recorded
from messages.events import public_event
from messages.stored import decode_state, from_stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from eventsourcing.persistence import ApplicationRecorder

    from api.export.row_lines import Lines

PAGE_EVENTS: Final = 5_000
"""The number of events that are read from the log at a time."""

_ROWS: Final = SQL(
    "SELECT notification_id, originator_id, originator_version, topic, state FROM {} "
    "WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id LIMIT %s"
)

_encode: Final = msgspec.json.Encoder().encode


class EventLine(msgspec.Struct):
    """A line of the table `events`."""

    position: int
    type: str
    version: int
    time: str
    command_id: str
    digest: str | None
    stream: str
    stream_version: int
    market_id: str | None
    account_id: str | None
    order_id: str | None
    data: Any


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
    keeps byte for byte.
    """
    encode = msgspec.json.Encoder().encode_lines
    for page in read_pages(log, after, until):
        block = []
        for recorded in page:
            market_id = getattr(recorded.event, "market_id", None) or None
            if markets is None or market_id in markets:
                block.append(_line(recorded, market_id, data_as_text=data_as_text))
        lines.rows += len(block)
        if block:
            yield lines.note(encode(block))


def _line(recorded: Recorded, market_id: str | None, *, data_as_text: bool) -> EventLine:
    public = public_event(recorded)
    event = recorded.event
    return EventLine(
        position=public["position"],
        type=public["type"],
        version=public["version"],
        time=public["time"],
        command_id=public["command_id"],
        digest=recorded.digest,
        stream=public["stream"],
        stream_version=public["stream_version"],
        market_id=market_id,
        account_id=getattr(event, "account_id", None) or None,
        order_id=getattr(event, "order_id", None) or None,
        data=_encode(public["data"]).decode() if data_as_text else public["data"],
    )


def read_pages(log: ApplicationRecorder, after: int, until: int) -> Iterator[list[Recorded]]:
    """Yield the events after a position up to another one, page by page."""
    read = partial(_read_rows, log) if isinstance(log, PostgresApplicationRecorder) else partial(_read, log)
    while after < until:
        page = read(after, until)
        if not page:
            return
        yield page
        after = page[-1].position


def _read(log: ApplicationRecorder, after: int, until: int) -> list[Recorded]:
    page = log.select_notifications(after, PAGE_EVENTS, stop=until, inclusive_of_start=False)
    return [from_stored(notification.id, notification) for notification in page]


def _read_rows(log: PostgresApplicationRecorder, after: int, until: int) -> list[Recorded]:
    """Do what `_read` does in a fraction of its time: states come in binary form, and rows are not made `Notification`s."""
    query = _ROWS.format(Identifier(log.datastore.schema, log.events_table_name))
    with log.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(query, [after, until, PAGE_EVENTS], prepare=True, binary=True).fetchall()
    page = []
    for position, stream, version, topic, stored in rows:
        state = decode_state(topic, stored)
        page.append(Recorded(position, stream, version, state.time, state.command_id, state.data, state.digest))
    return page


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
