"""`--partitions`: which partitions of the log a command works on."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

import pytest

from api.cli.partitions import PartitionError, chosen_partitions, parse_partitions
from settings import Settings
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "found"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("7,0-1,1", (0, 1, 7)), ("9999", (9999,))]
)
def test_numbers_and_ranges(text: str, found: tuple[int, ...]) -> None:
    """Numbers and ranges with commas between them, in any order."""
    assert parse_partitions(text) == found


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "10000", "٣", "1 "])
def test_what_is_no_list_is_refused(text: str) -> None:
    """The error shows the text."""
    with pytest.raises(ArgumentTypeError, match=f"^{text!r} is no list"):
        parse_partitions(text)


def test_all_are_chosen_by_default() -> None:
    """Without `--partitions` these are all of the log; those that it does not have are refused."""
    settings = Settings(log="kafka", partitions=3)

    assert tuple(chosen_partitions(Namespace(partitions=None), settings)) == (0, 1, 2)
    assert tuple(chosen_partitions(Namespace(partitions=(1, 2)), settings)) == (1, 2)
    with pytest.raises(PartitionError, match="no partition 3: TIDINGS_PARTITIONS is 3"):
        chosen_partitions(Namespace(partitions=(2, 3)), settings)


def test_a_partition_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    """The command ends with 2, before anything is started."""
    settings = Settings(home=tmp_path / "home")
    done = tidings(settings, "projector", "--partitions", "0-1")

    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no partition 1: TIDINGS_PARTITIONS is 1" in done.stderr
    assert not (tmp_path / "home").exists()
