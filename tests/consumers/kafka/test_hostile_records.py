"""Every reader of a topic meets records of strangers: none raises anything but the error that its caller expects."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from time import time_ns

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventsourcing_kafka as es_kafka
from consumers.kafka.event_publisher import _place_of
from consumers.kafka.heartbeats import Heartbeat, _decode
from consumers.kafka.order_gate import OrderGate, Signer
from domain.money import MICRO
from domain.orders import CancelOrder, PlaceOrder
from eventsourcing_kafka.protocol import START, decode
from messages.commands import AdvanceTime, dump_command, parse_record, record_parts
from messages.dead_letters import Decision, dump_letter, make_letter, parse_letter
from messages.json_text import decode_untrusted
from messages.replies import Reply, dump_replies, dump_reply, parse_replies
from messages.signed_orders import hash_of
from settings import Settings
from tidings_client.kafka import sign


def commands(value: bytes) -> None:
    """Read a record of `commands`, and what the dead letters keep of it."""
    parsed = parse_record(value)
    parts = record_parts(value)
    assert len(parts) == len(parsed)
    for part in parts:
        assert parse_letter(dump_letter(make_letter("why", ("t", 0, 1), 0, part)))


def dead_letters(value: bytes) -> None:
    """Read a record of `dead-letters`."""
    parse_letter(value)


def replies(value: bytes) -> None:
    """Read a record of `replies`."""
    parse_replies(value)


def heartbeats(value: bytes) -> None:
    """Read a record of `heartbeats`."""
    assert isinstance(decode_untrusted(_decode, value), Heartbeat)


def events(value: bytes) -> None:
    """Read a record of `events`: what is no claim and no batch is void."""
    with suppress(es_kafka.RecordsMissing):  # a claim that counts may say so; only engines may write one
        START.state.after(decode(value))


class Headers:
    """A record of the feed, with these headers."""

    def __init__(self, value: bytes) -> None:
        head, _, rest = value.partition(b"\0")
        self._headers = [("position", head), ("checkpoint", rest), ("checkpoint", None)][: len(value) % 4]

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return the headers."""
        return self._headers or None


def feed(value: bytes) -> None:
    """Read the headers of a record of `feed`."""
    _place_of(Headers(value))  # type: ignore[arg-type]  # a record with headers


GATE = OrderGate(Settings(), {"key_1": Signer(hash_of("secret"), "ac_1")}.get)


class SignedRecord:
    """A record of `orders` that arrived in 2024: with the right signature, or with headers taken from its value."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        signed = sign(value, "key_1", "secret", datetime.fromtimestamp(ARRIVED / MICRO, UTC))
        forged = list(zip(("key-id", "time", "signature", "time"), [*value.split(b"\0"), None], strict=False))
        self._headers: list[tuple[str, bytes | None]] = forged if len(value) % 4 == 0 else [*signed]

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return the headers."""
        return self._headers or None

    def timestamp(self) -> tuple[int, int]:
        """Return when it arrived."""
        return 1, ARRIVED // 1_000


def orders(value: bytes) -> None:
    """Read a record of `orders`, as the gate does."""
    GATE._check(SignedRecord(value), value)  # type: ignore[arg-type]  # a record


READERS = (commands, dead_letters, replies, heartbeats, events, feed, orders)

ARRIVED = 1_729_764_120_000_000

NAMES = (
    "command_id",
    "type",
    "data",
    "reply_to",
    "at",
    "AdvanceTime",
    "PlaceOrder",
    "digest",
    "position",
    "time",
    "result",
    "details",
    "code",
    "letter",
    "decision",
    "reason",
    "topic",
    "offset",
    "index",
    "value",
    "encoding",
    "base64",
    "name",
    "role",
    "writer",
    "epoch",
    "sent",
    "successor",
    "claim",
    "first",
    "next",
    "events",
    "2024-10-24T10:02:00Z",
    "9999-12-31T23:59:59+23:59",
    "0000-00-00T00:00:00Z",
)
TOKENS = [
    *(b'{ } [ ] , : " " null true 0 -1 1e999 "\\ud800" "\\u0000" \xff \x1b[2J'.split(b" ")),
    *(f'"{name}"'.encode() for name in NAMES),
    b"9" * 30,
    b"9" * 5_000,
    b"[" * 2_000,
    b'{"a":' * 2_000,
]
GOOD = (
    dump_command("t:1", AdvanceTime(), 5, "me"),
    dump_replies([dump_reply(Reply("t:1", 7, 1_700_000_000_000_000, result={}, digest="ab"))]),
    dump_letter(make_letter("why", ("t", 0, 1), None, b"\xff")),
    dump_letter(Decision(1, "skipped", "why")),
    b'{"name":"a","role":"writer","epoch":4,"position":17,"sent":12.5}',
    b'{"claim":true,"writer":"9f","epoch":1,"next":1}',
    b'{"writer":"","epoch":0,"first":1,"events":[["market-1",3,"T.v1",{"command_id":"x"}]]}',
    b'17\0{"offset":1,"epoch":1,"writer":"a","next":4}',
    b"key_1\0" + b"2024-10-24T10:02:00Z\0" + b"ab" * 32,
    dump_command("order:ac_1:c", PlaceOrder("ac_1", "mk_1", "", "c", "Yes", "buy", "market", spend=1_000_000)),
    dump_command("ac_1:orders:c", CancelOrder("ac_1", "or_1")),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a record of ours with some bytes replaced by tokens."""
    value = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(st.sampled_from(TOKENS)) + value[at + draw(st.integers(0, 8)) :]
    return value


RECORDS = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join), damaged())


@pytest.mark.chaos
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_survives_a_million_records(reader: Callable[[bytes], None]) -> None:
    """As below, without the search for a shorter example. `RECORDS_SEED` and `RECORDS_COUNT` vary the run."""
    count, seed = int(os.environ.get("RECORDS_COUNT", "1000000")), os.environ.get("RECORDS_SEED", str(time_ns()))
    chance = Random(seed)  # noqa: S311  repeatable
    for number in range(count):
        value = random_record(chance)
        try:
            reader(value)
        except ValueError:
            continue
        except Exception as error:  # noqa: BLE001  any: the test names its record
            pytest.fail(f"record {number} of seed {seed}, {value!r}: {error!r}")


def random_record(chance: Random) -> bytes:
    """Return a record of tokens, of any bytes, or, mostly, one of ours with some damage."""
    kind = chance.random()
    if kind < 0.1:
        return chance.randbytes(chance.randrange(200))
    if kind < 0.25:
        return b"".join(chance.choices(TOKENS, k=chance.randrange(30)))
    value = chance.choice(GOOD)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(value) + 1)
        value = value[:at] + chance.choice(TOKENS) + value[at + chance.randrange(9) :]
    return value


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_survives_any_record(reader: Callable[[bytes], None]) -> None:
    """It understands the record, or raises ValueError: what its caller counts, shows, and goes on after."""

    @settings(max_examples=150, database=None)
    @given(RECORDS)
    def survive(value: bytes) -> None:
        with suppress(ValueError):
            reader(value)

    survive()
