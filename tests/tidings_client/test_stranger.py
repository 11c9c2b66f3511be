"""A stranger's service, from docs/http.md alone, over a server that is killed: each order and each message once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import SecretStr

from local.processes import free_port
from settings import Settings
from tests.api.conftest import OPERATOR_KEY, Api, Exchange
from tests.api.test_serve import served
from tests.tidings_client.test_package import libraries, service, wheel

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["libraries", "service", "wheel"]

SERVICE = """
import json, os, threading
from tidings_client import Client

market, count = os.environ["MARKET"], int(os.environ["COUNT"])
orders, told = [], []

def follow():
    with Client(os.environ["URL"], os.environ["KEY"]) as client:
        for message in client.stream(["orders"], after=0):
            told.append([message.data["position"], message.data["type"], message.data["data"].get("client_order_id")])
            if told[-1][2] == f"row-{count - 1}":
                return

following = threading.Thread(target=follow)
following.start()
with Client(os.environ["URL"], os.environ["KEY"]) as client:
    for number in range(count):
        order = client.place_order(
            client_order_id=f"row-{number}", market_id=market, outcome=["Yes", "No"][number % 2], side="buy",
            type="market", quantity="1",
        )
        orders.append(order.client_order_id)
        print(number, flush=True)
    following.join()
    events = [[event.position, event.type] for event in client.events(account=os.environ["ACCOUNT"])]
print(json.dumps({"orders": orders, "told": told, "events": events}), flush=True)
"""


@pytest.mark.parametrize(
    ("orders", "kills"), [(100, 1), pytest.param(1000, 3, marks=pytest.mark.chaos)], ids=["short", "whole"]
)
def test_each_order_and_each_event_once(
    database: str, server_folder: Path, service: Path, orders: int, kills: int
) -> None:
    """The service has the client's wheel and its two libraries, and knows nothing of the kills."""
    settings = Settings(
        dsn=database, home=server_folder, port=free_port(), operator_key=SecretStr(OPERATOR_KEY), log_level="error"
    )
    url = f"http://127.0.0.1:{settings.port}"
    (service / "main.py").write_text(SERVICE)
    with ExitStack() as stack:
        server = stack.enter_context(served(settings))[0]
        http = stack.enter_context(httpx.Client(base_url=url, timeout=10))
        exchange = Exchange(None, Api(http, OPERATOR_KEY))  # type: ignore[arg-type]  # it runs elsewhere
        market, trader = exchange.market(subsidy="10000"), exchange.trader("10000")
        environment = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(service), "URL": url,
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
        assert kills == 0
        assert found["orders"] == [name for _, kind, name in found["told"] if kind == "OrderPlaced"] == names
        assert len({fill["order_id"] for fill in fills}) == len(fills) == orders
        kinds = {kind for _, kind, _ in found["told"]}
        assert [event for event in found["events"] if event[1] in kinds] == [each[:2] for each in found["told"]]
        log = exchange.api.data("/events", account=trader.account_id, limit=1000)
        assert [event["position"] for event in log] == [position for position, _ in found["events"]][: len(log)]
