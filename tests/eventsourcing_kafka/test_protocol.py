"""Records: every event is read back byte by byte, and records of other programs are invalid for every reader."""

from __future__ import annotations

import json
from random import Random
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_kafka.errors import RecordsMissing
from eventsourcing_kafka.library import EVENTS_HAVE_METADATA, DataError
from eventsourcing_kafka.protocol import Batch, Checkpoint, Claim, State, decode, encode_batch, encode_claim
from tests.eventsourcing_kafka.events import stored

W = "w" * 32
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
json_states = st.dictionaries(st.text(), json_values, max_size=4).flatmap(
    lambda value: st.sampled_from(
        [
            json.dumps(value, ensure_ascii=True).encode(),
            json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass"),
        ]
    )
)
almost_json = st.lists(
    st.sampled_from([b"{", b"}", b"[", b"]", b'"', b",", b":", b"1", b"a", b" ", b"\\", b"\xff", b'"k"'])
)
states = (
    st.binary() | json_states | almost_json.map(b"".join) | almost_json.map(lambda parts: b"{" + b"".join(parts) + b"}")
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
identities = st.fixed_dictionaries({}, optional={"uuid": st.uuids(), "metadata": st.dictionaries(texts, texts)})
events = st.builds(
    lambda name, version, topic, state, more: stored(name, version, topic, state, **more),
    st.uuids() | texts.filter(lambda text: not text.startswith("urn:uuid:")),
    st.integers(min_value=-(2**53), max_value=2**53 - 1),
    texts,
    states,
    identities if EVENTS_HAVE_METADATA else st.just({}),
)
trackings = st.dictionaries(texts, st.integers(0, 2**53 - 1), max_size=3)


@given(st.lists(events, min_size=1, max_size=5), st.none() | trackings)
def test_events_are_read_back_to_the_byte(written: list[StoredEvent], tracking: dict[str, int] | None) -> None:
    """A state may be any bytes: JSON, nearly JSON, encrypted, empty. No state affects its neighbours."""
    batch = decode(encode_batch(W, 3, 7, written, tracking=tracking))

    assert isinstance(batch, Batch)
    assert (batch.writer, batch.epoch, batch.first, batch.last) == (W, 3, 7, 6 + len(written))
    assert batch.stored_events() == written
    assert batch.tracking == (tracking or None)
    notifications = batch.notifications()
    assert [n.id for n in notifications] == list(range(7, 7 + len(written)))
    assert [
        StoredEvent(**{name: vars(n)[name] for name in vars(e)}) for n, e in zip(notifications, written, strict=True)
    ] == written


@given(trackings.filter(bool))
def test_a_tracking_is_read_back(tracking: dict[str, int]) -> None:
    """It may stand alone in a batch, which then takes no position."""
    batch = decode(encode_batch(W, 3, 7, [], tracking=tracking))

    assert isinstance(batch, Batch)
    assert (batch.tracking, batch.events, batch.first, batch.last) == (tracking, [], 7, 6)
    assert batch.notifications() == batch.stored_events() == []
    assert State(3, W, 7).after(batch) == State(3, W, 7)
    assert State(3, W, 8).after(batch) is None
    assert State(3, "other", 7).after(batch) is None


def test_a_json_state_stays_readable() -> None:
    """The record is JSON, and the state is embedded as it is. Other bytes are base64, and a UUID is marked as such."""
    name = UUID(int=5)
    value = encode_batch(W, 1, 1, [stored("a", 1, "T", b'{"text": "\xc3\xa9"}'), stored(name, 2, "T", b"\x00")])

    assert json.loads(value) == {
        "writer": W,
        "epoch": 1,
        "first": 1,
        "events": [["a", 1, "T", {"text": "é"}], [f"urn:uuid:{name}", 2, "T", "AA=="]],
    }
    assert b'{"text": "\xc3\xa9"}' in value


def test_the_format_of_records_does_not_change() -> None:
    """Logs with these bytes are kept for ever."""
    assert encode_claim("9f", 4, 17) == b'{"claim":true,"writer":"9f","epoch":4,"next":17}'
    assert (
        encode_batch("9f", 4, 17, [stored("market-1", 3, "OrderPlaced.v1", b'{"a": 1}')])
        == b'{"writer":"9f","epoch":4,"first":17,"events":[["market-1",3,"OrderPlaced.v1",{"a": 1}]]}'
    )
    assert (
        encode_batch("9f", 4, 17, [], tracking={"orders": 22})
        == b'{"writer":"9f","epoch":4,"first":17,"tracking":{"orders":22}}'
    )
    assert (
        encode_batch("9f", 4, 17, [stored("a", 1, "T", b"{}")], tracking={"orders": 22})
        == b'{"writer":"9f","epoch":4,"first":17,"tracking":{"orders":22},"events":[["a",1,"T",{}]]}'
    )


@pytest.mark.parametrize("depth", [199, 200, 201, 5_000, 100_000])
def test_a_deep_state_is_written_so_that_a_small_stack_can_read_it(depth: int) -> None:
    """A state that is nested too deeply for some reader's stack is embedded as base64."""
    state = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    value = encode_batch(W, 1, 1, [stored("a", 1, "T", state)])

    batch = decode(value)
    assert isinstance(batch, Batch)
    assert batch.stored_events()[0].state == state
    assert (state in value) == (depth <= 200)


def test_brackets_in_strings_are_no_nesting() -> None:
    """A long text with brackets stays readable."""
    state = json.dumps({"text": '[{"' * 1000}).encode()

    assert state in encode_batch(W, 1, 1, [stored("a", 1, "T", state)])


@pytest.mark.parametrize(
    "event",
    [
        stored("urn:uuid:1", 1, "T", b"{}"),
        stored("a", 2**53, "T", b"{}"),
        stored("\ud800", 1, "T", b"{}"),
    ],
)
def test_what_cannot_be_read_back_is_refused(event: StoredEvent) -> None:
    """An id that would be decoded as a UUID, a version beyond JSON's integers, text that is not valid Unicode."""
    with pytest.raises(DataError):
        encode_batch(W, 1, 1, [event])


@pytest.mark.parametrize("tracking", [None, {}, {"a": -1}, {"a": 2**53}, {"\ud800": 1}])
def test_an_empty_batch_is_refused(tracking: dict[str, int] | None) -> None:
    """It would be valid without any effect. A tracking must be one that every JSON reader can represent."""
    with pytest.raises(DataError):
        encode_batch(W, 1, 1, [], tracking=tracking)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"hello",
        b"[]",
        b"{}",
        b'{"claim":true,"writer":"a","epoch":-1}',
        b'{"claim":true,"writer":"a","epoch":1e300}',
        b'{"claim":true,"writer":"a","epoch":9007199254740992}',
        b'{"writer":"a","epoch":1,"first":1,"events":[]}',
        b'{"writer":"a","epoch":1,"first":0,"events":[["a",1,"T",{}]]}',
        b'{"writer":"a","epoch":1,"first":1,"events":[["a",1,"T"]]}',
        b'{"writer":"a","epoch":1,"first":1,"tracking":{}}',
        b'{"writer":"a","epoch":1,"first":0,"tracking":{"x":1}}',
        b'{"writer":"a","epoch":1,"first":1,"events":[["a","1","T",{}]]}',
        b'{"writer":"a","epoch":1,"first":1,"events":[["a",1,"T",{}]]',
        b"\xff\xfe",
    ],
)
def test_other_records_are_invalid(value: bytes | None) -> None:
    """A record that is neither a claim nor a batch does not change the state."""
    assert decode(value) is None or State(1, "b", 1).after(decode(value)) is None


@given(st.binary())
def test_no_bytes_break_a_reader(value: bytes) -> None:
    """Anything in the topic can be folded."""
    State().after(decode(value))


@pytest.mark.parametrize(
    "opening", [b'{"writer":', b'{"more":', b'{"writer":"a","epoch":1,"first":1,"events":[["a",1,"T",']
)
@pytest.mark.parametrize("depth", [1_500, 100_000])
def test_a_record_that_no_stack_can_read_is_invalid(opening: bytes, depth: int) -> None:
    """A stranger's record may be nested as deeply as it likes; a reader skips it."""
    assert decode(opening + b"[" * depth + b"]" * depth) is None


def test_a_small_stack_does_not_make_a_record_invalid() -> None:
    """A reader without the stack for a record raises: other readers accept that record."""
    state = b'{"a":' + b"[" * 180 + b"]" * 180 + b"}"
    value = encode_batch(W, 1, 1, [stored("a", 1, "T", state)])

    def results() -> set[str]:
        """Return how decoding ends, here and in ever smaller stacks."""
        try:
            batch = decode(value)
        except RecursionError:
            return {"raises"}
        return {type(batch).__name__} | results()

    assert results() == {"Batch", "raises"}


ROWS = (
    b'["a",1,"T",{"n":1},"00000000-0000-0000-0000-000000000005",{"who":"me"},[5]]',
    b'["b",2,"U",{}]',
    b'["c",3,"V",{},"00000000-0000-0000-0000-000000000006"]',
)


def test_events_of_release_10_and_later_versions_are_read() -> None:
    """They have more elements, and their records more fields. What this version knows of them is there."""
    value = b'{"writer":"w","epoch":1,"first":5,"more":{"a":[]},"tracking":{"x":3},"events":[%b]}' % b",".join(ROWS)

    batch = decode(value)
    assert isinstance(batch, Batch)
    more: list[dict[str, Any]] = [{"uuid": UUID(int=5), "metadata": {"who": "me"}}, {}, {"uuid": UUID(int=6)}]
    known = [stored("a", 1, "T", b'{"n":1}'), stored("b", 2, "U", b"{}"), stored("c", 3, "V", b"{}")]
    if EVENTS_HAVE_METADATA:
        known = [StoredEvent(**vars(e) | fields) for e, fields in zip(known, more, strict=True)]
    assert batch.stored_events() == known
    assert [vars(n) | {"id": 0} for n in batch.notifications()] == [vars(e) | {"id": 0} for e in known]
    assert batch.identities == [(UUID(int=5), {"who": "me"}), (UUID(int=0), {}), (UUID(int=6), {})]
    assert (batch.writer, batch.epoch, batch.first, batch.tracking) == ("w", 1, 5, {"x": 3})
    assert batch.only([2]).stored_events() == known[2:]


@pytest.mark.parametrize(
    "tracking", [b"1", b"[]", b'"x"', b'{"x":-1}', b'{"x":1.5}', b'{"x":"1"}', b'{"x":9007199254740992}', b'{"x":null}']
)
@pytest.mark.parametrize("row", [ROWS[1], ROWS[0]], ids=["short", "long"])
def test_a_damaged_tracking_makes_its_record_invalid(tracking: bytes, row: bytes) -> None:
    """Also beside events: they would count without their tracking, and be made again."""
    for events in (b"", b',"events":[%b]' % row):
        assert decode(b'{"writer":"w","epoch":1,"first":5,"tracking":%b%b}' % (tracking, events)) is None


@pytest.mark.parametrize("more", [b'"id"', b"5", b"{}", b'"%b",[]' % (b"0" * 32), b'"%b",{"a":1}' % (b"0" * 32)])
def test_a_damaged_identity_makes_its_record_invalid(more: bytes) -> None:
    """The fifth element of an event is a UUID, and the sixth an object with texts."""
    assert decode(b'{"writer":"w","epoch":1,"first":5,"events":[["a",1,"T",{},%b]]}' % more) is None


def damaged(random: Random, value: bytes) -> bytes:
    """Return the record with some bytes changed, removed or repeated, or with more nesting."""
    changed = bytearray(value)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(changed) + 1)
        end = min(len(changed), at + random.choice([0, 1, 1, 1, 8, 60]))
        changed[at:end] = random.choice(
            [
                b"",
                random.randbytes(1),
                bytes(changed[at:end]) * 2,
                b'"',
                b"9" * 17,
                b"-1",
                b"[" * random.choice([1, 2_000]),
            ]
        )
    return bytes(changed)


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.chaos)])
def test_damaged_records_of_others_are_invalid(count: int) -> None:
    """Whatever another program writes into the topic, the state of a reader stays as it is."""
    random = Random(count)  # noqa: S311  no secret
    state = State(3, W, 17)
    row = stored("market-1", 3, "OrderPlaced.v1", b'{"command_id":"c","data":{"fills":[[1,2],[3,4]]}}')
    others = [encode_claim("a", 9, 17), encode_batch("a", 3, 17, [row, row]), encode_batch(W, 2, 17, [row]), b'"\xff"']
    others += [encode_batch("a", 3, 17, rows, tracking={"orders": 22, "b": 3}) for rows in ([], [row])]
    others += [b'{"writer":"a","epoch":3,"first":17,"tracking":{"orders":22},"events":[%b]}' % b",".join(ROWS)]
    for _ in range(count):
        value = damaged(random, random.choice(others))
        record = decode(value)
        # Damage may turn an epoch into the one that fits: such a record is no longer another's.
        if isinstance(record, Claim) and record.epoch == state.epoch + 1:
            continue
        if isinstance(record, Batch) and (record.epoch, record.writer) == (state.epoch, state.writer):
            continue
        assert state.after(record) is None, value


def batch_of(writer: str, epoch: int, first: int) -> Batch:
    """Return a batch of two events."""
    batch = decode(encode_batch(writer, epoch, first, [stored("x", v, "T", b"{}") for v in (1, 2)]))
    assert isinstance(batch, Batch)
    return batch


def test_the_fold() -> None:
    """Claims need the next epoch; batches the current epoch and writer, and the next position."""
    start = State()
    held = start.after(Claim("a", 1))
    assert held == State(1, "a", 1)
    assert held.after(Claim("b", 1)) is None
    assert held.after(Claim("b", 2)) == State(2, "b", 1)
    one = batch_of("a", 1, 1)
    assert start.after(one) is None
    after = held.after(one)
    assert after == State(1, "a", 3)
    assert after.after(one) is None
    assert State(1, "b", 1).after(one) is None
    assert State(2, "a", 1).after(one) is None
    assert Checkpoint(9, *after).state == after


@pytest.mark.parametrize("epoch", [3, 4, 2**53 - 1])
def test_a_strangers_claim_does_not_end_the_log(epoch: int) -> None:
    """A claim that skips an epoch is invalid: after an epoch of 2^53 - 1 there would be no other."""
    assert State(1, "a", 1).after(Claim("stranger", epoch)) is None


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_gap_is_never_skipped(next_: int, first: int) -> None:
    """A batch of the current writer, or the next claim, that comes after events which are not there proves a loss."""
    state = State(1, "a", next_)
    for record in (batch_of("a", 1, first), Claim("b", 2, first)):
        if first > next_:
            with pytest.raises(RecordsMissing, match=f"positions {next_} to {first - 1}"):
                state.after(record)
        else:
            state.after(record)
    for other in (batch_of("b", 1, first), batch_of("a", 2, first), Claim("b", 3, first), Claim("b", 1, first)):
        assert state.after(other) is None
