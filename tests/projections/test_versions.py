"""A change of a read model's tables needs another version, or the projector would go on with the old tables."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import pytest

from projections.registry import EVERY

if TYPE_CHECKING:
    from projections.machine.projection import Projection

VERSIONS: Final[dict[str, tuple[int, str]]] = {
    "timeline": (3, "89e1132c5eced965"),
    "stories": (3, "478c0d7125c85262"),
    "markets": (9, "f9d7594e5769cef4"),
    "lifecycle": (4, "fc02a211f20db732"),
    "candles": (5, "de83c9c0c8adc598"),
    "trades": (8, "655817183c3db125"),
    "orders": (4, "e483cd840255a110"),
    "book": (4, "a2ed7b18c4c6ce85"),
    "positions": (9, "780b7cdce2a5ddbb"),
    "accounts": (5, "3451f543949bb241"),
    "log_index": (1, "f57bfa77b8e2d308"),
    "invitations": (2, "92febce3747d3273"),
    "transfers": (1, "b15f95c9920be4ff"),
}
"""The version of each read model, with the digest of its tables in that version."""


def tables_digest(projection: Projection) -> str:
    """Return a digest of all that the tables of a read model are created and loaded by."""
    definitions = [
        (table.statements(), table.index_statements(), table.key, table.by, table.group) for table in projection.tables
    ]
    return sha256(repr(definitions).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", EVERY)
def test_other_tables_have_another_version(name: str) -> None:
    """Columns, types, keys, indexes, checks and groups of the tables are those that the version has had before."""
    projection = EVERY[name]
    found = (projection.version, tables_digest(projection))
    version, digest = VERSIONS[name]

    assert found[1] == digest or found[0] > version, (
        f"The tables of {name} have changed: raise the version, then update this table: {name!r}: {found}"
    )
    assert found == (version, digest), f"{name} has a new version: update this table: {name!r}: {found}"


def test_only_read_models_have_a_version() -> None:
    """A read model that is gone leaves the table too."""
    assert VERSIONS.keys() == EVERY.keys()
