"""The check of licences knows which ones we may ship."""

from __future__ import annotations

import pytest

from tests.supply_chain import is_allowed, licences, refused


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("LGPL-3.0-only", True),
        ("GNU General Public License v3 (GPLv3)", False),
        ("AGPL-3.0", False),
        ("MIT and GPL-2.0", False),
        ("not stated", False),
        ("Proprietary", False),
    ],
)
def test_licences_that_we_may_ship(licence: str, allowed: bool) -> None:
    """Those that ask nothing of whoever installs Tidings."""
    assert is_allowed(licence) == allowed


def test_every_locked_package_has_such_a_licence() -> None:
    """All that are installed here, which are most of them."""
    found = licences()

    assert len(found) > 30
    assert refused(found) == {}
