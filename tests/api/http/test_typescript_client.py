"""A stranger's generator makes TypeScript types from the OpenAPI document, and a client with these types trades."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.api.contract import document

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

SERVICE = Path(__file__).parent / "typescript"
GUIDE = Path(__file__).parents[3] / "docs" / "http.md"


def run(folder: Path, *command: str) -> str:
    """Run a command in the folder; return what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def generate() -> list[str]:
    """Return the command that the guide names."""
    (command,) = re.findall(r"`npx (openapi-typescript [^`]+)`", GUIDE.read_text("utf-8"))
    return str(command).split()


@pytest.mark.chaos  # it fetches packages, which takes a network and a quarter of a minute
@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm")
def test_a_service_in_typescript_trades(exchange: Exchange, tmp_path: Path) -> None:
    """Its types are checked strictly: they know the bodies, the answers and the errors, and refuse a side that is none."""
    folder = shutil.copytree(SERVICE, tmp_path / "service")
    (folder / "openapi.json").write_text(json.dumps(document()))
    run(folder, "npm", "install", "--no-package-lock", "--no-audit", "--no-fund")
    run(folder, "npx", *generate())
    run(folder, "npx", "tsc", "--project", ".")
    market, trader = exchange.market()["slug"], exchange.trader()
    assert trader.api.key is not None

    seen = json.loads(run(folder, "node", "trade.js", exchange.running.url, trader.api.key, trader.account_id, market))

    assert seen["order"]["status"] == "filled"
    assert seen["again"] == seen["order"]
    assert seen["volume"] == seen["order"]["cost"]
    assert (seen["code"], seen["rejected"]) == ("MARKET_NOT_FOUND", "INVALID_FIELD")


def test_the_service_uses_what_the_guide_makes() -> None:
    """Otherwise the long test would check another command than the one that readers run."""
    assert generate()[-2:] == ["-o", "schema.d.ts"]
    assert "./schema.js" in (SERVICE / "trade.ts").read_text("utf-8")
