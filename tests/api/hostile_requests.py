"""Requests of strangers: malformed, oversize, deep, of wrong types, with forged cursors and keys. All follow from a seed."""

from __future__ import annotations

import json
import re
import socket
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx

from tests.api import contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.api.random_requests import World

ANSWER_SECONDS: Final = 30.0
"""The longest time for an answer: it is longer than all limits of the server."""

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 1.5, 1e308, 2**63, 2**64, 10**400, "", " ", "0", "-1", "1e9", "NaN", "Infinity", "0.0000001"),
    *(
        "9" * 400,
        "a" * 70,
        "a" * 5_000,
        "\0",
        "\u202e",
        "\ud800",
        "é" * 30,
        "'; DROP TABLE log_0_events; --",
        "../../etc",
    ),
    *(
        "%s%n",
        "${x}",
        [],
        {},
        [[]],
        ["Yes"] * 300,
        {"Yes": "1"},
        {"a": {"a": {"a": {}}}},
        "2024-02-30",
        "0000-00-00T00:00Z",
    ),
    *("9999-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z", "Yes", "buy", "sell", "limit", "market", "GTC", "FOK"),
)
"""Values for parameters and fields."""

HEADERS: Final = (
    *(
        "Host: evil.example",
        "Host:",
        "X-Forwarded-For: 1.2.3.4",
        "Range: bytes=0-",
        "If-None-Match: *",
        'If-None-Match: "',
    ),
    *(
        "Accept-Encoding: gzip, br;q=x",
        "Accept: image/png",
        "Content-Type: text/xml",
        "Content-Type: multipart/form-data",
    ),
    *("Idempotency-Key: " + "k" * 300, "Idempotency-Key: \x01", "Idempotency-Key:", "Origin: null", "Cookie: a=b"),
    *(
        "Tidings-Time: never",
        "Content-Encoding: gzip",
        "Expect: 100-continue",
        "Connection: upgrade",
        "Upgrade: websocket",
    ),
    *("Access-Control-Request-Method: DELETE", "Authorization: Basic eA==", "Authorization: Bearer", "TE: trailers"),
)

BROKEN: Final = (
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /v1/markets HTTP/9.9\r\n\r\n",
    b"GET /v1/markets HTTP/1.1\r\nHost: localhost\r\nA" + b"b" * 20_000 + b": c\r\n\r\n",
    b"GET /v1/markets HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 3_000 + b"\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /",
    b"GET /v1/markets HTTP/1.1\nHost: localhost\n\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
)
"""What is no request, or one whose end is in doubt. The server may hang up on it without an answer."""


@dataclass(frozen=True)
class Request:
    """Bytes to send. A `broken` one may be hung up on, and needs a connection of its own."""

    data: bytes
    broken: bool = False


class Hostile:
    """Makes one request after the other."""

    def __init__(self, world: World, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._operations = [
            (method.upper(), path, found)
            for path, methods in contract.document()["paths"].items()
            for method, found in methods.items()
            if method in {"get", "post", "put", "patch", "delete"}
        ]
        self._kinds: tuple[Callable[[], Request], ...] = (*(self._read, self._write) * 8, self._broken, self._noise)

    def next(self) -> Request:
        """Return the next request."""
        return self._chance.choice(self._kinds)()

    def _broken(self) -> Request:
        return Request(self._chance.choice(BROKEN), broken=True)

    def _noise(self) -> Request:
        good = self._read().data
        at = self._chance.randrange(len(good))
        noise = self._chance.randbytes(self._chance.randrange(1, 60))
        return Request(good[:at] + noise + good[at + self._chance.randrange(4) :] + b"\r\n\r\n", broken=True)

    def _read(self) -> Request:
        method, path, found = self._chance.choice([each for each in self._operations if each[0] == "GET"])
        names = [each["name"] for each in found.get("parameters", ()) if each.get("in") == "query"]
        chosen = self._chance.sample(names, min(len(names), self._chance.randrange(4))) + ["surplus"] * self._one_in(20)
        query = "&".join(f"{name}={quote(str(self._value(name)), errors='replace')}" for name in chosen)
        if self._one_in(15):
            method = self._chance.choice(["HEAD", "PUT", "TRACE", "BREW", "OPTIONS"])
        return self._request(method, f"{self._path(path)}?{query}", None)

    def _write(self) -> Request:
        method, path, found = self._chance.choice([each for each in self._operations if each[0] != "GET"])
        return self._request(method, self._path(path), self._body(found))

    def _path(self, path: str) -> str:
        def filled(match: re.Match[str]) -> str:
            return quote(str(self._value(match[1])), safe="" if self._one_in(2) else "/%", errors="replace") or "x"

        return re.sub(r"\{(\w+)\}", filled, path)

    def _body(self, found: dict[str, Any]) -> bytes:
        kind = self._chance.random()
        if kind < 0.002:
            return b"[" + b'{"a":1},' * 150_000 + b"{}]"
        if kind < 0.06:
            return self._chance.choice(
                [b"", b"{", b"[]", b"null", b"1", b'"x"', b"[" * 60_000, b'{"a":' * 9_000, b"\xff\xfe", b"NaN", b"9" * 9_000,
                 b"{" + b",".join(b'"f%d":1' % number for number in range(5_000)) + b"}",
                 b'{"side":"buy","side":"sell"}', b'{"\\ud800":"\\ud800"}', b"\0" * 50]
            )  # fmt: skip
        content = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        schema = contract.document()["components"]["schemas"].get(content.get("$ref", "").rpartition("/")[2], content)
        body = {
            name: self._field(name, each) for name, each in schema.get("properties", {}).items() if not self._one_in(4)
        }
        for _ in range(self._chance.randrange(3)):
            body[self._chance.choice([*body, "surplus"])] = self._chance.choice(VALUES)
        return json.dumps(body).encode()

    def _field(self, name: str, schema: dict[str, Any]) -> Any:
        """Return a value that is mostly right."""
        if name == "orders":
            return [self._order() for _ in range(self._chance.choice([0, 1, 2, 101]))]
        if name in {"client_order_id", "slug", "name", "title"}:
            return f"h-{self._chance.randrange(1 << 40)}"
        if name in self._world.names and not self._one_in(10):
            return self._chance.choice(self._world.names[name])
        if "enum" in schema:
            return self._chance.choice(schema["enum"])
        return self._chance.choice(VALUES)

    def _order(self) -> dict[str, Any]:
        order = {
            name: self._field(name, {}) for name in ("market_id", "outcome", "client_order_id", "spend", "quantity")
        }
        return order | {
            "side": self._chance.choice(["buy", "sell", 1]),
            "type": self._chance.choice(["market", "limit"]),
        }

    def _value(self, name: str) -> Any:
        if name == "cursor":
            return self._cursor()
        known = self._world.names.get(name)
        return self._chance.choice(known) if known and not self._one_in(4) else self._chance.choice(VALUES)

    def _cursor(self) -> str:
        """Return a cursor that was changed somewhere, or one that was made up."""
        real = self._chance.choice(self._world.names["cursor"])
        if self._one_in(2):
            at = self._chance.randrange(len(real))
            return real[:at] + self._chance.choice("AZaz09-_=.%") + real[at + 1 :]
        text = json.dumps([self._chance.choice(VALUES) for _ in range(self._chance.randrange(5))])
        return urlsafe_b64encode(text.encode()).decode()

    def _key(self) -> str | None:
        kind = self._chance.random()
        if kind < 0.7:
            return self._world.keys[self._chance.choice(self._world.roles)]
        real = str(self._world.keys["all"])
        return self._chance.choice([real[:-1], real.upper(), real + "x", "x" * 3_000, "k\x80", "null", "", None])

    def _request(self, method: str, path: str, body: bytes | None) -> Request:
        headers = ["Host: localhost"]
        if (key := self._key()) is not None:
            headers.append(f"Authorization: Bearer {key}")
        odd = self._one_in(5)
        if odd:
            headers += self._chance.sample(HEADERS, self._chance.randrange(1, 4))
        if body is not None:
            headers += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        # An odd header may leave the end of the request in doubt; with control characters it is no header.
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *headers, "", ""])
        return Request(head.encode("latin-1", errors="replace") + (body or b""), odd)

    def _one_in(self, count: int) -> bool:
        return self._chance.randrange(count) == 0


class Line:
    """A connection over which hostile requests go, and a new one after each that was hung up."""

    def __init__(self, url: str) -> None:
        self._address = (httpx.URL(url).host, httpx.URL(url).port or 80)
        self._socket: socket.socket | None = None

    def send(self, request: Request) -> tuple[int, bytes]:
        """Return the status of the answer and its body; 0 if the server hung up without an answer.

        Raises TimeoutError: no answer came in time. Raises OSError where no connection could be made.
        """
        fresh = self._socket is None or request.broken
        while True:
            if fresh:
                self.close()
                self._socket = socket.create_connection(self._address, timeout=ANSWER_SECONDS)
            status, body = self._sent(request)
            if status or fresh:
                return status, body
            fresh = True  # the server had closed the old one in the meantime

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _sent(self, request: Request) -> tuple[int, bytes]:
        assert self._socket is not None, "it is connected"
        try:
            self._socket.sendall(request.data)
            if request.broken:
                self._socket.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass  # hung up on in the middle; there may be an answer all the same
        try:
            status, body, whole = self._answer(request.data.startswith(b"HEAD"))
        except TimeoutError:
            self.close()
            raise
        except OSError:
            status, body, whole = 0, b"", False
        if request.broken or not whole:
            self.close()
        return status, body

    def _answer(self, without_body: bool) -> tuple[int, bytes, bool]:
        assert self._socket is not None, "it is connected"
        data = b""
        while True:
            head, found, rest = data.partition(b"\r\n\r\n")
            if found and not head.startswith(b"HTTP/1.1 100"):
                break
            data = rest if found else data
            if not (part := self._socket.recv(65_536)):
                return 0, data, False
            data += part
        status = int(head[9:12])
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length is None or status == 101:
            return status, rest, status in {204, 304}
        if without_body or status in {204, 304}:
            return status, b"", b"connection: close" not in head.lower()
        while len(rest) < int(length[1]):
            if not (part := self._socket.recv(65_536)):
                return 0, rest, False
            rest += part
        return status, rest, b"connection: close" not in head.lower()


def problem_of(status: int, body: bytes, request: Request) -> str | None:
    """Return what is wrong with an answer: an error of the server without a reason, or none at all."""
    if status == 503:
        if request.data.startswith(b"HEAD"):
            return None  # its answer has no body, and so no place for a reason
        try:
            reason = json.loads(body)
        except ValueError:
            reason = {}
        return None if reason.get("code") or reason.get("missing") else f"503 without a reason: {body[:200]!r}"
    if status == 0:
        return None if request.broken else "no answer"
    return f"{status}: {body[:300]!r}" if status >= 500 else None
