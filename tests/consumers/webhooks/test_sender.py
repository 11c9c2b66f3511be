"""One request: its headers and signatures, what counts as arrived, and what a receiver cannot do to the sender."""

from __future__ import annotations

import asyncio
import base64
import hmac
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from consumers.webhooks import sender as module
from consumers.webhooks.deliveries import WebhookDelivery
from consumers.webhooks.sender import Failure, Sender, headers_of
from consumers.webhooks.worker import PAUSE_SECONDS_MAX, pause_after
from local.processes import free_port
from tests.consumers.webhooks.receiver import Receiver, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

SECRETS = ["whsec_bmV3IHNlY3JldCBvZiB0aGUgdGVzdHMhIQ==", "whsec_b2xkIHNlY3JldCBvZiB0aGUgdGVzdHMhIQ=="]


def body_of(position: int, market: str) -> WebhookDelivery:
    """Return a delivery about a market."""
    return WebhookDelivery(position, market, b'{"data":{"position":%d,"market_id":"%b"}}' % (position, market.encode()))


def send(url: str, *deliveries: WebhookDelivery, private: bool = True) -> tuple[set[str], Failure | None]:
    """Send deliveries, whose ids are their positions."""

    async def run() -> tuple[set[str], Failure | None]:
        sender = Sender(url, private=private)
        try:
            return await sender.send([(str(each.position), each) for each in deliveries], SECRETS)
        finally:
            await sender.close()

    return asyncio.run(run())


@contextmanager
def answering(text: bytes, pause: float = 0.0) -> Iterator[str]:
    """A server that answers every connection with these bytes, one at a time with a pause; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    for each in [text] if not pause else [text[i : i + 1] for i in range(len(text))]:
                        connection.sendall(each)
                        if ended.wait(pause):
                            return
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_the_signature_is_that_of_the_standard() -> None:
    """HMAC-SHA256 of id, time and body, in base64, once for each secret, as its specification says."""
    found = headers_of("msg_1", b"{}", SECRETS)
    text = f"msg_1.{found['webhook-timestamp']}.{{}}".encode()
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in SECRETS]
    signatures = [f"v1,{base64.b64encode(hmac.digest(key, text, 'sha256')).decode()}" for key in keys]
    assert found["webhook-signature"].split() == signatures
    assert abs(int(found["webhook-timestamp"]) - time.time()) < 5


def test_what_was_answered_with_2xx_has_arrived() -> None:
    """Each delivery verifies with both secrets; those of one market go in order, and stop at one that fails."""
    receiver = Receiver(free_port())
    receiver.secrets = SECRETS
    receiver.answer = lambda found: 500 if found.position == 3 else 200
    with listening(receiver):
        found, failure = send(receiver.url, *[body_of(at, "odd" if at % 2 else "even") for at in range(1, 9)])
    assert not receiver.problems
    assert found == {"1", "2", "4", "6", "8"}
    assert failure == Failure("the receiver answered 500", 500)
    receiver.check_order()
    assert [each.position for each in receiver.refused] == [3]


def test_nothing_listens() -> None:
    """The failure says so; the rest is not tried."""
    found, failure = send(f"http://127.0.0.1:{free_port()}/", body_of(1, "a"), body_of(2, "a"))
    assert found == set()
    assert failure is not None
    assert failure.status == 0
    assert "failed" in failure.error


def test_an_address_that_is_not_public_is_not_reached() -> None:
    """Nothing arrives, not even by a name."""
    receiver = Receiver(free_port())
    with listening(receiver):
        for host in ("127.0.0.1", "localhost", "127.1"):
            found, failure = send(f"http://{host}:{receiver.port}/hook", body_of(1, "a"), private=False)
            assert not found
            assert failure is not None
            assert "not public" in failure.error
    assert not receiver.received
    assert not receiver.problems


def test_redirects_are_not_followed() -> None:
    """A redirect is a failure: it may lead to an address that nobody checked."""
    inside = Receiver(free_port())
    outside = Receiver(free_port())
    outside.answer = lambda _: 307
    outside.headers = {"location": inside.url}
    with listening(inside), listening(outside):
        found, failure = send(outside.url, body_of(1, "a"))
    assert not found
    assert failure == Failure("the receiver answered 307", 307)
    assert not inside.received


def test_a_receiver_may_ask_for_a_pause() -> None:
    """As Retry-After says, for an hour at most; a date or nonsense is left out."""
    receiver = Receiver(free_port())
    receiver.answer = lambda _: 429
    with listening(receiver):
        for given, expected in [("7", 7), ("999999", 3600), ("soon", 0), ("-1", 0)]:
            receiver.headers = {"retry-after": given}
            assert send(receiver.url, body_of(1, "a"))[1] == Failure("the receiver answered 429", 429, expected)


def test_the_certificate_must_be_that_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes to an address, and is still for the name in the URL: in TLS and in `Host`."""
    new = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -keyout key.pem -out cert.pem"
    subprocess.run(
        [*new.split(), "-addext", "subjectAltName=DNS:hooks.example.org"], cwd=tmp_path, check=True, capture_output=True
    )
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, verify=trusted))

    async def loopback(*_: Any, **__: Any) -> str:
        return "127.0.0.1"

    monkeypatch.setattr(module, "resolve", loopback)
    receiver = Receiver(free_port())
    receiver.host = f"hooks.example.org:{receiver.port}"
    with listening(receiver, served):
        assert send(f"https://{receiver.host}/hook?from=tidings", body_of(1, "a")) == ({"1"}, None)
        found, failure = send(f"https://other.example.org:{receiver.port}/hook?from=tidings", body_of(2, "a"))
    assert not found
    assert failure is not None
    assert "certificate" in failure.error.lower()
    assert (len(receiver.received), receiver.problems) == (1, [])


def test_an_endless_answer_is_cut() -> None:
    """What counts is the status; the rest is not read."""
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 1_000_000) as url:
        assert send(url, body_of(1, "a")) == ({"1"}, None)


def test_a_slow_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that sends a byte now and then."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.5)
    began = time.monotonic()
    with answering(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000, pause=0.05) as url:
        found, failure = send(url, body_of(1, "a"))
    assert not found
    assert failure is not None
    assert "no answer" in failure.error
    assert time.monotonic() - began < 5


def test_pauses_grow() -> None:
    """From about a second, twice as long each time, up to ten minutes."""
    for attempts in range(1, 60):
        expected = min(2.0 ** (attempts - 1), PAUSE_SECONDS_MAX)
        assert 0.8 * expected <= pause_after(attempts) <= 1.2 * expected
    assert pause_after(10**9) <= 1.2 * PAUSE_SECONDS_MAX
