"""The AsyncAPI page of the stream is what the code writes; tests/api/stream/test_asyncapi.py holds the server to it."""

from __future__ import annotations

import jsonschema_rs
import msgspec

from messages.channels import CHANNELS, FollowedMarkets, channel_of, wire_of
from messages.events import public_event
from messages.schemas import asyncapi_stream_page
from messages.stream_page import COMMANDS, STREAM_PAGE, stream_page
from tests.messages.test_asyncapi import references
from tests.projections.simulation import simulate


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


def test_what_a_log_says_on_every_channel_fits_the_page() -> None:
    """Every event type of a simulated log, in its public form, and the messages that follow from it."""
    page, followed = stream_page(), FollowedMarkets()
    components = page["components"]
    checks = {
        name: jsonschema_rs.validator_for(
            {**components["messages"][f"sse.{name}"]["payload"], "components": components}
        )
        for name in CHANNELS
    }
    seen = set()
    for recorded in simulate(1, 150):
        messages = [(channel_of(message), wire_of(message)) for message in followed.follow(recorded)]
        for name, message in [*messages, ("events", public_event(recorded))]:
            checks[name].validate(msgspec.json.decode(msgspec.json.encode(message)))
            seen.add(name)
    assert seen == set(CHANNELS)
