"""Vectors of positions: their text, their order, their JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.placement import PARTITION_MAX
from messages.vectors import POSITION_MAX, PositionVector

POSITIONS = st.dictionaries(st.integers(0, 3) | st.just(PARTITION_MAX), st.integers(0, 5) | st.just(POSITION_MAX))
VECTORS = POSITIONS.map(PositionVector)


@given(POSITIONS.filter(bool))
def test_a_text_says_the_same(positions: dict[int, int]) -> None:
    """What is printed is read as it was, whatever the order; JSON has the partitions as names."""
    vector = PositionVector(positions)

    assert PositionVector.parse(str(vector)) == vector
    assert PositionVector.parse(",".join(f"{at}:{to}" for at, to in reversed(positions.items()))) == vector
    assert json.loads(json.dumps(vector.as_json())) == {str(at): to for at, to in sorted(positions.items())}
    assert list(vector) == sorted(positions.items())


def test_a_plain_number_is_of_one_partition() -> None:
    """That is 0, or the one that the path names."""
    assert PositionVector.parse("1042") == PositionVector({0: 1042})
    assert PositionVector.parse("1042", 3) == PositionVector({3: 1042})
    assert str(PositionVector.parse("3:1042,0:17")) == "0:17,3:1042"


@pytest.mark.parametrize(
    "text",
    ["", " 1", "-1", "1,2", "1:", ":1", "1:2,1:3", "1:2,3", "a:1", "1:2,", "10000:1", "0:9223372036854775808", "٣"],
)
def test_what_is_no_vector_is_refused(text: str) -> None:
    """The message shows the form."""
    with pytest.raises(ValueError, match="3:1042,0:17"):
        PositionVector.parse(text)


@given(VECTORS, VECTORS, VECTORS)
def test_vectors_are_in_a_partial_order(one: PositionVector, other: PositionVector, third: PositionVector) -> None:
    """`<=` is an order, `|` the least that is behind neither; equal vectors have equal hashes."""
    both = one | other
    assert one <= both
    assert other <= both
    assert not (one <= third and other <= third) or both <= third
    assert not (one <= other <= third) or one <= third
    assert (one == other) == (one <= other <= one)
    assert one != other or hash(one) == hash(other)
    for partition in range(5):
        assert both.of(partition) == max(one.of(partition), other.of(partition))
