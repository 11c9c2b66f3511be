"""Transfers as records of the topic `transfers`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.orders import PlaceOrder
from domain.transfers import Transfer
from messages.commands import dump_command, order_command_id
from messages.transfers import dump_transfer, parse_transfer
from messages.wire import TIME_MAX

THEN = dump_command(
    order_command_id("ac_a", "1"), PlaceOrder("ac_a", "mk3_m", "", "1", "Yes", "buy", "market", spend=1), top_up=True
)
TRANSFER = Transfer(0, 42, "ac_ada", 25_000_000, 1_729_764_120_000_000, "topup:1")


@given(
    st.builds(
        Transfer,
        st.integers(0, 9_999),
        st.integers(1, 2**62),
        st.text(),
        st.integers(1, 10**18),
        st.integers(0, TIME_MAX),
        st.text(),
    ),
    st.sampled_from([b"", THEN]),
)
def test_a_transfer_comes_back_as_it_went(transfer: Transfer, then: bytes) -> None:
    """With every field, and the command that it carries along byte for byte."""
    assert parse_transfer(dump_transfer(transfer, then)) == (transfer, then)


def test_the_bytes_of_a_record() -> None:
    """Engines of the next version read them."""
    assert dump_transfer(TRANSFER) == (
        b'{"from":0,"number":42,"account_id":"ac_ada","amount":"25.000000","time":"2024-10-24T10:02:00.000000Z",'
        b'"transfer_id":"topup:1"}'
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"42", b"0"),
        (b"42", b'"42"'),
        (b"25.000000", b"0.000000"),
        (b"25.000000", b"-5.000000"),
        (b"25.000000", b"1e3"),
        (b"2024-10-24T", b"yesterday"),
        (b'"from":0', b'"from":-1'),
        (b'"account_id":"ac_ada",', b""),
        (b"}", b""),
        (b"ada", b"\xff"),
    ],
)
def test_what_is_no_transfer_is_refused(old: bytes, new: bytes) -> None:
    """Whoever wrote it was no engine."""
    with pytest.raises(ValueError):  # noqa: PT011  whatever is wrong with it
        parse_transfer(dump_transfer(TRANSFER).replace(old, new))
