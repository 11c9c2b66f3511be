"""The published JSON Schemas agree with the code."""

import jsonschema
import msgspec
import pytest

from domain.events import EVENT_TYPES
from messages.commands import COMMANDS
from messages.replies import Reply, dump_reply, reply_schema
from messages.schemas import FOLDER, all_schemas, render
from messages.wire import Schema


def test_the_files_are_up_to_date() -> None:
    """`docs/schemas` holds exactly what the code says; `python -m messages.schemas` writes it."""
    expected = {name: render(schema) for name, schema in all_schemas().items()}

    files = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.json")}

    assert expected == files


def test_there_is_a_schema_of_everything() -> None:
    """For every command and event, the reply, and the records of six topics."""
    assert len(COMMANDS) + len(EVENT_TYPES) + 1 + 6 == len(all_schemas())


@pytest.mark.parametrize(("name", "schema"), all_schemas().items())
def test_a_schema_is_valid_itself(name: str, schema: Schema) -> None:
    """It fits the draft that it names, and has a title and a description."""
    jsonschema.Draft202012Validator.check_schema(schema)

    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize(
    "reply", [Reply("c", 1, 5, result={"a": "1.000000"}), Reply("c", 1, 5, "SLIPPAGE", "more", {"cost": "1.000000"})]
)
def test_a_reply_fits_its_schema(reply: Reply) -> None:
    """Of an acceptance and of a refusal."""
    jsonschema.Draft202012Validator(reply_schema()).validate(msgspec.json.decode(dump_reply(reply)))
