"""The event log in its public form, and its schemas."""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.http import cursors
from api.http.context import Context, MarketFilter, WithContext, reader_of
from api.http.cursors import POSITION_MAX
from api.http.errors import invalid_field
from api.http.openapi import EVENT, answers, list_of
from api.http.reads import Cursor, Limit, json
from api.http.request_log import request_log_of
from domain.events import Recorded
from messages.events import TOPICS, event_schemas, public_event
from messages.stored import from_stored
from messages.wire import format_time

router = APIRouter(tags=["log"])

SCANNED_MAX: Final = 10_000
"""The most events that one request for the events of a market searches."""

_TYPES: Final = {topic: topic.partition(".v")[0] for topic in TOPICS}


@router.get("/events", dependencies=[Depends(reader_of)], responses=list_of(EVENT))
async def list_events(
    request: Request,
    context: WithContext,
    market_id: MarketFilter,
    after: Annotated[int, Query(ge=0, le=POSITION_MAX, description="a position: only events after it")] = 0,
    limit: Limit = 100,
    type: Annotated[str | None, Query(description="a type of event, such as OrderPlaced")] = None,  # noqa: A002
    cursor: Cursor = None,
) -> Response:
    """Events, oldest first, as `GET /v1/schemas` describes them. With `market`, a page may be short: follow the cursor."""
    topics = _topics(type)
    key = cursors.decode(request, cursor, int)
    start = key[0] if key else after
    found, scanned_to, more, head = await run_in_threadpool(_scan, context, start, limit, topics, market_id)
    request_log_of(request).position = head
    time = format_time(found[-1].time) if found else None
    return json(
        {
            "data": [public_event(recorded) for recorded in found],
            "next_cursor": cursors.encode(request, [scanned_to]) if more else None,
            "as_of": {"position": head, "time": time},
        }
    )


@router.get("/schemas", responses=answers({"type": "object"}))
async def get_schemas() -> Response:
    """The JSON Schema of every type of event, by its durable name."""
    return json({"data": event_schemas()})


def _topics(event_type: str | None) -> list[str]:
    if event_type is None:
        return []
    topics = [topic for topic, name in _TYPES.items() if event_type in {topic, name}]
    if not topics:
        raise invalid_field("type", "is not the name of an event type")
    return topics


def _scan(
    context: Context, after: int, limit: int, topics: Sequence[str], market_id: str | None
) -> tuple[list[Recorded], int, bool, int]:
    """Return events after a position, the last position searched, whether there may be more, and the log's end."""
    head = context.log.max_notification_id() or 0
    found: list[Recorded] = []
    scanned = 0
    while after < head and len(found) < limit and scanned < SCANNED_MAX:
        page = context.log.select_notifications(
            after, limit if market_id is None else 1000, topics=topics, inclusive_of_start=False
        )
        for notification in page:
            after = notification.id
            scanned += 1
            recorded = from_stored(notification.id, notification)
            if market_id is None or getattr(recorded.event, "market_id", None) == market_id:
                found.append(recorded)
                if len(found) == limit:
                    break
        if not page:
            after = head
    return found, after, after < head, head
