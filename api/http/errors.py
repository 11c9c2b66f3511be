"""Every error a caller can get: one table, code -> HTTP status -> meaning, and the answers made from it.

    ApiError            what a route raises; `code` is in `CODES`
    Rejected by rules   a reply of the engine with a code; becomes an ApiError
    FastAPI's own       unknown path, wrong method, a field that is not valid: brought to the same form

The body of every error is exactly `{"code", "message", "details"}`. `docs/errors.md` is this table, printed by
`python -m api.http.errors`; a test compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from fastapi.exceptions import RequestValidationError
from psycopg import OperationalError
from psycopg_pool import PoolTimeout, TooManyRequests
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from api.http.request_log import Facts, facts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response


class Meaning(NamedTuple):
    """The HTTP status a code comes with, and what it says."""

    status: int
    text: str


CODES: Final[dict[str, Meaning]] = {
    # The request itself.
    "MALFORMED_JSON": Meaning(400, "The body is not JSON, or not a JSON object."),
    "INVALID_CURSOR": Meaning(400, "The cursor is damaged, or belongs to another query."),
    "UNAUTHENTICATED": Meaning(401, "The key is missing, unknown or revoked."),
    "FORBIDDEN": Meaning(403, "The key's roles, or its account, do not allow this."),
    "NOT_FOUND": Meaning(404, "No such path."),
    "KEY_NOT_FOUND": Meaning(404, "No such API key."),
    "METHOD_NOT_ALLOWED": Meaning(405, "The path does not know this method."),
    "BODY_TOO_LARGE": Meaning(413, "The body is larger than this server takes."),
    "INVALID_FIELD": Meaning(422, "A field is missing, unknown or not what it may be; details name each of them."),
    "INVALID_PRICE": Meaning(422, "A limit price does not lie on the tick of 0.001 from 0.001 to 0.999."),
    "INVALID_PAYOUTS": Meaning(422, "Payouts name an outcome twice or do not sum to exactly 1."),
    # What a command names.
    "STORY_NOT_FOUND": Meaning(404, "No such story."),
    "MARKET_NOT_FOUND": Meaning(404, "No such market."),
    "ACCOUNT_NOT_FOUND": Meaning(404, "No such account."),
    "UNKNOWN_OUTCOME": Meaning(422, "The market has no such outcome."),
    "STORY_EXISTS": Meaning(409, "The slug is taken by another story."),
    "MARKET_EXISTS": Meaning(409, "The slug is taken by another market."),
    "ACCOUNT_EXISTS": Meaning(409, "The name is taken by another account."),
    "COMMAND_ID_REUSED": Meaning(409, "The same id came before with another body; nothing was done."),
    # The market's status and the clock.
    "MARKET_NOT_ACTIVE": Meaning(409, "The market takes no orders now."),
    "MARKET_STATUS": Meaning(409, "The market's status does not allow this."),
    "CLOSE_TIME_PASSED": Meaning(409, "The market's close time is not ahead."),
    "DISPUTE_WINDOW_OPEN": Meaning(409, "The determination can still be disputed; it cannot be finalized yet."),
    "DISPUTE_WINDOW_CLOSED": Meaning(409, "The determination can be disputed no more."),
    "ORDER_NOT_OPEN": Meaning(409, "No such resting order: it is filled, canceled, expired or never was."),
    # The account.
    "INSUFFICIENT_FUNDS": Meaning(422, "More cash is needed than is available."),
    "INSUFFICIENT_SHARES": Meaning(422, "More shares are needed than are available."),
    "ACCOUNT_OVERDRAWN": Meaning(422, "The account is below zero: it may only deposit, sell, merge or cancel."),
    "TOO_MANY_ORDERS": Meaning(422, "The account has as many resting orders as it may have."),
    "NOT_ORDER_OWNER": Meaning(403, "The order belongs to another account."),
    # The order's own conditions.
    "SLIPPAGE": Meaning(422, "max_cost or min_proceeds would be broken; nothing was filled."),
    "FOK_NOT_FILLED": Meaning(422, "Fill-or-kill: the whole quantity cannot be had; nothing was filled."),
    "POST_ONLY_WOULD_CROSS": Meaning(422, "Post-only: the order would have traded at once; it was not placed."),
    "REDUCE_ONLY": Meaning(422, "Reduce-only: the order would not make a position smaller."),
    "ORDER_TOO_SMALL": Meaning(422, "So little buys or brings nothing after rounding."),
    "ORDER_EXPIRED": Meaning(422, "expires_at is not ahead."),
    "BOND_TOO_SMALL": Meaning(422, "The dispute's bond is below what the market asks."),
    # The service.
    "RATE_LIMITED": Meaning(429, "Too many requests at once; wait as long as Retry-After says."),
    "BUSY": Meaning(503, "The engine has enough to do; nothing was done. Wait as long as Retry-After says."),
    "REPLY_TIMEOUT": Meaning(503, "No outcome in time; it may still come. Send the same again, with the same id."),
    "NOT_YET_PROJECTED": Meaning(503, "The read model has not reached the position asked for in the time given."),
    "UNAVAILABLE": Meaning(503, "A part this answer needs (database or log) is away."),
    "INTERNAL": Meaning(500, "A mistake of ours; the log has it under the request's id."),
}

_OF_STATUS: Final = {400: "MALFORMED_JSON", 401: "UNAUTHENTICATED", 403: "FORBIDDEN", 404: "NOT_FOUND"} | {
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    422: "INVALID_FIELD",
    429: "RATE_LIMITED",
    503: "UNAVAILABLE",
}


class ApiError(Exception):
    """Ends a request with a code of the table. `retry_after_seconds` becomes the header of that name."""

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

    @property
    def status(self) -> int:
        """The HTTP status of its code."""
        return CODES[self.code].status

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        return {"code": self.code, "message": self.message, "details": self.details}

    def headers(self) -> dict[str, str]:
        """Return the headers its code needs."""
        headers = {}
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after_seconds)))
        if self.status == CODES["UNAUTHENTICATED"].status:
            headers["www-authenticate"] = "Bearer"
        return headers


def invalid_field(field: str, problem: str) -> ApiError:
    """Return the error of one field, as validation itself would report it."""
    return invalid_fields([{"field": field, "problem": problem}])


def invalid_fields(problems: Sequence[Mapping[str, str]]) -> ApiError:
    """Return the error that names every field with a problem; `field` is the first of them."""
    message = "; ".join(f"{problem['field']}: {problem['problem']}" for problem in problems)
    return ApiError("INVALID_FIELD", message, {"field": problems[0]["field"], "fields": list(problems)})


def from_pydantic(errors: Iterable[Mapping[str, Any]]) -> ApiError:
    """Return the error for what pydantic found; input values are left out, they may be private."""
    errors = list(errors)
    for error in errors:
        if error["type"] == "json_invalid":
            return ApiError("MALFORMED_JSON", "the body is not JSON", {"problem": str(error["ctx"]["error"])})
        if tuple(error["loc"]) in {(), ("body",)}:  # the body as a whole is missing, a list, a string ...
            return ApiError("MALFORMED_JSON", "the body must be a JSON object, sent as application/json")
    return invalid_fields([{"field": _field(error), "problem": _problem(error)} for error in errors])


def _field(error: Mapping[str, Any]) -> str:
    location = error["loc"]
    path = [str(part) for part in location[location[0] in {"body", "query", "path", "header"} :]]
    return ".".join(path) + str(error.get("ctx", {}).get("within", ""))


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


def answer(error: ApiError) -> JSONResponse:
    """Return the response that an error becomes."""
    return JSONResponse(error.body(), error.status, headers=error.headers())


def install(app: FastAPI) -> None:
    """Let every error of the app, FastAPI's own included, be answered in the one form."""

    async def answered(request: Request, error: Exception) -> Response:
        return response_to(error, facts_of(request))

    for kind in ANSWERED:
        app.add_exception_handler(kind, answered)


ANSWERED: Final = (ApiError, RequestValidationError, HTTPException, OperationalError, PoolTimeout, TooManyRequests)
"""What becomes an answer with a code of its own; anything else is a mistake of ours."""


def response_to(error: Exception, facts: Facts) -> Response:
    """Return the answer that one of `ANSWERED` becomes, and note its code."""
    match error:
        case ApiError():
            found = error
        case RequestValidationError():
            found = from_pydantic(error.errors())
        case HTTPException():
            facts.code = _OF_STATUS.get(error.status_code, "INTERNAL")
            body = ApiError(facts.code, str(error.detail).lower()).body()
            return JSONResponse(body, error.status_code, headers=error.headers)
        case _:
            structlog.get_logger("api").warning("unavailable", problem=type(error).__name__)
            found = ApiError("UNAVAILABLE", "the database cannot be reached", retry_after_seconds=1)
    facts.code = found.code
    return answer(found)


def table() -> str:
    """Return the table of codes as the page `docs/errors.md`."""
    rows = [f"| `{code}` | {meaning.status} | {meaning.text} |" for code, meaning in CODES.items()]
    return "\n".join(
        [
            "# Error codes",
            "",
            'Every error, on every interface, is `{"code": ..., "message": ..., "details": {...}}`. Branch on the code: it',
            "keeps its name and meaning for ever; the message is for people. 429 and 503 come with `Retry-After` (seconds).",
            "A command that was refused by the rules is in the log: `details.position` says where.",
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
