"""The blocks of docs/http.md, executed as they stand: those for curl in one shell, those for Python in one program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import OPERATOR_KEY, Exchange, exchange

__all__ = ["exchange"]

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "http.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The blocks of the guide in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def environment(exchange: Exchange) -> dict[str, str]:
    """What the guide says that its reader has: an exchange with a market, and an admin's key."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    return clean | {
        "URL": exchange.running.url,
        "ADMIN_KEY": OPERATOR_KEY,
        "MARKET": exchange.market()["slug"],
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="half of the guide is told with curl")
def test_the_guide_runs(environment: dict[str, str]) -> None:
    """First with curl, then with the client: the sections build on each other, in both languages."""
    with_curl = subprocess.run(
        ["bash", "-c", "\n".join(["set -eo pipefail", *blocks("sh")])],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert with_curl.returncode == 0, with_curl.stdout + with_curl.stderr
    orders = re.findall(r'\{"order_id".*?"client_order_id":"desk-7-order-1".*?"position":\d+', with_curl.stdout)
    assert len(orders) == 2
    assert orders[0] == orders[1]
    with_client = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(blocks("python"))],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert with_client.returncode == 0, with_client.stderr
    assert "Desk 8" in with_client.stdout


def test_every_section_has_both_languages() -> None:
    """But the one about limits, which has nothing to call."""
    sections = re.split(r"^## ", GUIDE, flags=re.MULTILINE)[1:]

    for section in sections:
        expected = not section.startswith("Limits")
        assert [f"```{language}\n" in section for language in ("sh", "python")] == [expected] * 2, section[:30]
