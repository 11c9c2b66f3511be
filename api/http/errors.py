"""Every error that a caller can get: one table from code to HTTP status and meaning, and the answers made from it.

    ApiError            raised by routes; its `code` is in `CODES`
    a refusal           a reply of the engine with a code; becomes an ApiError
    FastAPI's errors    an unknown path, a wrong method, an invalid field: brought to the same form

The body of every error is exactly `{"code", "message", "details"}`. `python -m api.http.errors` prints this table as
`docs/errors.md`; a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from fastapi.exceptions import RequestValidationError
from psycopg import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from api.http.request_log import RequestLog, request_log_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response


class Meaning(NamedTuple):
    """The HTTP status of a code, and what the code means."""

    status: int
    text: str


CODES: Final[dict[str, Meaning]] = {
    # The request itself.
    "MALFORMED_JSON": Meaning(
        400,
        "The body is not a JSON object in UTF-8, names a key twice in one object, or has a string that is not Unicode.",
    ),
    "MALFORMED_REQUEST": Meaning(400, "The request is no HTTP. The connection is closed."),
    "INVALID_QUERY": Meaning(400, "The query string has a NUL, which no value may have, or a parameter twice."),
    "UNKNOWN_PARAMETER": Meaning(400, "The path has no such query parameter; the details name it and those it has."),
    "INVALID_CURSOR": Meaning(400, "The cursor is damaged, or belongs to another query."),
    "UNAUTHENTICATED": Meaning(401, "The key is missing, unknown, revoked or expired."),
    "FORBIDDEN": Meaning(403, "The key's roles, or its account, do not allow this."),
    "NOT_FOUND": Meaning(404, "No such path."),
    "KEY_NOT_FOUND": Meaning(404, "No such API key."),
    "WEBHOOK_NOT_FOUND": Meaning(404, "No such webhook."),
    "METHOD_NOT_ALLOWED": Meaning(405, "The path does not have this method."),
    "REQUEST_TIMEOUT": Meaning(408, "The header or the body took too long to arrive. The connection is closed."),
    "HEADERS_TOO_LARGE": Meaning(431, "The header is longer than this server accepts. The connection is closed."),
    "BODY_TOO_LARGE": Meaning(413, "The body is larger than this server accepts."),
    "UNSUPPORTED_MEDIA_TYPE": Meaning(415, "The body is sent as another type than JSON, or compressed."),
    "INVALID_FIELD": Meaning(422, "A field is missing, unknown or invalid; the details name each such field."),
    "INVALID_PRICE": Meaning(422, "A limit price is not a multiple of the tick 0.001 between 0.001 and 0.999."),
    "INVALID_PAYOUTS": Meaning(422, "The payouts name an outcome twice, or their sum is not exactly 1."),
    # What a command names.
    "STORY_NOT_FOUND": Meaning(404, "No such story."),
    "MARKET_NOT_FOUND": Meaning(404, "No such market."),
    "ACCOUNT_NOT_FOUND": Meaning(404, "No such account."),
    "INVITATION_NOT_FOUND": Meaning(404, "No such invitation."),
    "ORDER_NOT_FOUND": Meaning(404, "No such order. Over Kafka this is ORDER_NOT_OPEN."),
    "UNKNOWN_OUTCOME": Meaning(422, "The market has no such outcome."),
    "STORY_EXISTS": Meaning(409, "Another story has this slug."),
    "MARKET_EXISTS": Meaning(409, "Another market has this slug."),
    "ACCOUNT_EXISTS": Meaning(409, "Another account has this name, or one that looks like it."),
    "INVITATION_EXISTS": Meaning(409, "Another invitation has this secret; over HTTP this cannot happen."),
    "INVITATION_EXPIRED": Meaning(409, "The invitation has expired, or would have at once."),
    "INVITATION_REVOKED": Meaning(409, "An admin has revoked the invitation."),
    "INVITATION_USED_UP": Meaning(409, "The invitation has opened as many accounts as it may."),
    "COMMAND_ID_REUSED": Meaning(409, "The same id was used before with another body; nothing was done."),
    # The market's status and the clock.
    "MARKET_NOT_ACTIVE": Meaning(409, "The market takes no orders now."),
    "MARKET_STATUS": Meaning(409, "The market's status does not allow this."),
    "CLOSE_TIME_PASSED": Meaning(409, "The market's close time is not in the future."),
    "DISPUTE_WINDOW_OPEN": Meaning(409, "The determination can still be disputed; it cannot be finalized yet."),
    "DISPUTE_WINDOW_CLOSED": Meaning(409, "The determination can no longer be disputed."),
    "ORDER_NOT_OPEN": Meaning(409, "The order does not rest any more: it is filled, canceled or expired."),
    # The account.
    "INSUFFICIENT_FUNDS": Meaning(422, "The account has less available cash than this needs."),
    "INSUFFICIENT_SHARES": Meaning(422, "The account has fewer available shares than this needs."),
    "ACCOUNT_OVERDRAWN": Meaning(422, "The account's cash is below zero: it may only deposit, sell, merge or cancel."),
    "WITHDRAWAL_HELD": Meaning(
        422, "The cash could still be taken back, by a correction or a void; it can be traded, and withdrawn later."
    ),
    "WRONG_PARTITION": Meaning(
        422, "Another partition decides this, the one in the details; over HTTP with one partition this cannot happen."
    ),
    "FUNDS_NEEDED": Meaning(
        422, "The cash that this needs may be in other partitions; with one partition this cannot happen."
    ),
    "TOO_MANY_KEYS": Meaning(422, "The account already has the most valid API keys that it may make itself."),
    "TOO_MANY_WEBHOOKS": Meaning(422, "The exchange already has the most webhooks that it may have."),
    "TOO_MANY_ORDERS": Meaning(422, "The account already has the most resting orders that it may have."),
    "BOOK_FULL": Meaning(422, "The market already has the most resting orders, and the account at least 10 of them."),
    "TOO_MANY_MARKETS": Meaning(422, "The story already has the most markets that it may have."),
    "TOO_MANY_ACCOUNTS": Meaning(422, "The exchange already has the most accounts that it may have."),
    "NOT_ORDER_OWNER": Meaning(403, "The order belongs to another account."),
    # The order's own conditions.
    "SLIPPAGE": Meaning(422, "The order would break its max_cost or min_proceeds; nothing was filled."),
    "FOK_NOT_FILLED": Meaning(422, "Fill-or-kill: the whole quantity cannot be filled; nothing was filled."),
    "POST_ONLY_WOULD_CROSS": Meaning(422, "Post-only: the order would trade at once; it was not placed."),
    "REDUCE_ONLY": Meaning(422, "Reduce-only: the order would not reduce a position."),
    "ORDER_TOO_SMALL": Meaning(422, "The order is below 0.01 share or 0.01 credit, or brings nothing after rounding."),
    "ORDER_EXPIRED": Meaning(422, "expires_at is not in the future."),
    "BOND_TOO_SMALL": Meaning(422, "The bond of the dispute is below the market's minimum."),
    # The service.
    "HOST_NOT_ALLOWED": Meaning(421, "The header Host is no name of this server; a setting lists its names."),
    "RATE_LIMITED": Meaning(
        429, "Too many requests of the kind that the details name; nothing was done. Wait as long as Retry-After says."
    ),
    "READ_TIMEOUT": Meaning(503, "The read took longer than this server allows. Ask for less, or later."),
    "LOG_CHANGED": Meaning(
        409, "The stream's log is another one than the client read before: its positions mean nothing here."
    ),
    "TOO_MANY_STREAMS": Meaning(503, "Too many streams are open, in all or of one account or address."),
    "TOO_MANY_CONNECTIONS": Meaning(503, "Too many connections are open, in all or from one address."),
    "BUSY": Meaning(
        503,
        "The engine is busy, or too many bodies arrive at once; nothing was done. Wait as long as Retry-After says.",
    ),
    "REPLY_TIMEOUT": Meaning(
        503, "No reply in time; the command may still be done. Send the same request again, with the same id."
    ),
    "NOT_YET_PROJECTED": Meaning(503, "The read model has not reached the requested position in time."),
    "TOO_MANY_WAITS": Meaning(503, "Too many reads wait for a position already. Wait as long as Retry-After says."),
    "UNAVAILABLE": Meaning(503, "The database or the log cannot be reached."),
    "LOG_LOST": Meaning(
        503, "The log has lost events that were read from it. Nothing is decided until people have restored it."
    ),
    "INTERNAL": Meaning(500, "An error of this server; its log has the details under the request's id."),
}

_OF_STATUS: Final = {400: "MALFORMED_JSON", 401: "UNAUTHENTICATED", 403: "FORBIDDEN", 404: "NOT_FOUND"} | {
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "INVALID_FIELD",
    429: "RATE_LIMITED",
    503: "UNAVAILABLE",
}


PROBLEMS_MAX: Final = 20
"""The most problems of one body that an error tells."""

NAME_SHOWN: Final = 100
"""The most characters of the name of a field that an error shows."""


class ApiError(Exception):
    """Ends a request with a code of the table. `retry_after_seconds` becomes the header `Retry-After`."""

    def __init__(
        self,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.retry_after_seconds = retry_after_seconds
        self.more_headers: dict[str, str] = {}

    @property
    def status(self) -> int:
        """The HTTP status of its code."""
        return CODES[self.code].status

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        return {"code": self.code, "message": self.message, "details": self.details}

    def headers(self) -> dict[str, str]:
        """Return the headers its code needs."""
        headers = dict(self.more_headers)
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after_seconds)))
        if self.status == CODES["UNAUTHENTICATED"].status:
            headers["www-authenticate"] = "Bearer"
        return headers


class BodyRefused(HTTPException):
    """An ApiError about a body, in the form that FastAPI lets pass while it reads the body."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.status, error.message)
        self.error = error


def not_yet_projected(position: int, **details: int) -> ApiError:
    """Return the error of a read model that has not reached this position in time."""
    return ApiError(
        "NOT_YET_PROJECTED",
        f"the read model has not reached position {position} yet",
        {"position": position, **details},
        retry_after_seconds=1,
    )


def invalid_field(field: str, problem: str) -> ApiError:
    """Return the error of one field, in the form in which validation reports it."""
    return invalid_fields([{"field": field, "problem": problem}])


def invalid_fields(problems: Sequence[Mapping[str, str]], total: int | None = None) -> ApiError:
    """Return the error that names the fields with a problem, at most 20; `details.field` is the first of them.

    `total` is the number of all problems, if they are more than these; it stands in `details.problems`.
    """
    message = "; ".join(f"{problem['field']}: {problem['problem']}" for problem in problems)
    details = {"field": problems[0]["field"], "fields": list(problems)}
    if total is None or total == len(problems):
        return ApiError("INVALID_FIELD", message, details)
    more = f"; and {total - len(problems)} more problems"
    return ApiError("INVALID_FIELD", message + more, {**details, "problems": total})


def from_pydantic(errors: Iterable[Mapping[str, Any]]) -> ApiError:
    """Return the error for what pydantic found, without the input values: they may be private."""
    errors = list(errors)
    for error in errors:
        if error["type"] == "json_invalid":
            return ApiError("MALFORMED_JSON", "the body is not JSON", {"problem": str(error["ctx"]["error"])})
        if tuple(error["loc"]) in {(), ("body",)}:  # the body as a whole is missing, a list, a string ...
            return ApiError("MALFORMED_JSON", "the body must be a JSON object, sent as application/json")
    told = [{"field": _field(error), "problem": _problem(error)} for error in errors[:PROBLEMS_MAX]]
    return invalid_fields(told, len(errors))


def _field(error: Mapping[str, Any]) -> str:
    location = error["loc"]
    path = [_shortened(str(part)) for part in location[location[0] in {"body", "query", "path", "header"} :]]
    return ".".join(path) + str(error.get("ctx", {}).get("within", ""))


def _shortened(name: str) -> str:
    """Return a name for an error: the names of unknown fields may be long."""
    return name if len(name) <= NAME_SHOWN else f"{name[:NAME_SHOWN]}..."


def _problem(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a field of this request"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return str(error["msg"])


def internal_error(request_log: RequestLog) -> ApiError:
    """Return the error for a failure of this server; `details.request_id` leads to its log."""
    return ApiError("INTERNAL", "an error of this server", {"request_id": request_log.request_id})


def answer(error: ApiError) -> JSONResponse:
    """Return the response for an error."""
    return JSONResponse(error.body(), error.status, headers=error.headers())


def install(app: FastAPI) -> None:
    """Let the app answer every error, FastAPI's own included, in the one form."""

    async def answered(request: Request, error: Exception) -> Response:
        return response_to(error, request_log_of(request))

    for kind in ANSWERED:
        app.add_exception_handler(kind, answered)


ANSWERED: Final = (ApiError, RequestValidationError, HTTPException, OperationalError)
"""The exceptions that become an answer with a code of their own; any other one is INTERNAL.

An OperationalError says that the database is away: `LivePool` raises no other one for a connection that was lost.
"""


def response_to(error: Exception, request_log: RequestLog) -> Response:
    """Return the answer for one of `ANSWERED`, and note its code in the request log."""
    match error:
        case ApiError():
            found = error
        case BodyRefused():
            found = error.error
        case RequestValidationError():
            found = from_pydantic(error.errors())
        case HTTPException():
            request_log.code = _OF_STATUS.get(error.status_code, "INTERNAL")
            body = ApiError(request_log.code, str(error.detail).lower()).body()
            return JSONResponse(body, error.status_code, headers=error.headers)
        case _:
            structlog.get_logger("api").warning("database_unavailable", problem=type(error).__name__)
            found = ApiError("UNAVAILABLE", "the database cannot be reached", retry_after_seconds=1)
    request_log.code = found.code
    return answer(found)


def table() -> str:
    """Return the table of codes as the text of `docs/errors.md`."""
    rows = [f"| `{code}` | {meaning.status} | {meaning.text} |" for code, meaning in CODES.items()]
    return "\n".join(
        [
            "# Error codes",
            "",
            'Every error, on every interface, is `{"code": ..., "message": ..., "details": {...}}`. Branch on the code: it',
            "keeps its name and meaning for ever; the message is for people. 429 and 503 come with `Retry-After` (seconds).",
            "A command that the rules refused is in the log, at `details.position`.",
            "",
            "Generated by `python -m api.http.errors`; a test compares this page with the code.",
            "",
            "| code | HTTP | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201  its whole purpose
