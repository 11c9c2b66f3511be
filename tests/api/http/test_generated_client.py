"""A stranger's generator makes a client from the OpenAPI document, and this client trades."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.contract import document

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package that `openapi-python-client` writes, importable as `generated_api`."""
    (tmp_path / "openapi.json").write_text(json.dumps(document()))
    program = Path(sys.executable).with_name("openapi-python-client")
    command = [str(program), "generate", "--path", "openapi.json", "--meta", "none", "--output-path", "generated_api"]
    environment = {"PATH": str(program.parent)}  # it formats with ruff
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "will not be generated" not in done.stdout
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "generated_api"


def test_every_operation_has_a_method(exchange: Exchange, generated: Path) -> None:
    """And the methods trade: an order, the market afterwards, an error."""
    made = {path.stem for path in generated.glob("api/*/*.py")} - {"__init__"}
    assert made >= {each["operationId"] for methods in document()["paths"].values() for each in methods.values()}

    def module(name: str) -> Any:
        return importlib.import_module(f"generated_api.{name}")

    slug = exchange.market()["slug"]
    trader = exchange.trader()
    client = module("client").AuthenticatedClient(base_url=exchange.running.url, token=trader.api.key)
    body = module("models.place_order_body").PlaceOrderBody.from_dict(trader.order(slug))
    with client:
        order = module("api.orders.place_order").sync(client=client, body=body)
        again = module("api.orders.place_order").sync(client=client, body=body)
        market = module("api.market_data.get_market").sync(slug, client=client, min_position=order.position)
        error = module("api.market_data.get_market").sync("nothing-like-it", client=client)

    assert order.status == "filled"
    assert again == order
    assert market.data.volume == order.cost
    assert error.code == "MARKET_NOT_FOUND"
