"""The AsyncAPI page of the stream is what the code writes; tests/api/stream/test_asyncapi.py holds the server to it."""

from __future__ import annotations

from messages.channels import CHANNELS
from messages.schemas import asyncapi_stream_page
from messages.stream_page import COMMANDS, STREAM_PAGE, stream_page
from tests.messages.test_asyncapi import references


def test_the_page_is_up_to_date() -> None:
    """`python -m messages.schemas` writes it."""
    assert asyncapi_stream_page() == STREAM_PAGE.read_text(encoding="utf-8")


def test_the_page_names_both_ways_and_refers_to_nothing_outside() -> None:
    """Every channel over both, every command; references lead to parts of the page."""
    page = stream_page()
    assert {each["address"] for each in page["channels"].values()} == {"/v1/stream", "/v1/ws"}
    named = set(page["components"]["messages"])
    assert named >= {f"{way}.{channel}" for way in ("sse", "ws") for channel in CHANNELS}
    assert {name for name in named if name.startswith("command.")} == {f"command.{each}" for each in COMMANDS}
    for reference in set(references(page)):
        target = page
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
