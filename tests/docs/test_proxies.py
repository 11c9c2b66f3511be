"""The configurations for nginx and Caddy in docs/security.md, with the real programs in front of a real exchange.

pytest -m chaos tests/docs/test_proxies.py      each test is skipped where its program is not installed
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx
import pytest
from psycopg.conninfo import make_conninfo
from websockets.sync.client import connect

from local.postgres import create_database, drop_database
from local.processes import free_port, polls
from tests.api.conftest import Api, Exchange, Trader, connected, start

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.chaos

PAGE: Final = Path(__file__).parents[2] / "docs" / "security.md"
BEAT_SECONDS: Final = 6.0
BURST: Final = 12
"""The reads of one address before the exchange refuses more, in a minute or so."""

NGINX: Final = """
daemon off; {user} pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {page}
}}
"""
"""What the page leaves to the reader's own configuration."""


class Proxied(NamedTuple):
    """An exchange behind a proxy."""

    exchange: Exchange
    port: int

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"http://127.0.0.1:{self.port}"


def from_page(language: str, changes: dict[str, str]) -> str:
    """Return the page's configuration with these changes; every one must find its text."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    text = found[1]
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def command(name: str, folder: Path, port: int, upstream: str) -> list[str]:
    """Write the configuration of a proxy, with shorter times, and return the command that runs it."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"{name} is not installed")
    server = upstream.removeprefix("http://")
    if name == "nginx":
        changes = {"listen 443 ssl": f"listen 127.0.0.1:{port}", "127.0.0.1:8000": server}
        changes |= {"client_header_timeout 10s": "client_header_timeout 1s"}
        user = "user root;" if Path(folder).owner() == "root" else ""
        text = NGINX.format(folder=folder, user=user, page=from_page(name, changes))
        (folder / "nginx.conf").write_text(text)
        return [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    changes = {"exchange.example.org": f"http://127.0.0.1:{port}", "127.0.0.1:8000": server}
    changes |= {"read_header 10s": "read_header 1s", "{\n    servers {": "{\n    admin off\n    servers {"}
    (folder / "Caddyfile").write_text(from_page("caddyfile", changes))
    return [program, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@contextmanager
def behind(name: str, exchange: Exchange, folder: Path) -> Iterator[Proxied]:
    """Run a proxy in front of the exchange."""
    folder.mkdir()
    port = free_port()
    arguments = command(name, folder, port, exchange.running.url)
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, env={"HOME": str(folder)})
    try:
        for _ in polls(20):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "output.txt").read_text()
        yield Proxied(exchange, port)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def exchange_behind(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """An exchange that believes a proxy at 127.0.0.1, and whose reads without a key are few."""
    create_database(postgres_dsn, "proxied")
    dsn = make_conninfo(postgres_dsn, dbname="proxied")
    few = {"address_reads_per_second": BURST / 600, "burst_ms": 600_000, "stream_beat_ms": int(BEAT_SECONDS * 1000)}
    with start(dsn, tmp_path_factory.mktemp("proxied"), proxies="127.0.0.1", **few) as running:
        exchange = connected(running)
        yield exchange
        exchange.api.client.close()
    drop_database(postgres_dsn, "proxied")


@pytest.fixture(params=["nginx", "caddy"])
def proxied(request: pytest.FixtureRequest, exchange_behind: Exchange, tmp_path: Path) -> Iterator[Proxied]:
    """The exchange behind each of the proxies."""
    with behind(request.param, exchange_behind, tmp_path / "proxy") as found:
        yield found


def reads(proxied: Proxied, address: str, **headers: str) -> list[int]:
    """Return the statuses of reads without a key from an address, of one more than the exchange takes."""
    with httpx.Client(base_url=proxied.url, transport=httpx.HTTPTransport(local_address=address)) as client:
        return [client.get("/v1/stories", headers=headers).status_code for _ in range(BURST + 1)]


def test_orders_and_limits_of_addresses(proxied: Proxied) -> None:
    """An order passes. Each client has its own rates, and none by a header that it sends itself."""
    market, trader = proxied.exchange.market(), proxied.exchange.trader()
    with httpx.Client(base_url=proxied.url) as client:
        through = Trader(Api(client, trader.api.key), trader.account_id, trader.name)
        assert through.place(market["market_id"])["status"] == "filled"

    own = f"127.0.{proxied.port % 250 + 1}"
    assert reads(proxied, f"{own}.1") == [*[200] * BURST, 429]
    assert set(reads(proxied, f"{own}.1", **{"X-Forwarded-For": "203.0.113.7"})) == {429}
    assert reads(proxied, f"{own}.2")[0] == 200


def test_long_headers_and_bodies_end_at_the_proxy(proxied: Proxied) -> None:
    """A header of 17 KiB, and a body of 2 MiB."""
    with httpx.Client(base_url=proxied.url) as client:
        assert client.get("/healthz", headers={"x-long": "x" * 17_000}).status_code in {400, 431}
        trader = proxied.exchange.trader()
        assert client.post("/v1/orders", content=bytes(2 << 20), headers=trader.api.headers).status_code == 413
        assert client.get("/healthz").status_code == 200


def test_a_header_that_never_ends(proxied: Proxied) -> None:
    """The proxy hangs up in time, though a byte comes now and then; the exchange never hears of it."""
    with socket.create_connection(("127.0.0.1", proxied.port)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        slow.settimeout(0.2)
        began = monotonic()
        while monotonic() - began < 10:
            try:
                if not slow.recv(4096):
                    break
            except TimeoutError:
                slow.sendall(b"x")
            except ConnectionResetError:
                break
        assert monotonic() - began < 5


def test_streams_come_at_once(proxied: Proxied) -> None:
    """Server-sent events and a WebSocket, each before the next beat."""
    market, trader = proxied.exchange.market(), proxied.exchange.trader()
    with (
        httpx.Client(base_url=proxied.url, timeout=10) as client,
        client.stream("GET", "/v1/stream", params={"channels": "trades", "market": market["market_id"]}) as events,
        connect(f"ws://127.0.0.1:{proxied.port}/v1/ws", compression=None, proxy=None) as messages,
    ):
        assert events.status_code == 200
        subscribe = {"id": 1, "cmd": "subscribe", "params": {"channels": ["trades"], "markets": [market["market_id"]]}}
        messages.send(json.dumps(subscribe))
        for wanted in ("subscribed", "snapshot"):
            assert json.loads(messages.recv(timeout=10))["type"] == wanted
        lines = events.iter_lines()
        began, position = monotonic(), trader.place(market["market_id"])["position"]
        assert any(line.startswith("event: trades") for line in lines)
        while (message := json.loads(messages.recv(timeout=10)))["type"] != "trades":
            pass
        assert message["position"] == position
        assert monotonic() - began < BEAT_SECONDS / 2
