"""A stranger's service, written from docs/http.md alone, over a server that is killed: each order once, each event once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import msgspec
import pytest
from pydantic import SecretStr

from local.processes import free_port
from settings import Settings
from tests.api.conftest import OPERATOR_KEY, Api, Exchange
from tests.api.test_serve import served
from tests.tidings_client.test_package import service, wheel

__all__ = ["service", "wheel"]

SERVICE = """
import json, os, sys
from tidings_client import Client

account, market, count = os.environ["ACCOUNT"], os.environ["MARKET"], int(os.environ["COUNT"])
orders, events, done = [], [], 0
with Client(os.environ["URL"], os.environ["KEY"]) as client:
    for number in range(count):
        order = client.place_order(
            client_order_id=f"row-{number}", market_id=market, outcome=["Yes", "No"][number % 2], side="buy",
            type="market", quantity="1",
        )
        orders.append(order.client_order_id)
        print(number, flush=True)
        if number % 10 == 9:
            for event in client.events(after=done, account=account):
                done = event.position
                events.append([event.position, event.type, event.data.get("client_order_id")])
print(json.dumps({"orders": orders, "events": events}), flush=True)
"""


@pytest.mark.parametrize(
    ("orders", "kills"), [(100, 1), pytest.param(1000, 3, marks=pytest.mark.chaos)], ids=["short", "whole"]
)
def test_each_order_and_each_event_once(
    database: str,
    server_folder: Path,
    service: Path,
    orders: int,
    kills: int,
) -> None:
    """The service has the client's wheel and its two libraries, and knows nothing of the kills."""
    settings = Settings(
        dsn=database, home=server_folder, port=free_port(), operator_key=SecretStr(OPERATOR_KEY), log_level="error"
    )
    url = f"http://127.0.0.1:{settings.port}"
    (service / "main.py").write_text(SERVICE)
    libraries = {str(Path(module.__file__ or "").parents[1]) for module in (httpx, msgspec)}
    with ExitStack() as stack:
        server = stack.enter_context(served(settings))[0]
        http = stack.enter_context(httpx.Client(base_url=url, timeout=10))
        exchange = Exchange(None, Api(http, OPERATOR_KEY))  # type: ignore[arg-type]  # it runs elsewhere
        market, trader = exchange.market(subsidy="10000"), exchange.trader("10000")
        environment = {
            "PATH": os.environ["PATH"], "PYTHONPATH": ":".join([str(service), *libraries]), "URL": url,
            "KEY": trader.api.key or "", "ACCOUNT": trader.account_id, "MARKET": market["slug"], "COUNT": str(orders),
        }  # fmt: skip
        stranger = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-S", "main.py"], cwd=service, env=environment, stdout=subprocess.PIPE, text=True
            )
        )
        stack.callback(stranger.kill)
        assert stranger.stdout is not None
        last = ""
        for line in stranger.stdout:
            last = line
            if line.strip().isdecimal() and int(line) and int(line) % (orders // (kills + 1)) == 0 and kills:
                kills -= 1
                server.kill()
                server = stack.enter_context(served(settings))[0]
        assert stranger.wait(60) == 0
        found = json.loads(last)
        names = [f"row-{number}" for number in range(orders)]
        fills = exchange.api.data(f"/accounts/{trader.account_id}/fills", limit=1000, min_position=exchange.head())
        placed = [name for _, kind, name in found["events"] if kind == "OrderPlaced"]
        assert kills == 0
        assert found["orders"] == placed == names
        assert len({fill["order_id"] for fill in fills}) == len(fills) == orders
        positions = [position for position, _, _ in found["events"]]
        log = exchange.api.data("/events", account=trader.account_id, limit=1000)
        assert positions[: len(log)] == [event["position"] for event in log] == sorted(set(positions))[: len(log)]
