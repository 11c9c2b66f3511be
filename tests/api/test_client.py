"""The small HTTP client: what it says when no server, or another one, answers."""

from __future__ import annotations

import http.server
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from api.client import HttpClient, NoServerError, server_url
from local.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


class TextServer(http.server.ThreadingHTTPServer):
    """Answers every read with the next of its texts, and closes the connection when there is none left."""

    texts: list[bytes]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: TextServer

    def do_GET(self) -> None:
        """Answer."""
        if not self.server.texts:
            return
        text = self.server.texts.pop(0)
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def other() -> Iterator[TextServer]:
    """A server that is not Tidings."""
    with TextServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    """However long the client would send again, the first refusal is the last, and it names the URL."""
    url = f"http://127.0.0.1:{free_port()}"
    begun = time.monotonic()

    with closing(HttpClient(url, retry_seconds=60)) as client, pytest.raises(NoServerError, match=url):
        client.get("/v1/status")

    assert time.monotonic() - begun < 5


def test_a_server_that_has_answered_is_asked_again(other: TextServer) -> None:
    """After the first answer a broken connection is tried again until time is over; then the URL is named."""
    other.texts = [b'{"data": 1}']
    url = f"http://127.0.0.1:{other.server_port}"

    with closing(HttpClient(url, retry_seconds=0.3)) as client:
        assert client.get("/")["data"] == 1
        begun = time.monotonic()
        with pytest.raises(NoServerError, match=url):
            client.get("/")
    assert time.monotonic() - begun > 0.3


@pytest.mark.parametrize("text", [b"<html>", b"[1]", b"\xff"])
def test_another_server_is_said_to_be_another(other: TextServer, text: bytes) -> None:
    """Anything but a JSON object is not an answer of Tidings."""
    other.texts = [text]

    with (
        closing(HttpClient(f"http://127.0.0.1:{other.server_port}")) as client,
        pytest.raises(NoServerError, match="is not Tidings"),
    ):
        client.get("/")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("localhost:8000", "k"),
        ("127.0.0.1:8000", "k"),
        ("", "k"),
        ("http://", "k"),
        ("http://a:b", "k"),
        ("http://a:70000", "k"),
        ("http://a b", "k"),
        ("ftp://127.0.0.1", "k"),
        ("http://127.0.0.1", "a key"),
        ("http://127.0.0.1", ""),
        ("http://127.0.0.1", "ключ"),
    ],
)
def test_what_is_no_url_or_key_is_refused(url: str, key: str) -> None:
    """No connection is tried to another address than the one that was meant."""
    with pytest.raises(ValueError, match=r"is not the URL|no key has"):
        HttpClient(url, key)


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8123"), ("0.0.0.0", "http://127.0.0.1:8123"), ("::1", "http://[::1]:8123")],  # noqa: S104
)
def test_the_own_server_is_where_the_settings_say(host: str, url: str) -> None:
    """A server that listens on every address is reached at this machine's own."""
    assert server_url(host, 8123) == url
