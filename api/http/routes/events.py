"""The event log in its public form, and its schemas."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from eventsourcing.persistence import ApplicationRecorder
from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.responses import Response

from api.http.cursors import POSITION_MAX
from api.http.errors import ApiError, invalid_field
from api.http.openapi import EVENT, answers, list_of
from api.http.reads import Cursor, Limit, Read, Reader, answer, json, query_time
from domain.events import Recorded
from domain.orders import OrderAmended, OrderPlaced
from domain.partition import CommandHadNoEffect, CommandRejected
from domain.rejections import Code
from messages.events import TOPICS, event_schemas, public_event
from messages.stored import from_stored
from projections import log_index
from projections.log_index import TYPE_NAMES, Search
from projections.reading import AsOf

router = APIRouter(tags=["log"])

GAP_MAX: Final = 100
"""The most positions between two events that are read from the log together, with all that lies between them."""

_NAMES: Final = {topic: TYPE_NAMES[event_type] for topic, event_type in TOPICS.items()}

Types = Annotated[str | None, Query(description="types of events, such as OrderPlaced, with commas between them")]


@router.get(
    "/events",
    responses=list_of(EVENT, "FORBIDDEN", "LOG_LOST", "MARKET_NOT_FOUND", "STORY_NOT_FOUND", "ACCOUNT_NOT_FOUND"),
)
async def list_events(
    read: Read,
    type: Types = None,  # noqa: A002  the name of the parameter
    market: Annotated[str | None, Query(description="only events about this market: id or slug")] = None,
    story: Annotated[str | None, Query(description="only events about this story or its markets: id or slug")] = None,
    account: Annotated[str | None, Query(description="only events about this account: id or name")] = None,
    after: Annotated[int, Query(ge=0, le=POSITION_MAX, description="a position: only events after it")] = 0,
    before: Annotated[
        int | None, Query(ge=0, le=POSITION_MAX, description="a position: only events before it, newest first")
    ] = None,
    start: Annotated[str | None, Query(description="only events from this time on")] = None,
    end: Annotated[str | None, Query(description="only events before this time")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Events as `GET /v1/schemas` describes them, oldest first, with `before` newest first.

    `as_of` is the end of the log as it was read. The log as a whole is for analysts and admins. An account may read its own
    events, with `account`: there the accounts and orders that it traded with are null. The `body` of a command that was
    refused or had no effect is for its account, analysts and admins.
    """
    key = read.after(cursor, int)
    if account is None:
        read.check_sees_all()
    resolve = read.context.references.resolve
    account_id = None if account is None else await read.private(account)
    newest_first = before is not None
    search = Search(
        types=type_names(type),
        market_id=None if market is None else await resolve("market", market),
        account_id=account_id,
        story_id=None if story is None else await resolve("story", story),
        after=key[0] if key and not newest_first else after,
        before=key[0] if key and newest_first else before,
        start=query_time("start", start),
        end=query_time("end", end),
        newest_first=newest_first,
    )
    await _read_to_the_end(read)

    def query(connection: Connection[Any], as_of: AsOf) -> list[int]:
        _refuse_unknown(connection, as_of, search)
        return log_index.positions(connection, as_of, search, limit + 1)

    positions, as_of = await read.fetch((log_index.exists, log_index.positions), query)
    shown = positions[:limit]
    found = await read.context.log_reads.ask(lambda log: _events(log, shown))
    events = [_shown(recorded, read) for recorded in found]
    more = shown[-1:] if len(positions) > limit else None
    return answer(events, as_of, next_cursor=read.cursor(more, as_of))


@router.get("/schemas", responses=answers({"type": "object"}))
async def get_schemas() -> Response:
    """The JSON Schema of every type of event, by its durable name."""
    return json({"data": event_schemas()})


def _shown(recorded: Recorded, read: Reader) -> dict[str, Any]:
    """Return the public form of an event for this reader.

    Bodies of commands are private to the account that sent them, whatever the settings say. An account that reads its own
    events does not see with whom it traded, whose command filled its order, or whether an id is that of another's order.
    """
    public = public_event(recorded)
    event = recorded.event
    data = public["data"]
    if isinstance(event, CommandRejected | CommandHadNoEffect) and not (
        read.principal and read.principal.may_see(event.account_id or "")
    ):
        data["body"] = None
    if read.sees_all:
        return public
    own = read.principal.account_id if read.principal else None
    if not recorded.command_id.startswith((f"order:{own}:", f"{own}:")):
        public["command_id"] = ""
    if isinstance(event, CommandRejected) and event.code is Code.NOT_ORDER_OWNER:
        data |= {"code": Code.ORDER_NOT_OPEN, "message": "there is no such open order"}
    if isinstance(event, OrderPlaced | OrderAmended):
        for fill in data["execution"]["fills"]:
            fill |= {"account_id": None, "order_id": None}
    return public


def type_names(text: str | None) -> list[str]:
    """Return the names of event types, given with or without their version; raises ApiError INVALID_FIELD."""
    names = set() if text is None else set(text.split(","))
    if not names <= {*_NAMES, *_NAMES.values()}:
        raise invalid_field("type", "is not the name of an event type")
    return sorted({_NAMES.get(name, name) for name in names})


async def _read_to_the_end(read: Reader) -> None:
    """Let the answer have all events that are in the log now: whoever got the reply to a command finds its events."""
    if read.at is None and read.time is None:
        end = await read.context.log_reads.ask(lambda log: log.max_notification_id())
        read.min_position = max(read.min_position or 0, end or 0)


def _refuse_unknown(connection: Connection[Any], as_of: AsOf, search: Search) -> None:
    """Refuse a search about what does not exist."""
    if search.market_id is not None and not log_index.exists(connection, as_of, "market_id", search.market_id):
        raise ApiError("MARKET_NOT_FOUND", "no such market", {"market": search.market_id})
    if search.story_id is not None and not log_index.exists(connection, as_of, "story_id", search.story_id):
        raise ApiError("STORY_NOT_FOUND", "no such story", {"story": search.story_id})
    if search.account_id is not None and not log_index.exists(connection, as_of, "account_id", search.account_id):
        raise ApiError("ACCOUNT_NOT_FOUND", "no such account", {"account": search.account_id})


def _events(log: ApplicationRecorder, positions: Sequence[int]) -> list[Recorded]:
    """Return the events at these positions, in their order."""
    wanted = sorted(positions)
    found: dict[int, Recorded] = {}
    first = 0
    for number, position in enumerate(wanted, 1):
        if number == len(wanted) or wanted[number] - position > GAP_MAX:
            begin = wanted[first]
            chosen = set(wanted[first:number])
            for stored in log.select_notifications(begin, position - begin + 1, position):
                if stored.id in chosen:
                    found[stored.id] = from_stored(stored.id, stored)
            first = number
    return [found[position] for position in positions]
