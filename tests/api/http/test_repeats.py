"""Requests that come again byte by byte: answered without being parsed, and in no other way than the first time."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from api.http.bounded_http import BoundedHttp
from api.http.connections import Connections
from api.http.entrance import Entrance
from api.http.server import HttpServer
from local.processes import polls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Receive, Scope, Send

    from api.http.app import App
    from tests.api.conftest import Exchange

PATH = "/v1/leaderboard"


@dataclass
class Line:
    """A connection of plain bytes, and the paths of the requests on the server's connections that were parsed."""

    connection: socket.socket
    parsed: list[str]

    def ask(self, request: bytes, answers: int = 1) -> list[bytes]:
        """Send bytes, and return so many answers, with the numbers that differ from answer to answer made equal."""
        self.connection.sendall(request)
        found = b""
        while len(parts := whole_answers(found)) < answers:
            part = self.connection.recv(65_536)
            assert part, found
            found += part
        return parts


def whole_answers(text: bytes) -> list[bytes]:
    """Return the answers in what a server has sent so far."""
    found = []
    while b"\r\n\r\n" in text:
        head, _, rest = text.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            break
        found.append(re.sub(rb"\r\n(date|x-request-id): [^\r]*", rb"\r\n\1: .", head) + b"\r\n\r\n" + rest[:size])
        text = rest[size:]
    return found


def settle(exchange: Exchange) -> None:
    """Wait until the read models have all: nothing moves on while a test asks."""
    for _ in polls(10):
        at = {"min_position": exchange.head()}
        if exchange.api.client.get(PATH, params=at, headers=exchange.api.headers).is_success:
            return


@contextmanager
def serving(exchange: Exchange, **limits: Any) -> Iterator[Callable[[], Line]]:
    """Serve the exchange with these limits, and yield what makes connections."""
    settle(exchange)
    dependencies = copy(exchange.running.dependencies)
    dependencies.settings = exchange.running.settings.model_copy(update={"stop_ms": 1_000, **limits})
    app = dependencies.app(exchange.running.gateway)
    usual, parsed = app.entrance, []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        parsed.append(scope["path"])
        await usual(scope, receive, send)

    app.entrance = note
    lines: list[Line] = []
    with HttpServer(app, dependencies.settings) as server:
        port = int(server.url.rpartition(":")[2])

        def connect() -> Line:
            lines.append(Line(socket.create_connection(("127.0.0.1", port), timeout=10), parsed))
            return lines[-1]

        yield connect
        for line in lines:
            line.connection.close()


def get(path: str = PATH, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Return the bytes of a request."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "host: localhost", *headers, "", ""]).encode()


def tag_of(answer: bytes) -> str:
    """Return the tag of an answer."""
    found = re.search(rb"etag: ([^\r]+)", answer)
    assert found is not None, answer
    return found[1].decode()


def test_a_request_that_comes_again_is_not_parsed(exchange: Exchange) -> None:
    """Its answer is the same but for date and id; the metrics count it. The id may be the client's."""
    with serving(exchange) as connect:
        line = connect()
        (first,) = line.ask(get())
        for request in (get(), get(PATH, f"if-none-match: {tag_of(first)}"), get(PATH, "x-request-id: mine")):
            known, *others = [line.ask(request)[0] for _ in range(5)]
            assert set(others) == {known}
        assert line.parsed == [PATH] * 4
        operator = f"authorization: {exchange.api.headers['authorization']}"
        metrics = line.ask(get("/metrics", operator))[0].decode()
        assert f'route="{PATH}",status="304"}} 5.0' in metrics
        assert f'route="{PATH}",status="200"}} 11.0' in metrics


def test_each_answer_has_an_id_of_its_own(exchange: Exchange) -> None:
    """An answer that is given again has the id of its own line in the log."""
    with serving(exchange) as connect:
        connection = connect().connection
        ids = []
        for _ in range(5):
            connection.sendall(get(PATH, "accept-encoding: identity"))
            text = b""
            while not whole_answers(text):
                text += connection.recv(65_536)
            found = re.search(rb"x-request-id: (\w{16})\r\n", text)
            assert found is not None, text
            ids.append(found[1])
        assert len(set(ids)) == 5


def test_requests_that_come_again_count_for_the_limits(exchange: Exchange) -> None:
    """The fourth and the fifth find the bucket empty."""
    with serving(exchange, address_reads_per_second=0.001, burst_ms=3_000_000) as connect:
        line = connect()
        assert [int(line.ask(get())[0].split()[1]) for _ in range(5)] == [200, 200, 200, 429, 429]


def test_a_revoked_key_gets_no_answer_again(exchange: Exchange) -> None:
    """Nor does the answer for another key, on the same connection."""
    trader, other = exchange.trader("100"), exchange.trader("100")
    path = f"/v1/accounts/{trader.account_id}/orders"
    with serving(exchange) as connect:
        line = connect()

        def status(headers: dict[str, str]) -> int:
            lines = [f"{name}: {value}" for name, value in headers.items()]
            return int(line.ask(get(path, *lines))[0].split()[1])

        own = trader.api.headers
        assert [status(each) for each in (own, own, own, other.api.headers, {}, own)] == [200, 200, 200, 403, 401, 200]
        key = next(each for each in exchange.api.data("/keys") if each["account_id"] == trader.account_id)
        assert exchange.api.send("DELETE", f"/keys/{key['key_id']}").is_success
        for _ in polls(10):
            if status(own) == 401:
                break
        assert status(own) == 401


def test_an_answer_again_is_the_newest(exchange: Exchange) -> None:
    """Once anything has happened, whoever has seen it sees it in the same request, too."""
    with serving(exchange) as connect:
        line = connect()
        answers = [line.ask(get())[0] for _ in range(3)]
        exchange.trader("100")
        head = exchange.head()
        (awaited,) = connect().ask(get(f"{PATH}?min_position={head}&wait_ms=5000"))
        assert awaited.startswith(b"HTTP/1.1 200")
        (moved,) = line.ask(get())
        position = re.search(rb'"position":(\d+)', moved)
        assert position is not None, moved
        assert int(position[1]) >= head
        assert moved not in answers


PIECES = [
    get(),
    get() * 2,
    get() + get()[:20],
    get()[20:],
    get()[:20],
    b"\r\n",
    get(method="HEAD"),
    get(PATH, "content-length: 3") + b"abc",
    get(PATH, "expect: 100-continue"),
    get(PATH, "connection: upgrade", "upgrade: h2c"),
    get(PATH, "connection: close"),
    get(version="1.0"),
    get(PATH, "host: example.com"),
    get("/v1/nothing"),
    b"nonsense\r\n\r\n",
]


class Wire(asyncio.Transport):
    """What a server wrote, and whether it has hung up."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written += data

    def close(self) -> None:
        """Note it."""
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        """Return whether the server has hung up."""
        return self.closed

    def get_write_buffer_size(self) -> int:
        """Return that all is sent."""
        return 0

    def pause_reading(self) -> None:
        """Do nothing: no piece comes before the server has done all."""

    resume_reading = pause_reading


async def fed(app: App, pieces: list[bytes]) -> tuple[bytes, bool]:
    """Return what a connection writes for these pieces, one after another, and whether it hangs up."""
    context, wire, state = app.state.context, Wire(), ServerState()
    config = Config(app, lifespan="off", log_config=None, access_log=False)
    config.load()
    protocol: Any = BoundedHttp(
        Connections(context.settings, context.metrics), config=config, server_state=state, app_state={}
    )
    protocol.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            protocol.data_received(piece)
        while state.tasks:
            await asyncio.gather(*state.tasks)
    protocol.connection_lost(None)
    return re.sub(rb"\r\nx-request-id: \w{16}\r\n", b"\r\nx-request-id: .\r\n", wire.written), wire.closed


def test_any_pieces_get_the_bytes_that_parsing_gets(exchange: Exchange) -> None:
    """Requests in pieces, ahead of their answers, with bodies, upgrades and nonsense: as on a connection that parses all."""
    settle(exchange)
    dependencies, some, again = copy(exchange.running.dependencies), Random(5), 0  # noqa: S311  no secret
    dependencies.settings = exchange.running.settings.model_copy(update={"address_reads_per_second": 0})

    async def compare() -> None:
        nonlocal again
        app = dependencies.app(exchange.running.gateway)
        parsing = copy(app)
        parsing.entrance = Entrance(parsing.serve, app.state.context.settings)
        parsing.kept_reads = copy(app.kept_reads)
        parsing.kept_reads._repeats = False  # type: ignore[attr-defined]
        usual = app.kept_reads._admit_again  # type: ignore[attr-defined]

        def count(*arguments: Any) -> str | None:
            nonlocal again
            again += 1
            return cast("str | None", usual(*arguments))

        app.kept_reads._admit_again = count  # type: ignore[attr-defined]
        await fed(app, [get()])
        for _ in range(150):
            chosen = [some.choice(PIECES[: 1 + some.randrange(len(PIECES))]) for _ in range(6)]
            pieces = [piece for piece in chosen for _ in range(some.randrange(1, 4))]
            assert await fed(app, pieces) == await fed(parsing, pieces), pieces

    asyncio.run(compare())
    assert again > 100
