"""Connections that take what they should not: slow headers, half bodies, idle sockets, floods. With plain sockets."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from copy import copy
from select import select
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.http import connections
from api.http.addresses import network_of
from api.http.bounded_http import BoundedHttp
from api.http.server import RECEIVED_BYTES, HttpServer
from local.processes import polls
from tests.api.conftest import OPERATOR_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.conftest import Exchange

SOON = 8.0
"""Seconds in which a server must have ended what takes longer than the limits of these tests, which are shorter."""

SHORT = {"header_ms": 500, "body_ms": 2_500, "idle_ms": 700, "unread_ms": 500}
KEY = f"authorization: Bearer {OPERATOR_KEY}\r\n"
POST = "POST /v1/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@contextmanager
def serving(exchange: Exchange, **limits: Any) -> Iterator[httpx.URL]:
    """Serve the exchange on another port, with these limits."""
    dependencies = copy(exchange.running.dependencies)
    dependencies.settings = exchange.running.settings.model_copy(update={"stop_ms": 1_000, **limits})
    with HttpServer(dependencies.app(exchange.running.gateway), dependencies.settings) as server:
        yield httpx.URL(server.url)


@pytest.fixture(scope="module")
def url(exchange: Exchange) -> Iterator[httpx.URL]:
    """A server that is soon tired of slow clients."""
    with serving(exchange, **SHORT) as found:
        yield found


_connections: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    """Close the connections of each test."""
    yield
    while _connections:
        _connections.pop().close()


def connected(url: httpx.URL, source: str = "127.0.0.1") -> socket.socket:
    """Return a connection from an address of this machine."""
    connection = socket.create_connection((url.host, url.port or 0), timeout=SOON, source_address=(source, 0))
    _connections.append(connection)
    return connection


def rest(connection: socket.socket) -> str:
    """Return all that the server sends before it hangs up."""
    found = b""
    try:
        while part := connection.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found.decode()


def answered(connection: socket.socket) -> bytes:
    """Return an answer of the server, without waiting for the end of the connection."""
    return connection.recv(65_536)


def is_well(url: httpx.URL) -> bool:
    """Return whether somebody else is served."""
    return httpx.get(url.join("/healthz")).status_code == httpx.codes.OK


def test_a_header_that_never_ends_is_refused(url: httpx.URL) -> None:
    """As soon as it is longer than 16 KiB, in one piece or in many; a header just below that is taken."""
    for part in (b"a" * 1_000_000, b"a" * 1_000):
        connection = connected(url)
        began = monotonic()
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nlong: ")
        try:
            for _ in range(200):
                connection.sendall(part)
        except OSError:
            pass
        found = rest(connection)
        assert not found or ("431" in found.partition("\r\n")[0] and '"HEADERS_TOO_LARGE"' in found), found
        assert monotonic() - began < SHORT["header_ms"] / 1000 + 2
    small = connected(url)
    small.sendall(
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nlong: " + b"a" * 16_000 + b"\r\n\r\n"
    )
    assert rest(small).startswith("HTTP/1.1 200")
    assert is_well(url)


@pytest.mark.parametrize("begin", ["GET /heal", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nslow: a", "\r\n\r\n"])
def test_a_header_that_takes_too_long_is_refused(url: httpx.URL, begin: str) -> None:
    """However busily it drips."""
    connection = connected(url)
    connection.sendall(begin.encode())
    connection.settimeout(0.1)
    began, found = monotonic(), b""
    while monotonic() - began < SOON:
        try:
            connection.send(b"a" if begin.strip() else b"\r\n")
            found += connection.recv(65_536) or b"<end>"
        except TimeoutError:
            continue
        except OSError:
            break
        if found.endswith(b"<end>"):
            break
    assert monotonic() - began < SOON, "it is still open"
    assert not found.strip(b"<end>") or b"408" in found, found


def test_a_connection_without_a_request_ends(url: httpx.URL) -> None:
    """A new one, one that was used, and one that sends only empty lines after a request."""
    new, used, dripping = connected(url), connected(url), connected(url)
    for connection in (used, dripping):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert answered(connection).startswith(b"HTTP/1.1 200")
    dripping.sendall(b"\r\n")
    assert [rest(each) for each in (new, used, dripping)] == [""] * 3


@pytest.mark.parametrize("body", [b"", b"{", b'{"client_order_id": "'])
def test_a_body_that_stands_still_is_refused(url: httpx.URL, body: bytes) -> None:
    """After the first second it must come with 1 KiB a second."""
    connection = connected(url)
    connection.sendall(f"{POST}{KEY}content-length: 1000\r\n\r\n".encode() + body)
    found = rest(connection)
    assert found.startswith("HTTP/1.1 408")
    assert '"REQUEST_TIMEOUT"' in found


def test_a_body_that_came_fast_must_not_stand_still(exchange: Exchange) -> None:
    """It is not kept for as long as its first part would allow."""
    with serving(exchange) as url:
        connection = connected(url)
        connection.sendall(f"{POST}{KEY}content-length: 1000000\r\n\r\n".encode() + b" " * 500_000)
        assert rest(connection).startswith("HTTP/1.1 408")


def test_a_body_has_only_so_much_time(url: httpx.URL) -> None:
    """Even one that keeps to the smallest rate."""
    connection = connected(url)
    connection.sendall(f"{POST}{KEY}transfer-encoding: chunked\r\n\r\n".encode())
    connection.settimeout(0.25)
    began, found = monotonic(), b""
    while not found and monotonic() - began < SOON:
        try:
            connection.send(b"400\r\n" + b" " * 1024 + b"\r\n")
            found = connection.recv(65_536)
        except TimeoutError:
            continue
        except OSError:
            break
    assert SHORT["body_ms"] / 1000 < monotonic() - began < SOON
    assert found.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("key", ["", "authorization: Bearer nobody\r\n"])
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/accounts", "/v1/quotes", "/v1/stories"])
def test_nobody_sends_a_body_without_a_key(url: httpx.URL, path: str, key: str) -> None:
    """The answer comes before the body is there."""
    connection = connected(url)
    head = POST.replace("/v1/orders", path)
    connection.sendall(f"{head}{key}expect: 100-continue\r\ncontent-length: 1000000\r\n\r\n".encode())
    assert answered(connection).startswith(b"HTTP/1.1 401")


def test_a_client_that_sends_too_much_gets_its_answer(url: httpx.URL) -> None:
    """Also one that reads only when it has sent everything, and its connection goes on."""
    with httpx.Client(base_url=url) as client:
        for size in (1_100_000, 5_000_000):
            answer = client.post("/v1/orders", content=b" " * size, headers={"authorization": KEY[15:].strip()})
            assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
            assert client.get("/healthz").status_code == httpx.codes.OK


def test_what_follows_an_answer_is_not_read_for_ever(url: httpx.URL) -> None:
    """A refused body of any length costs the server no more than one that it takes."""
    connection = connected(url)
    connection.sendall(f"{POST}content-length: 10000000000\r\n\r\n".encode())
    with pytest.raises(ConnectionError):
        connection.sendall(b" " * (256 << 20))


def test_an_answer_that_nobody_reads_is_given_up(url: httpx.URL) -> None:
    """The answers to many requests do not gather in the memory of the server."""
    connection = socket.socket()
    _connections.append(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(0.2)
    connection.connect((url.host, url.port or 0))
    request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
    assert any(not _takes(connection, request) for _ in polls(SOON)), "it is still open"


def _takes(connection: socket.socket, data: bytes) -> bool:
    """Send more, and return whether the connection is open."""
    try:
        connection.send(data)
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    return True


def test_one_connection_sends_few_requests_ahead(url: httpx.URL) -> None:
    """Some are served, a flood is not."""
    request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    connection = connected(url)
    connection.sendall(request * 20)
    assert rest(connection).count("HTTP/1.1 200") == 20
    connection = connected(url)
    connection.sendall(request * 5_000)
    assert rest(connection).count("HTTP/1.1 200") < 5_000


def test_what_is_no_http_gets_an_error_of_the_usual_form(url: httpx.URL) -> None:
    """Code, message and details."""
    connection = connected(url)
    connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
    found = rest(connection)
    assert found.startswith("HTTP/1.1 400")
    assert '"MALFORMED_REQUEST"' in found


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_target_that_is_no_url_is_refused(url: httpx.URL, before: bytes) -> None:
    """Also as the first request of a connection: no error of the server, and an answer."""
    with connected(url) as connection:
        if before:
            connection.sendall(before)
            assert answered(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert '"code":"MALFORMED_REQUEST"' in rest(connection)


def test_one_address_keeps_no_other_out(exchange: Exchange) -> None:
    """Idle connections give way to new ones; connections with requests do not, and the next one is refused."""
    with serving(exchange, connections_max=20, address_connections_max=8) as url:
        idle = [connected(url, "127.0.0.2") for _ in range(30)]
        assert is_well(url)
        busy = [connected(url, "127.0.0.3") for _ in range(8)]
        for connection in busy:
            connection.sendall(f"{POST}{KEY}expect: 100-continue\r\ncontent-length: 9\r\n\r\n".encode())
        for connection in busy:
            assert connection.recv(100).startswith(b"HTTP/1.1 100"), "the request is under way"
        refused = connected(url, "127.0.0.3")
        found = rest(refused)
        assert found.startswith("HTTP/1.1 503")
        assert '"TOO_MANY_CONNECTIONS"' in found
        assert "retry-after: 1" in found
        assert is_well(url)
        more = [connected(url, "127.0.0.3") for _ in range(3)]
        assert all(rest(each).startswith("HTTP/1.1 503") for each in more)
        for connection in [*idle, *busy]:
            connection.close()
        assert any(_opens(url, "127.0.0.3") for _ in polls(SOON)), "a place is free again"


def _opens(url: httpx.URL, source: str) -> bool:
    """Return whether an address is served."""
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport) as client:
        return client.get(url.join("/healthz")).status_code == httpx.codes.OK


def test_half_bodies_hold_little_memory(exchange: Exchange) -> None:
    """All bodies that arrive share an allowance. What is beyond is refused at once, and others' small bodies are taken."""
    half = f"{POST}{KEY}content-length: 200000\r\n\r\n".encode() + b" " * 150_000
    with serving(exchange, **SHORT, bodies_bytes_max=1_000_000) as url:
        connections = [connected(url) for _ in range(20)]
        for connection in connections:
            connection.sendall(half)
        found = [rest(each) for each in connections]
        assert {answer.partition("\r\n")[0].split()[1] for answer in found} == {"408", "503"}
        assert all('"BUSY"' in answer or '"REQUEST_TIMEOUT"' in answer for answer in found)
        assert 6 >= sum("408" in answer.partition("\r\n")[0] for answer in found) > 0
        whole = connected(url)
        whole.sendall(f"{POST}{KEY}connection: close\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        assert rest(whole).startswith("HTTP/1.1 422")


def test_large_bodies_keep_no_orders_out(exchange: Exchange) -> None:
    """While half bodies have used the allowance up, a small body is taken."""
    half = f"{POST}{KEY}content-length: 200000\r\n\r\n".encode() + b" " * 150_000
    with serving(exchange, bodies_bytes_max=900_000, body_bytes_max=200_000) as url:
        connections = [connected(url) for _ in range(7)]
        for connection in connections:
            connection.sendall(half)
        full, _, _ = select(connections, [], [], SOON)
        assert b'"BUSY"' in answered(full[0]), "no more large ones are taken"
        whole = connected(url)
        whole.sendall(f"{POST}{KEY}connection: close\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        assert rest(whole).startswith("HTTP/1.1 422")


def test_an_address_of_ipv6_is_its_network() -> None:
    """Whoever has one address of a /64 has all of them."""
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::"
    assert network_of("nonsense:") == "nonsense:"


def test_little_of_a_body_is_taken_before_it_is_judged(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it comes: what hundreds of connections have sent at once must fit into memory."""
    pieces: list[int] = []
    receive = BoundedHttp.data_received

    def noted(self: BoundedHttp, data: bytes) -> None:
        pieces.append(len(data))
        receive(self, data)

    monkeypatch.setattr(BoundedHttp, "data_received", noted)
    size = 8 << 20
    with serving(exchange) as address:
        connection = connected(address)
        connection.sendall(f"{POST}{KEY}content-length: {size}\r\n\r\n".encode() + bytes(size))
        assert b" 413 " in answered(connection)
    assert len(pieces) > 8
    assert max(pieces) <= 2 * RECEIVED_BYTES


def test_a_flood_of_refused_bodies_is_passed_over_slowly(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them share what is read in a second, so that others are served; nobody is cut off for it."""
    monkeypatch.setattr(connections, "PASSED_OVER_BYTES", 1024 * 1024)
    size = 1_000_000
    head = f"{POST}content-length: {size}\r\n\r\n".encode()
    with serving(exchange) as url:
        flood = [connected(url) for _ in range(20)]
        left = dict.fromkeys(flood, size)
        for each in flood:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            each.sendall(head)
            assert answered(each).startswith(b"HTTP/1.1 401")
            each.setblocking(False)

        def sent(seconds: float) -> int:
            before, ends = sum(left.values()), monotonic() + seconds
            while monotonic() < ends:
                for each in select([], [each for each in flood if left[each]], [], 0.1)[1]:
                    left[each] -= each.send(bytes(min(left[each], 65_536)))
            return before - sum(left.values())

        assert sent(0.8) < 20 * size / 2
        assert is_well(url)
        assert any(sent(0.5) for _ in polls(20))
