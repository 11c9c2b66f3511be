"""The JSON Schemas of everything that others read or send, and their files under `docs/schemas`.

    python -m messages.schemas      writes the files and the AsyncAPI pages

A test compares the files with the code.
"""

from pathlib import Path
from typing import Final

import msgspec

from domain.transfers import TransferFunds
from messages.asyncapi import PAGE, asyncapi, dump_yaml
from messages.codecs import command_codec
from messages.command_types import THEN_BYTES_MAX
from messages.commands import COMMAND_ID_MAX, COMMANDS, RESERVED
from messages.events import event_schemas
from messages.fields import ID
from messages.order import ORDER_COMMAND_ID
from messages.records import record_schemas
from messages.replies import reply_schema
from messages.stream_page import STREAM_PAGE, stream_page
from messages.wire import SCHEMA_DIALECT, TIME_SCHEMA, Schema, object_schema, summary

FOLDER: Final = Path(__file__).parent.parent / "docs" / "schemas"

_MADE: Final = "# Made by `python -m messages.schemas`; a test compares it with the code.\n"


def command_schemas() -> dict[str, Schema]:
    """Return the JSON Schema of every command as it stands on the wire, by type."""
    return {name: _command_schema(name, command_type) for name, command_type in COMMANDS.items()}


def _command_schema(name: str, command_type: type) -> Schema:
    properties: dict[str, Schema] = {
        "command_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": COMMAND_ID_MAX,
            "not": {"pattern": f"^({'|'.join(RESERVED)})"},
            "description": f"chosen by the sender; an order's is {ORDER_COMMAND_ID}",
        },
        "type": {"const": name},
        "at": TIME_SCHEMA,
        "reply_to": ID.schema(),
        "top_up": {
            "type": "boolean",
            "description": "with several partitions: if funds lack, leave nothing and reply FUNDS_NEEDED",
        },
        **_then(command_type),
        "data": command_codec(command_type).schema(),
    }
    return {"$schema": SCHEMA_DIALECT, "title": name} | object_schema(
        properties, ["command_id", "type", "data"], summary(command_type)
    )


def _then(command_type: type) -> dict[str, Schema]:
    """Return the property of what only a transfer can carry."""
    if command_type is not TransferFunds:
        return {}
    text = f"a command of at most {THEN_BYTES_MAX} bytes, to be decided where the funds arrive; a crash may lose it"
    return {"then": {"type": "object", "description": text}}


def all_schemas() -> dict[str, Schema]:
    """Return every schema by the path of its file under `docs/schemas`. `records/` has those of whole Kafka records."""
    records = record_schemas(lambda path: f"../{path}")
    return _single_schemas() | {f"records/{topic}.json": schema for topic, schema in records.items()}


def _single_schemas() -> dict[str, Schema]:
    files = {f"commands/{name}.json": schema for name, schema in command_schemas().items()}
    files |= {f"events/{topic}.json": schema for topic, schema in event_schemas().items()}
    return files | {"reply.json": reply_schema()}


def asyncapi_page() -> str:
    """Return the text of the AsyncAPI page."""
    return f"{_MADE}{dump_yaml(asyncapi(_single_schemas()))}"


def asyncapi_stream_page() -> str:
    """Return the text of the AsyncAPI page of the stream."""
    return f"{_MADE}{dump_yaml(stream_page())}"


def render(schema: Schema) -> str:
    """Return the text of a schema's file."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def write_schemas(folder: Path = FOLDER) -> list[Path]:
    """Write every schema to its file and remove files without a schema. Return the files that changed."""
    texts = {folder / name: render(schema) for name, schema in all_schemas().items()}
    changed = [path for path in folder.rglob("*.json") if path not in texts]
    for path in changed:
        path.unlink()
    for path, text in texts.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def write_page() -> None:
    """Write the AsyncAPI pages."""
    PAGE.write_text(asyncapi_page(), encoding="utf-8")
    STREAM_PAGE.write_text(asyncapi_stream_page(), encoding="utf-8")


if __name__ == "__main__":
    write_schemas()
    write_page()
