"""An order on the wire: its form follows from `PlaceOrder`, and the fast path agrees with the command codec."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.money import format_decimal
from domain.orders import PlaceOrder
from messages import commands
from messages.codecs import command_codec
from messages.commands import (
    Envelope,
    InvalidCommand,
    body_and_digest,
    check_command,
    command_of,
    dump_command,
    is_command_id,
    order_command_id,
)
from messages.fields import Amount, Choice, Flag, Moment, Nullable, Text
from messages.order import ORDER_FIELDS, OrderData, fast_order, order_data, surely_valid, wire_form
from tests.messages.test_commands import NUMBERS, ORDER, TIME

CODEC = command_codec(PlaceOrder)
AMOUNTS = ["quantity", "spend", "limit_price", "max_cost", "min_proceeds"]
ALL_FIELDS = PlaceOrder(
    "ac_a", "mk_m", "or_o", "c-1", "Yes", "sell", "limit", 1, 2, 3, "FOK", None, True, True, 4, 5, "cancel_maker"
)
"""An order that cannot be placed: every amount is another one, and no field has its default but the time."""


# --- the wire form


def test_the_wire_form_has_the_fields_of_the_command_in_their_order() -> None:
    """All but the server-assigned id, with the same defaults."""
    names = [name for name in PlaceOrder.__struct_fields__ if name != "order_id"]

    assert names == list(ORDER_FIELDS) == list(OrderData.__struct_fields__)
    assert OrderData.__struct_defaults__ == PlaceOrder.__struct_defaults__


def test_the_fast_path_knows_every_kind_of_field() -> None:
    """It derives the amounts and the choices, but names the texts and the time: a new one must be told to it."""
    kinds = {name: codec.codec if isinstance(codec, Nullable) else codec for name, codec in CODEC.fields.items()}

    assert [name for name, codec in kinds.items() if isinstance(codec, Text)] == [
        "account_id",
        "market_id",
        "client_order_id",
        "outcome",
    ]
    assert [name for name, codec in kinds.items() if isinstance(codec, Moment)] == ["expires_at"]
    assert {Text, Moment, Amount, Choice, Flag} == {type(codec) for codec in kinds.values()}


@pytest.mark.parametrize("order", [ALL_FIELDS, replace(ALL_FIELDS, expires_at=TIME), ORDER])
def test_every_field_is_written_under_its_own_name(order: PlaceOrder) -> None:
    """The command codec, which goes by names, writes the same."""
    assert CODEC.dump(order) == msgspec.json.decode(msgspec.json.encode(order_data(order)))


def test_every_field_is_read_from_its_own_name() -> None:
    """No two fields are swapped: amounts and texts all differ."""
    wire = msgspec.convert(CODEC.dump(ALL_FIELDS), OrderData)

    assert fast_order(wire, "ac_a", "mk_m", "or_o") == (ALL_FIELDS, True)


def test_a_field_may_have_another_form() -> None:
    """HTTP's account may be missing; the other fields stay as they are, and in their places."""
    form = wire_form("Form", account_id=("account", str | None, None))
    wire = msgspec.convert(
        {name: value for name, value in CODEC.dump(ALL_FIELDS).items() if name != "account_id"}, form
    )

    assert ("account", *ORDER_FIELDS[1:]) == form.__struct_fields__
    assert fast_order(wire, "ac_a", "mk_m", "or_o") == (ALL_FIELDS, True)


# --- the fast path of reading

texts = st.one_of(
    st.sampled_from(["ac_a", "Yes", "mk_m", " Yes", "ä", "a b", "", "x" * 65, "x" * 101]), st.text(max_size=5)
)
amounts = st.one_of(
    st.none(),
    st.integers(-2, 2 * 10**15).map(lambda micros: f"{micros // 10**6}.{micros % 10**6:06d}"),
    st.sampled_from(NUMBERS),
    st.from_regex(r"[0-9]{0,3}\.?[0-9]{0,7}", fullmatch=True),
)
fields = st.fixed_dictionaries(
    {
        "account_id": texts,
        "market_id": texts,
        "client_order_id": texts,
        "outcome": texts,
        "side": st.sampled_from(["buy", "sell", "x"]),
        "type": st.sampled_from(["market", "limit", 5]),
    },
    optional={
        "quantity": amounts,
        "spend": amounts,
        "limit_price": amounts,
        "time_in_force": st.sampled_from([None, "GTC", "GTD", "IOC", "FOK", "X"]),
        "expires_at": st.sampled_from([None, "2024-10-24T10:02:00Z", "x"]),
        "post_only": st.sampled_from([True, False, None]),
        "max_cost": amounts,
        "min_proceeds": amounts,
        "self_trade_prevention": st.sampled_from(["cancel_taker", "cancel_maker", "x"]),
    },
)

PLAIN = CODEC.dump(ORDER)


@given(fields)
@example(PLAIN)
@example(PLAIN | {"spend": "10"})
def test_the_fast_path_agrees_with_the_command_codec(data: dict[str, Any]) -> None:
    """What the fast path takes, the codec takes too, with the same order and the same digest."""
    command_id = order_command_id(str(data["account_id"]), str(data["client_order_id"]))

    fast = commands._fast_order(command_id, msgspec.Raw(msgspec.json.encode(data)))

    if fast is not None and is_command_id(command_id):  # others never come so far
        order, text = fast
        assert order == command_of("PlaceOrder", command_id, data)
        assert (commands._body(text), commands._digest("PlaceOrder", text)) == body_and_digest(order)


@pytest.mark.parametrize("name", AMOUNTS)
def test_the_fast_path_has_the_bounds_of_every_amount(name: str) -> None:
    """It takes the least and the most that the field's codec takes, and nothing beyond."""
    codec: Any = CODEC.fields[name]
    least, most = codec.codec.least, codec.codec.most
    for micros, taken in [(least - 1, False), (least, True), (most, True), (most + 1, False)]:
        wire = msgspec.convert(PLAIN | {name: format_decimal(micros)}, OrderData)
        order = replace(ORDER, **{name: micros})

        assert fast_order(wire, "ac_a", "mk_m", "") == ((order, True) if taken else None)
        assert surely_valid(order) is taken


@pytest.mark.parametrize("changes", [{}, {"spend": "10"}, {"market_id": "m" * 64}, {"outcome": "Möglich, ja"}])
def test_the_fast_path_takes_a_plain_order(changes: dict[str, Any]) -> None:
    """The fast path really takes what our own client sends, and amounts as people write them."""
    envelope = msgspec.json.decode(dump_command(order_command_id("ac_a", "c-1"), ORDER), type=Envelope)
    data = msgspec.json.decode(envelope.data) | changes

    assert commands._fast_order(envelope.command_id, msgspec.Raw(msgspec.json.encode(data))) is not None


# --- the fast path of checking

whole_numbers = st.one_of(st.none(), st.integers(-2, 2), st.integers(10**15 - 1, 10**15 + 1))
python_orders = st.builds(
    PlaceOrder,
    account_id=st.one_of(st.text(max_size=3), st.just("a" * 65), st.just(7)),
    market_id=st.one_of(st.text(max_size=3), st.just("m" * 65)),
    order_id=st.just(""),
    client_order_id=st.one_of(st.text(max_size=3), st.just("c" * 65), st.just(None)),
    outcome=st.one_of(st.text(max_size=3), st.just("o" * 101)),
    side=st.sampled_from(["buy", "sell", "hold"]),
    type=st.sampled_from(["market", "limit", "stop"]),
    quantity=whole_numbers,
    spend=whole_numbers,
    limit_price=st.one_of(st.none(), st.integers(-1, 1), st.integers(999_999, 1_000_001)),
    time_in_force=st.sampled_from([None, "GTC", "GTD", "IOC", "FOK", "DAY"]),
    expires_at=st.sampled_from([None, -1, TIME]),
    max_cost=whole_numbers,
    min_proceeds=whole_numbers,
    self_trade_prevention=st.sampled_from(["cancel_taker", "cancel_maker", "x"]),
)


@given(python_orders)
@example(ORDER)
@example(replace(ORDER, account_id=7))
def test_the_fast_check_agrees_with_the_command_codec(order: PlaceOrder) -> None:
    """The fast path takes an order from Python code only where the codecs of all its fields would take it too."""
    command_id = order_command_id(str(order.account_id), str(order.client_order_id))
    if is_command_id(command_id):
        assert _refusal(lambda: check_command(command_id, order)) == _refusal(lambda: CODEC.check(order, ""))


def test_the_fast_check_takes_a_plain_order() -> None:
    """As the gateways get it from a client."""
    assert surely_valid(ORDER)
    assert surely_valid(ALL_FIELDS)


def _refusal(check: Callable[[], object]) -> str | None:
    try:
        check()
    except InvalidCommand as refusal:
        return str(refusal)
    return None
