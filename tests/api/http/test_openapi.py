"""The OpenAPI document: complete, typed, and made from what the code does. `tests/api/contract.py` holds answers to it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from api.http.errors import CODES
from api.http.refusals import REFUSALS
from api.http.schemas import COMPONENTS
from domain.partition import CommandRejected
from domain.rejections import Code
from messages.commands import COMMANDS
from tests.api.contract import document
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

METHOD_NAME = re.compile(
    r"(get|list|publish|open|activate|halt|resume|close|clarify|add|determine|dispute|uphold|finalize|correct|void|split"
    r"|merge|deposit|withdraw|place|quote|cancel|amend|create|revoke|accept|remove|rotate|enable|ping)(_[a-z]+)*"
)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method and the declaration of every operation."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a document."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from parts(item)


def codes(operation: dict[str, Any]) -> set[str]:
    """Return all codes of an operation."""
    return {code for response in operation["responses"].values() for code in response.get("x-codes", ())}


def test_operation_ids_read_as_methods() -> None:
    """A verb, then what it is done to; no two operations have the same."""
    names = [operation["operationId"] for _, _, operation in operations()]

    assert [name for name in names if not METHOD_NAME.fullmatch(name)] == []
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert {"place_order", "list_markets"} <= set(names)


def test_every_answer_of_every_status_is_typed() -> None:
    """A success has a schema of its own, an error the one model and its codes, each with its status."""
    for path, method, operation in operations():
        responses = operation["responses"]
        assert {"default"} & set(responses) == set()
        for status, response in responses.items():
            if status == "304":
                assert "content" not in response, (path, method)
                continue
            (content,) = response["content"].values()
            assert content["schema"], (path, method, status)
            assert status in {"200", "201", "202"} or "x-codes" in response or path == "/readyz", (path, method, status)
            for code in response.get("x-codes", ()):
                of_stream = path == "/v1/stream" and code == "INVALID_FIELD"  # no body: wrong is the URL or a header
                assert int(status) == (400 if of_stream else CODES[code].status), (path, method, code)
                assert content["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}


def test_every_reference_leads_to_a_schema() -> None:
    """And each component is a valid schema itself; the document fetches nothing."""
    schemas = document()["components"]["schemas"]
    references = {part["$ref"] for part in parts(document()) if isinstance(part.get("$ref"), str)}

    assert references <= {f"#/components/schemas/{name}" for name in schemas}
    for name, schema in schemas.items():
        jsonschema_rs.meta.validate(schema)
        # Its patterns are regular expressions that not only Python knows.
        jsonschema_rs.Draft202012Validator(
            {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
        )
        assert schema.get("description") or "oneOf" in schema, name


def test_objects_in_answers_name_all_their_fields() -> None:
    """An object without named fields is one whose names are data, such as odds by outcome."""
    loose = {
        name
        for name, schema in COMPONENTS.items()
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False
    }

    assert loose == {"AcceptedWrite"}


def test_defaults_have_the_form_of_their_fields() -> None:
    """Whoever sends a default as the document has it sends a valid field."""
    for name, schema in document()["components"]["schemas"].items():
        for field in schema.get("properties", {}).values():
            if "default" in field:
                validator = jsonschema_rs.Draft202012Validator({**field, "components": document()["components"]})
                assert validator.is_valid(field["default"]), (name, field)


def test_keys_and_headers_are_declared() -> None:
    """Who needs a key says so; every write but an order takes an Idempotency-Key; lists take a cursor."""
    assert document()["components"]["securitySchemes"] == {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer <key>`."}
    }
    for path, method, operation in operations():
        names = {parameter["name"] for parameter in operation["parameters"]}
        assert ("security" in operation) == ("UNAUTHENTICATED" in codes(operation)), path
        if "COMMAND_ID_REUSED" in codes(operation):
            expected = path not in {"/v1/orders", "/v1/orders/batch"}
            assert ("Idempotency-Key" in names) == expected, (path, method)
            is_command = not path.startswith(("/v1/keys", "/v1/webhooks"))
            assert ("Tidings-Time" in names) == is_command, path
        if "INVALID_CURSOR" in codes(operation) and "cursor" in names:
            assert "limit" in names
    assert document()["paths"]["/v1/markets/{market}/halt"]["post"]["security"] == [{"key": []}]
    assert document()["paths"]["/v1/markets"]["get"]["security"] == [{}, {"key": []}]


def test_every_command_has_its_refusals() -> None:
    """For each command that a request can send; every code of the rules is one of some command, or of any."""
    assert {command.__name__ for command in REFUSALS} == set(COMMANDS) - {"AdvanceTime", "QuoteOrder"}
    found = {code for known in REFUSALS.values() for code in known}
    of_several_partitions = {Code.WRONG_PARTITION, Code.FUNDS_NEEDED}
    assert found | {Code.INVALID_FIELD, Code.COMMAND_ID_REUSED} | of_several_partitions == set(Code)


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_no_command_is_refused_with_another_code(seed: int) -> None:
    """In a long random log with everything in it."""
    known = {command.__name__: codes for command, codes in REFUSALS.items()}
    refused = [event.event for event in simulate(seed, 1500) if isinstance(event.event, CommandRejected)]

    assert len(refused) > 20
    for event in refused:
        assert event.code in {*known[event.command], Code.INVALID_FIELD, Code.COMMAND_ID_REUSED}, event
