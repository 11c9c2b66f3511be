"""The declaration of `GET /v1/stream`, for the OpenAPI document. `api.stream.sse` serves it in front of all routes."""

# ruff: noqa: ARG001  the parameters are the declaration

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from api.http.errors import ApiError
from api.http.openapi import answers

router = APIRouter(tags=["stream"])

_EVENTS = {
    "type": "string",
    "description": "Server-sent events. `docs/asyncapi-stream.yaml` has each message, and `docs/stream.md` explains them.",
}
_RESPONSES = answers(
    _EVENTS,
    *("UNAUTHENTICATED", "FORBIDDEN", "MARKET_NOT_FOUND", "LOG_CHANGED", "TOO_MANY_STREAMS", "UNAVAILABLE"),
    media_type="text/event-stream",
)
_RESPONSES[400]["description"] += (
    "\n- `INVALID_FIELD`: a parameter or `Last-Event-ID` is wrong. There is no body: elsewhere it is a 422."
)
_RESPONSES[400]["x-codes"].append("INVALID_FIELD")


@router.get("/stream", responses=_RESPONSES, response_class=StreamingResponse)
async def get_stream(
    channels: Annotated[
        str, Query(description="with commas, some of trades, prices, lifecycle, orders, events, progress")
    ] = "trades,prices,lifecycle",
    market: Annotated[
        list[str] | None, Query(description="id or slug, up to 100 times; all markets without it")
    ] = None,
    after: Annotated[int | None, Query(ge=0, description="begin after this position; without it, at the end")] = None,
    log: Annotated[str | None, Query(description="`log` of an earlier hello; of another log: 409")] = None,
    last_event_id: Annotated[str | None, Header(description="the last id; it wins over `after`")] = None,
    *,
    conflate: Annotated[bool, Query(description="only the newest prices, at most one in 50 ms")] = False,
) -> None:
    """What happens, as it happens, from any position of the log on, without end.

    Trades, prices and lifecycle are public; `orders` are those of the key's account, `events` is for analysts and admins.
    The `id` of a block is where to go on. `/v1/ws` tells the same over WebSocket, with subscriptions that can change.
    """
    raise ApiError("UNAVAILABLE", "this process serves no streams", retry_after_seconds=1)
