"""Which partition of `replies` a receiver reads: names say it, and with one partition nothing does."""

import pytest

from consumers.kafka.receivers import replies_partition


@pytest.mark.parametrize(
    ("name", "partitions", "expected"),
    [("3.me", 4, 3), ("3.me", 1, 0), ("4.me", 4, 0), ("me", 4, 0), ("me.3", 4, 0), ("12345.me", 4, 0), ("03.me", 4, 3)],
)
def test_any_name_has_a_partition(name: str, partitions: int, expected: int) -> None:
    """Services choose their own: none of their names is refused."""
    assert replies_partition(name, partitions) == expected
