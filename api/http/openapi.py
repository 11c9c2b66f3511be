"""The declarations of what routes answer, and the OpenAPI document that is made from them.

    one, list_of        what a read answers: one object or a page of rows, in the envelope of all reads
    page_of             an object with a page of rows inside of it
    written             what a write answers: the resource afterwards, with `position`
    answers             anything else
    complete            adds to FastAPI's document what it cannot know

Each response with an error lists its codes, as text for people and as `x-codes` for programs. Nothing here runs while a
request is served. Tests hold every answer that they get to this document (tests/api/contract.py).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from api.http import examples
from api.http.access import needs_key
from api.http.answers import AnswerMoment, ErrorAnswer
from api.http.errors import CODES
from api.http.refusals import REFUSALS
from api.http.schemas import COMPONENTS, component, schema_of
from domain.money import format_decimal
from messages.events import event_schemas
from messages.moments import FORMS
from messages.wire import Schema, object_schema

Responses = dict[int | str, dict[str, Any]]
"""What FastAPI takes as `responses` of a route."""

ANY_CODES: Final = (
    "MALFORMED_REQUEST", "INVALID_QUERY", "UNKNOWN_PARAMETER", "REQUEST_TIMEOUT", "HEADERS_TOO_LARGE", "HOST_NOT_ALLOWED",
    "RATE_LIMITED", "TOO_MANY_CONNECTIONS", "INTERNAL",
)  # fmt: skip
"""The codes that every route can answer with."""

READ_CODES: Final = (
    "UNAUTHENTICATED",
    "INVALID_FIELD",
    "NOT_YET_PROJECTED",
    "READ_TIMEOUT",
    "TOO_MANY_WAITS",
    "UNAVAILABLE",
)
BODY_CODES: Final = ("MALFORMED_JSON", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "INVALID_FIELD", "BUSY")
KEY_CODES: Final = ("UNAUTHENTICATED", "FORBIDDEN", "UNAVAILABLE")
COMMAND_CODES: Final = (*BODY_CODES, *KEY_CODES, "REPLY_TIMEOUT")
"""The codes of a request whose command goes to the engine, besides those of the rules."""

_AS_OF: Final = schema_of(AnswerMoment)
_ERROR: Final = schema_of(ErrorAnswer)

_NOT_MODIFIED: Final[Responses] = {
    304: {"description": "The client has this answer: it named its `ETag` in `If-None-Match`."}
}

POSITION: Final[Schema] = {"type": "integer", "minimum": 0, "description": "its place in the log"}
EVENT: Final = component(
    "Event",
    {"oneOf": [component(topic, {k: v for k, v in schema.items() if k != "$schema"})
               for topic, schema in event_schemas().items()]},
)  # fmt: skip
"""The public form of an event of any type."""

_LATE: Final = component(
    "AcceptedWrite",
    {
        "type": "object",
        "description": "What the engine says a command did, while the read models do not show it yet.",
        "properties": {"position": POSITION},
        "required": ["position"],
    },
)


def answer(content: Any, status: int, media_type: str = "application/json") -> Responses:
    """Return the declaration of one answer, a type or a schema, without errors."""
    return {status: {"description": "The answer.", "content": {media_type: {"schema": _schema(content)}}}}


def answers(content: Any, *codes: str, status: int = 200, media_type: str = "application/json") -> Responses:
    """Return the declaration of an answer, a type or a schema, and of the errors with these codes."""
    return answer(content, status, media_type) | _errors(*codes, *ANY_CODES)


def envelope(content: Any) -> Schema:
    """Return the schema of the answer to a read of one object, a type or a schema."""
    return object_schema({"data": _schema(content), "as_of": _AS_OF}, ["data", "as_of"])


def one(content: Any, *codes: str) -> Responses:
    """Return the declaration of a read of one object, a type or a schema."""
    return answers(envelope(content), *READ_CODES, *codes) | _NOT_MODIFIED


def list_of(content: Any, *codes: str) -> Responses:
    """Return the declaration of a read of a list of rows, a type or a schema of one row."""
    return page_of({"type": "array", "items": _schema(content)}, *codes)


def page_of(content: Any, *codes: str) -> Responses:
    """Return the declaration of a read of an object, a type or a schema, that holds one page of a list."""
    properties: dict[str, Schema] = {
        "data": _schema(content),
        "next_cursor": {"type": ["string", "null"], "description": "null on the last page"},
        "as_of": _AS_OF,
    }
    return answers(object_schema(properties, list(properties)), *READ_CODES, "INVALID_CURSOR", *codes) | _NOT_MODIFIED


def written(content: Any, command: type, *codes: str, status: int = 200) -> Responses:
    """Return the declaration of a write with a command of this type: the resource afterwards, or 202 while it is not shown."""
    return decided(with_position(_schema(content)), command, *codes, status=status) | answer(_LATE, 202)


def decided(content: Any, command: type, *codes: str, status: int = 200) -> Responses:
    """Return the declaration of a request that the engine answers itself: it decides a command of this type."""
    return answers(content, *COMMAND_CODES, "COMMAND_ID_REUSED", *REFUSALS[command], *codes, status=status)


def with_position(reference: Schema) -> Schema:
    """Return the component that is another component with `position`, the place of a write in the log."""
    name = reference["$ref"].rpartition("/")[2]
    schema = COMPONENTS[name]
    properties = {**schema["properties"], "position": POSITION}
    required = [*schema["required"], *([] if "position" in schema["required"] else ["position"])]
    return component(f"Written{name}", {**schema, "properties": properties, "required": required})


def _schema(content: Any) -> Schema:
    return content if isinstance(content, dict) else schema_of(content)


def _errors(*codes: str) -> Responses:
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in CODES:
        if code in codes:
            by_status[CODES[code].status].append(code)
    return {status: _error(status, found) for status, found in sorted(by_status.items())}


def _error(status: int, codes: list[str]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": "\n".join(f"- `{code}`: {CODES[code].text}" for code in codes),
        "content": {"application/json": {"schema": _ERROR}},
        "x-codes": codes,
    }
    if status in {429, 503}:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "required": True}}
    if status == 429:
        numbers = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
        response["headers"] |= {name: {"schema": {"type": "integer"}, "required": True} for name in numbers}
        texts = ("RateLimit-Policy", "RateLimit")
        response["headers"] |= {name: {"schema": {"type": "string"}, "required": True} for name in texts}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}
    return response


# --- the document

_KEY_SCHEME: Final = {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer <key>`."}

_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Names the write: sent again with the same key and body, it is done once. Random if missing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[ -~]+$"},
}

_TIDINGS_TIME: Final = {
    "name": "Tidings-Time",
    "in": "header",
    "required": False,
    "description": "The time of the command in RFC 3339, where the server allows it (`TIDINGS_CLOCK=command`).",
    "schema": {"type": "string"},  # with a format, openapi-python-client makes no method
}

_OWN_IDS: Final = frozenset({"place_order", "place_batch"})
"""The operations whose commands have the `client_order_id` of the body instead of an `Idempotency-Key`."""


_ABOUT: Final = {
    "story": "id or slug",
    "market": "id or slug",
    "account": "id or name",
    "order_id": "id of the order",
    "key_id": "id of the key",
    "webhook_id": "id of the webhook",
    "status": "only markets with this status",
    "category": "only this category",
    "open": "only resting orders",
    "closed": "also positions without shares",
    "start": f"from this time on: {FORMS}",
    "end": "until this time, in the same forms",
    "sort": "the measure that decides the rank",
    "interval": "the part of the history that ends at `end`, without a `start`",
    "period": "the length of a candle",
    "step": "the time between two points",
    "limit": "the most rows of a page",
}
"""Descriptions of parameters that mean the same in every operation, for those without a description of their own."""

_OF_FASTAPI: Final = frozenset({"HTTPValidationError", "ValidationError"})
"""FastAPI's schemas of its own errors, which no caller gets."""


def complete(document: dict[str, Any], *, public_reads: bool) -> dict[str, Any]:
    """Add components, keys, headers and examples to FastAPI's document, in place, and return it."""
    components = document["components"]
    schemas = {name: schema for name, schema in components["schemas"].items() if name not in _OF_FASTAPI}
    components["schemas"] = dict(sorted({**schemas, **COMPONENTS}.items()))
    _write_defaults_as_text(components["schemas"])
    components["securitySchemes"] = {"key": _KEY_SCHEME}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            codes = {code for response in operation["responses"].values() for code in response.get("x-codes", ())}
            if "INVALID_FIELD" not in operation["responses"].get("422", {}).get("x-codes", ()):
                operation["responses"].pop("422", None)  # FastAPI adds its own to every operation with parameters
            if "{" in path:
                _add_code(operation["responses"], "NOT_FOUND")
            if "UNAUTHENTICATED" in codes:
                needed = needs_key(operation["operationId"], public_reads=public_reads)
                operation["security"] = [{"key": []}] if needed else [{}, {"key": []}]
            parameters = operation.setdefault("parameters", [])
            _explain(operation)
            if "COMMAND_ID_REUSED" in codes and operation["operationId"] not in _OWN_IDS:
                parameters.append(_IDEMPOTENCY_KEY)
            if "REPLY_TIMEOUT" in codes:
                parameters.append(_TIDINGS_TIME)
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return document


def _explain(operation: dict[str, Any]) -> None:
    """Add the descriptions of parameters, and the examples."""
    for parameter in operation["parameters"]:
        if "description" not in parameter and parameter["name"] in _ABOUT:
            parameter["description"] = _ABOUT[parameter["name"]]
        if parameter["in"] == "path" and parameter["name"] in examples.PATH:
            parameter["example"] = examples.PATH[parameter["name"]]
    if operation["operationId"] in examples.BODIES:
        body = operation["requestBody"]["content"]["application/json"]
        body["example"] = examples.BODIES[operation["operationId"]]


def _write_defaults_as_text(schemas: dict[str, Any]) -> None:
    """Write the defaults of amounts in bodies as they stand in JSON: pydantic has them as integers of 1e-6."""
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            if field.get("type") == "string" and isinstance(field.get("default"), int):
                field["default"] = format_decimal(field["default"])


def _add_code(responses: dict[str, Any], code: str) -> None:
    """Add a code to those that an operation can answer with."""
    status = CODES[code].status
    known = responses.get(str(status), {}).get("x-codes", [])
    responses[str(status)] = _error(status, [*known, code])
