"""by_name and copying: the values of a row in the order of its columns, from names."""

from typing import NamedTuple

import pytest

from domain.events import Recorded
from domain.market import MarketHalted
from projections.machine.row_values import KEYWORDS_MAX, by_name, copying
from projections.machine.table import Values


class Halt(NamedTuple):
    """A row with fields of an event, of its envelope and of its own."""

    partition: int
    market_id: str
    position: int
    reason: str


RECORDED = Recorded(7, "market-m", 3, 1_000, "c", MarketHalted("m"))


def test_a_maker_takes_every_field_by_name() -> None:
    """In any order; a missing or unknown name raises."""
    make = by_name(Halt)

    assert make(position=7, partition=0, reason="late", market_id="m") == (0, "m", 7, "late")
    with pytest.raises(TypeError):
        make(position=7, partition=0, reason="late")  # type: ignore[call-arg]


def test_a_copier_copies_what_its_sources_have() -> None:
    """Fields of the sources are copied; the others are named, and no others."""
    copy = copying(Halt, MarketHalted, Recorded)

    assert copy(RECORDED.event, RECORDED, partition=0, reason="late") == Values((0, "m", 7, "late"))
    with pytest.raises(TypeError):
        copy(RECORDED.event, RECORDED, partition=0)
    with pytest.raises(TypeError):
        copy(RECORDED.event, RECORDED, partition=0, reason="late", position=8)


class Fact(NamedTuple):
    """A source with a field that a row has with a prefix."""

    id: str
    text: str


def test_a_copier_copies_by_prefix_and_has_constants() -> None:
    """The source `market` has `market_id`; a constant need not be named, and must not be."""
    copy = copying(Halt, Recorded, market=Fact, constants={"reason": "it's late"})

    assert copy(RECORDED, market=Fact("m", "?"), partition=0) == Values((0, "m", 7, "it's late"))
    with pytest.raises(TypeError):
        copy(RECORDED, market=Fact("m", "?"), partition=0, reason="late")


def test_more_keywords_than_are_cheap_are_refused() -> None:
    """A row with more fields than a call passes cheaply needs sources."""
    wide = NamedTuple("wide", [(f"field_{number}", int) for number in range(KEYWORDS_MAX + 1)])  # type: ignore[misc]

    with pytest.raises(AssertionError, match="16 keywords"):
        by_name(wide)
