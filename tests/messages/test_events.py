"""The event codec: its bytes stay in the log for ever."""

import enum
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import jsonschema
import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from domain.events import EVENT_TYPES, Event, Recorded
from domain.exchange import Entry
from domain.market import MarketDisputed, MarketHalted
from domain.orders import OrderAmended, OrderCanceled, OrderPlaced, OrderReduced
from domain.partition import CommandHadNoEffect, CommandRejected
from domain.values import Json, Value
from messages import events
from messages import stored as stored_events
from messages.events import UnreadableEventError, event_schemas, public_event
from messages.stored import from_stored, to_stored
from messages.wire import fields_of, is_value
from tests.messages.examples import EXAMPLES, TIME

GOLDEN = Path(__file__).parent / "golden"


def stored(event: Event, digest: str | None = None) -> StoredEvent:
    """Return the event in its stored form, as the third of its stream."""
    return to_stored(Entry("market-mk_combat", 3, event), time=TIME, command_id="cli:1", digest=digest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
).map(lambda value: Json(json.dumps(value).encode()))


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a type as the log can hold them."""
    if hasattr(hint, "__metadata__") or hint is int:
        return st.integers(-(2**63), 2**64 - 1)
    if is_value(hint):
        return st.builds(hint, **{name: values_of(field) for name, field in fields_of(hint).items()})
    origin = get_origin(hint)
    if origin is tuple:
        return st.lists(values_of(get_args(hint)[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(), values_of(get_args(hint)[1]), max_size=3)
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(arg) for arg in get_args(hint)])
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    return {str: st.text(), bool: st.booleans(), type(None): st.none(), Json: JSON}[hint]


def test_every_event_type_has_an_example() -> None:
    """There is exactly one example of each type, so these tests miss none."""
    assert [type(example) for example in EXAMPLES] == list(EVENT_TYPES)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.TOPIC)
def test_golden_example_is_unchanged(event: Event) -> None:
    """The bytes in the log equal the golden file, and reading them returns the event.

    A type whose golden would change needs a new version and an upcaster. To add the golden of a NEW type, write the
    bytes that this test prints into a file named by its topic.
    """
    path = GOLDEN / f"{event.TOPIC}.json"
    state = stored(event, digest="00112233445566ff").state
    assert path.exists(), f"{path.name} is missing; it should hold:\n{state.decode()}"

    golden = path.read_bytes().rstrip(b"\n")

    assert golden.decode() == state.decode()
    assert event == from_stored(7, StoredEvent("market-mk_combat", 3, event.TOPIC, golden)).event


def test_every_golden_file_belongs_to_a_known_topic() -> None:
    """Every topic that was ever written stays readable, as a current type or through an upcaster."""
    topics = {path.stem for path in GOLDEN.glob("*.json")}

    assert topics == set(events.TOPICS) | set(stored_events.UPCASTERS)


@given(st.one_of([values_of(event_type) for event_type in EVENT_TYPES]), st.text(), st.integers(0, 2**63 - 1))
def test_an_event_comes_back_as_it_went(event: Event, command_id: str, time: int) -> None:
    """Written and read, every event is equal to itself, with its envelope; written again, it has the same bytes."""
    placed = Entry("account-x", 5, event)
    written = to_stored(placed, time=time, command_id=command_id, digest="00")

    read = from_stored(9, written)

    assert Recorded(9, "account-x", 5, time, command_id, event, "00") == read
    assert written == to_stored(
        Entry(read.stream, read.version, read.event), time=read.time, command_id=read.command_id, digest=read.digest
    )


@pytest.mark.parametrize(
    "event",
    [
        event
        for event in EXAMPLES
        if isinstance(
            event,
            OrderPlaced
            | OrderAmended
            | OrderReduced
            | OrderCanceled
            | MarketDisputed
            | CommandRejected
            | CommandHadNoEffect,
        )
    ],
    ids=lambda event: event.TOPIC,
)
def test_what_a_command_rarely_names_takes_no_byte_otherwise(event: Value) -> None:
    """A field with its default is not in the log, and is read as the default; the public form has it."""
    rare = {
        field.name: field.default for field in msgspec.structs.fields(event) if field.default is not msgspec.NODEFAULT
    }
    usual: Event = msgspec.structs.replace(event, **rare)  # type: ignore[type-var,assignment]

    written = stored(usual)

    assert rare
    assert not rare.keys() & msgspec.json.decode(written.state)["data"].keys()
    assert usual == from_stored(7, written).event
    assert rare.keys() <= public_event(from_stored(7, written))["data"].keys()


def test_only_a_first_event_carries_a_digest() -> None:
    """Without a digest the state does not mention one, and it reads as None."""
    written = stored(MarketHalted("mk_combat"))

    assert b"digest" not in written.state
    assert from_stored(1, written).digest is None


@pytest.mark.parametrize(
    ("topic", "state"),
    [
        ("MarketHalted.v0", b'{"command_id":"c","time":1,"data":{"market_id":"m"}}'),
        ("domain.market:MarketHalted", b'{"command_id":"c","time":1,"data":{"market_id":"m"}}'),
        ("MarketHalted.v1", b'{"command_id":"c","time":1,"data":{}}'),
        ("MarketHalted.v1", b'{"command_id":"c","time":1,"data":{"market_id":7}}'),
        ("MarketHalted.v1", b'{"command_id":"c"'),
    ],
)
def test_an_unknown_event_is_refused(topic: str, state: bytes) -> None:
    """An unknown topic, or a state that does not fit it, stops the reader; it never skips an event."""
    with pytest.raises(UnreadableEventError):
        from_stored(1, StoredEvent("market-m", 1, topic, state))


def test_an_old_version_is_upcast_on_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two upcasters in a row bring an old event to the current version."""
    monkeypatch.setitem(
        stored_events.UPCASTERS, "TradingStopped.v1", ("TradingStopped.v2", lambda data: {"id": data["market"]})
    )
    monkeypatch.setitem(
        stored_events.UPCASTERS, "TradingStopped.v2", ("MarketHalted.v1", lambda data: {"market_id": data["id"]})
    )
    state = b'{"command_id":"c","time":1,"digest":"ab","data":{"market":"mk_old"}}'

    read = from_stored(4, StoredEvent("market-mk_old", 2, "TradingStopped.v1", state))

    assert MarketHalted("mk_old") == read.event
    assert (read.command_id, read.time, read.digest) == ("c", 1, "ab")


def test_the_public_form_has_decimal_strings_and_rfc_3339_times() -> None:
    """Amounts and times have their public form everywhere, even in the fills inside of an order."""
    order = next(event for event in EXAMPLES if event.TOPIC == "OrderPlaced.v1")

    public = public_event(from_stored(7, stored(order)))

    assert (
        public["type"],
        public["version"],
        public["position"],
        public["stream"],
        public["stream_version"],
    ) == ("OrderPlaced", 1, 7, "market-mk_combat", 3)
    assert public["time"] == "2024-10-24T10:02:00.000000Z"
    assert public["data"]["quantity"] == "24.069273"
    assert public["data"]["spend"] is None
    assert public["data"]["expires_at"] == "2024-10-24T10:03:00.000000Z"
    assert public["data"]["resolution_version"] == 1
    assert public["data"]["execution"]["prices"] == ["0.465123", "0.534877"]
    assert public["data"]["execution"]["fills"][1] == {
        "price": "0.528398",
        "quantity": "10.000000",
        "cost": "5.283978",
        "source": "amm",
        "order_id": None,
        "account_id": None,
        "resting_cost": "0.000000",
    }


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.TOPIC)
def test_the_public_form_fits_its_schema(event: Event) -> None:
    """The JSON Schema of a type describes what is really sent, and forbids any other field."""
    schema = event_schemas()[event.TOPIC]
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    public = msgspec.json.decode(msgspec.json.encode(public_event(from_stored(7, stored(event)))))

    validator.validate(public)

    public["data"]["surprise"] = 1
    assert not validator.is_valid(public)
