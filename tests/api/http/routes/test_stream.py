"""The declaration of `GET /v1/stream`: what it declares is what the stream takes."""

from __future__ import annotations

from api.stream.requests import ALL_CHANNELS, DEFAULT_CHANNELS, PARAMETERS
from tests.api.contract import document


def test_the_document_declares_what_the_stream_takes() -> None:
    """Its parameters, the header, the channels, and the one status that is its own."""
    operation = document()["paths"]["/v1/stream"]["get"]
    declared = {(each["in"], each["name"]): each for each in operation["parameters"]}
    assert set(declared) == {*(("query", name) for name in PARAMETERS), ("header", "last-event-id")}
    channels = declared["query", "channels"]
    assert channels["schema"]["default"].split(",") == list(DEFAULT_CHANNELS)
    assert all(name in channels["description"] for name in ALL_CHANNELS)
    assert operation["security"] == [{}, {"key": []}]
    assert "INVALID_FIELD" in operation["responses"]["400"]["x-codes"]
    assert "422" not in operation["responses"]
    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]
