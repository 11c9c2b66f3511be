"""How the state of an event is embedded in a record: as it is if it is the text of a JSON object, otherwise as base64."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from eventsourcing.persistence import StoredEvent

__all__ = ["BRACE", "DEPTH_MAX", "depth_of", "embedded", "embedded_strictly", "state_bytes"]

BRACE = ord("{")
DEPTH_MAX = 200
"""The deepest nesting of a state that is embedded as JSON. A decoder with a small stack must be able to read it."""

_scanner = msgspec.json.Decoder(Raw)
_strings = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def embedded(event: StoredEvent) -> bytes:
    """Return the state for a record, judged by its first byte alone: whoever calls this must look what became of it."""
    return event.state if event.state[:1] == b"{" else _base64(event.state)


def embedded_strictly(event: StoredEvent) -> bytes:
    """Return the state for a record."""
    return event.state if _is_object(event.state) else _base64(event.state)


def state_bytes(raw: Raw) -> bytes:
    """Return the state that was embedded."""
    state = bytes(raw)
    return state if state[0] == BRACE else b64decode(state[1:-1])


def depth_of(text: bytes) -> int:
    """Return an upper bound of the depth of nesting, which is exact if it is above ``DEPTH_MAX``."""
    opening = text.count(b"{") + text.count(b"[")
    if opening <= DEPTH_MAX:
        return opening
    depth = deepest = 0
    for byte in _strings.sub(b"", text):
        if byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _base64(state: bytes) -> bytes:
    return b'"%b"' % b64encode(state)


def _is_object(state: bytes) -> bool:
    """Tell whether the bytes are the text of exactly one JSON object that is not nested too deeply."""
    if state[:1] != b"{" or state[-1:] != b"}":
        return False
    try:
        state.decode("utf-8")
        _scanner.decode(state)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return depth_of(state) <= DEPTH_MAX
