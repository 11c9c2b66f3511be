"""The AsyncAPI page and the schemas of Kafka records: up to date, complete, and true of what the code writes."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import jsonschema
import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from referencing import Registry, Resource

from domain.account import DepositCash
from domain.events import Recorded
from domain.exchange import Entry
from eventsourcing_kafka.protocol import encode_batch, encode_claim
from messages.asyncapi import PAGE, asyncapi, dump_yaml
from messages.commands import AdvanceTime, dump_command, dump_record
from messages.dead_letters import Decision, dump_letter, make_letter
from messages.events import public_event
from messages.replies import Reply, dump_replies, dump_reply
from messages.schemas import all_schemas, asyncapi_page
from messages.stored import to_stored
from tests.messages.examples import EXAMPLES, TIME

COMMAND = dump_command("svc:1", DepositCash("ac_1", 5), TIME, "svc")
BAD = b'{"command_id":"x","type":"Nonsense","data":{}}'


def stored() -> list[StoredEvent]:
    """Return every example as the log holds it."""
    return [
        to_stored(Entry("market-mk_1", version, event), time=TIME, command_id="svc:1", digest="0" * 16)
        for version, event in enumerate(EXAMPLES, 1)
    ]


RECORDS: list[tuple[str, bytes]] = [
    ("commands", COMMAND),
    ("commands", dump_record([COMMAND, dump_command("t:1", AdvanceTime())])),
    ("replies", dump_replies([dump_reply(Reply("svc:1", 7, TIME, result={"a": "1.000000"}, digest="0" * 16))])),
    ("replies", dump_replies([dump_reply(Reply("svc:1", 7, TIME, "SLIPPAGE", "more", {"count": 1}, digest="0" * 16))])),
    ("dead-letters", dump_letter(make_letter("why", ("tidings.commands", 0, 7), 3, b"nonsense"))),
    ("dead-letters", dump_letter(make_letter("why", ("tidings.commands", 0, 7), None, b"\xff" * 2_000_000, b"k"))),
    ("dead-letters", dump_letter(Decision(4, "skipped", "a test"))),
    ("events", encode_claim("9f", 4, 1)),
    ("events", encode_batch("9f", 4, 17, stored())),
    *[
        ("feed", msgspec.json.encode(public_event(Recorded(7, "market-mk_1", 3, TIME, "svc:1", event))))
        for event in EXAMPLES
    ],
]

NO_RECORDS = [
    ("commands", BAD),
    ("commands", b"{}"),
    ("commands", dump_record([COMMAND, BAD])),
    ("replies", b'[{"command_id":"x"}]'),
    ("dead-letters", b'{"reason":"why"}'),
    ("events", b'{"writer":"9f","epoch":4,"first":17,"events":[["market-1",1,"Nonsense.v1",{}]]}'),
    ("feed", b'{"position":1}'),
]


@pytest.fixture(scope="module")
def validators() -> dict[str, jsonschema.Draft202012Validator]:
    """Return a validator of each topic's records; it resolves references from our own files."""
    base = "file:///schemas/"
    files = [(base + path, Resource.from_contents(schema)) for path, schema in all_schemas().items()]
    registry: Any = Registry().with_resources(files)
    return {
        topic: jsonschema.Draft202012Validator({"$ref": f"{base}records/{topic}.json"}, registry=registry)
        for topic in ("commands", "replies", "dead-letters", "events", "feed")
    }


@pytest.mark.parametrize(("topic", "value"), RECORDS)
def test_every_record_that_we_write_fits_its_schema(
    validators: dict[str, jsonschema.Draft202012Validator], topic: str, value: bytes
) -> None:
    """For every topic, with records written by the code that writes them."""
    validators[topic].validate(msgspec.json.decode(value))


@pytest.mark.parametrize(("topic", "value"), NO_RECORDS)
def test_anything_else_does_not_fit(
    validators: dict[str, jsonschema.Draft202012Validator], topic: str, value: bytes
) -> None:
    """A schema that accepts anything would describe nothing."""
    assert not validators[topic].is_valid(msgspec.json.decode(value))


def references(value: Any) -> Iterator[str]:
    """Yield every reference in a schema."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def page() -> dict[str, Any]:
    """Return the page as an object."""
    schemas = all_schemas()
    return asyncapi({path: schema for path, schema in schemas.items() if not path.startswith("records/")})


def test_the_page_is_up_to_date() -> None:
    """`python -m messages.schemas` writes it."""
    assert asyncapi_page() == PAGE.read_text(encoding="utf-8")
    assert asyncapi_page().endswith(dump_yaml(page()))


def test_the_page_refers_to_nothing_outside() -> None:
    """Every reference leads to a part of the page itself; nothing is fetched."""
    document = page()
    found = set(references(document))

    assert len(found) > 50
    for reference in found:
        target: Any = document
        assert reference.startswith("#/")
        for part in reference[2:].split("/"):
            target = target[part]
    assert "://" not in asyncapi_page().replace("tidings://", "").replace("https?://", "")


def test_the_files_refer_to_files_that_are_there() -> None:
    """References between the files are relative paths."""
    schemas = all_schemas()
    for path, schema in schemas.items():
        for reference in references(schema):
            assert PurePosixPath(reference).parts[0] == ".."
            assert reference.removeprefix("../") in schemas, (path, reference)


def test_the_page_names_every_topic_and_schema() -> None:
    """Six channels, each with a message and an operation; all commands and events are among the components."""
    document = page()

    assert {"commands", "orders", "replies", "dead-letters", "events", "feed"} == set(document["channels"])
    assert set(document["channels"]) == set(document["components"]["messages"])
    assert len(document["operations"]) == len(document["channels"])
    names = {
        PurePosixPath(path).name.removesuffix(".json") for path in all_schemas() if not path.startswith("records/")
    }
    assert names == set(document["components"]["schemas"])


def test_yaml_quotes_strings_that_look_like_something_else() -> None:
    """Strings that YAML would take for a truth value, a number or a comment are quoted."""
    value = {
        "a": ["yes", "1.0", "# x", "", {"b": [], "c": {}, "on": None}],
        "d": {"$ref": "#/x"},
        "e": True,
        "f": [[1, 2]],
    }

    assert dump_yaml(value).splitlines() == [
        "a:",
        '  - "yes"',
        '  - "1.0"',
        '  - "# x"',
        '  - ""',
        "  - b: []",
        "    c: {}",
        '    "on": null',
        "d:",
        '  $ref: "#/x"',
        "e: true",
        "f:",
        "  - - 1",
        "    - 2",
    ]
