"""Answers in one piece: the same bytes as uvicorn's own answers, and nothing that uvicorn would refuse."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api.http.quick_answers import QuickCycle

HEADERS = [(b"content-type", b"application/json"), (b"x-request-id", b"1")]


class Wire(asyncio.Transport):
    """What was written, and whether the connection was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written.append(bytes(data))

    def close(self) -> None:
        """Note it."""
        self.closed = True


def sent(
    kind: type[RequestResponseCycle], messages: list[dict[str, Any]], method: str = "POST", *, keep_alive: bool = True
) -> tuple[bytes, bool, int, int]:
    """Return the bytes that a cycle wrote, whether it closed the connection, its completions, and its writes."""
    wire, completed = Wire(), []

    async def send() -> None:
        cycle = kind(
            scope={"method": method, "http_version": "1.1"},  # type: ignore[typeddict-item]
            transport=wire,
            flow=FlowControl(wire),
            logger=logging.getLogger("uvicorn"),
            access_logger=logging.getLogger("uvicorn"),
            access_log=False,
            default_headers=[(b"date", b"today")],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=lambda: completed.append(1),
        )
        for message in messages:
            await cycle.send(message)  # type: ignore[arg-type]

    asyncio.run(send())
    return b"".join(wire.written), wire.closed, len(completed), len(wire.written)


def start(headers: list[tuple[bytes, bytes]], status: int = 200) -> dict[str, Any]:
    """Return the message that begins an answer. The cycle may not change its headers."""
    return {"type": "http.response.start", "status": status, "headers": headers}


def parts(*bodies: bytes) -> list[dict[str, Any]]:
    """Return the messages of a body."""
    return [
        {"type": "http.response.body", "body": body, "more_body": number < len(bodies)}
        for number, body in enumerate(bodies, 1)
    ]


@given(
    bodies=st.lists(st.binary(max_size=20), min_size=1, max_size=3),
    method=st.sampled_from(["GET", "POST", "HEAD"]),
    declared=st.booleans(),
    more=st.sampled_from([[], [(b"connection", b"close")], [(b"transfer-encoding", b"chunked")], [(b"etag", b'"1"')]]),
    keep_alive=st.booleans(),
    status=st.sampled_from([200, 201, 404, 503]),
)
def test_an_answer_is_that_of_uvicorn(
    bodies: list[bytes],
    method: str,
    more: list[tuple[bytes, bytes]],
    status: int,
    *,
    declared: bool,
    keep_alive: bool,
) -> None:
    """Whole, in parts, without a length, to HEAD, and on a connection that ends."""
    length = [(b"content-length", b"%d" % sum(map(len, bodies)))] if declared else []
    messages = [start([*HEADERS, *length, *more], status), *parts(*bodies)]

    ours, theirs = (sent(kind, messages, method, keep_alive=keep_alive) for kind in (QuickCycle, RequestResponseCycle))

    assert ours[:3] == theirs[:3]
    if declared and len(bodies) == 1 and keep_alive and method != "HEAD" and more in ([], [(b"etag", b'"1"')]):
        assert ours[3] == 1


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b"])
@pytest.mark.parametrize("length", [b"2", b"3"])
def test_no_header_brings_another_one(value: bytes, length: bytes) -> None:
    """Uvicorn refuses it, and so do we; likewise a body of another length than the head declares."""
    with pytest.raises(RuntimeError):
        sent(QuickCycle, [start([*HEADERS, (b"x-from-others", value), (b"content-length", length)]), *parts(b"{}")])


@pytest.mark.parametrize("body", [b"", b"{}}"])
def test_a_body_has_the_length_that_its_head_declares(body: bytes) -> None:
    """Otherwise the next answer would begin in the middle of this one."""
    with pytest.raises(RuntimeError):
        sent(QuickCycle, [start([*HEADERS, (b"content-length", b"2")]), *parts(body)])


def test_a_stream_begins_at_once() -> None:
    """Its head does not wait for the first event, which may come in an hour."""
    written, _, _, writes = sent(QuickCycle, [start(HEADERS)])

    assert writes == 1
    assert written.startswith(b"HTTP/1.1 200 OK\r\ndate: today\r\n")
