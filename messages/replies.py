"""Replies to commands. A reply is a function of the command's events, so it can be made again.

    {"command_id": "...", "digest": "...", "position": 17, "time": "...", "result": {...}}
    {"command_id": "...", "digest": "...", "position": 17, "time": "...", "code": "SLIPPAGE", "message": "...", "details": {...}}

`position` is that of the command's last event. `digest` tells two commands with one id apart. Amounts are decimal
strings, times are in RFC 3339.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from domain.events import Event, Recorded
from domain.money import Time
from domain.partition import CommandRejected
from domain.rejections import Rejection
from messages.json_text import decode_untrusted
from messages.results import Result, result_of
from messages.wire import SCHEMA_DIALECT, TIME_SCHEMA, Schema, format_time, object_schema, parse_time, wire_details


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The reply to a command. `code` is None when it was accepted; `result` and `details` are in wire form."""

    command_id: str
    position: int
    time: Time
    code: str | None = None
    message: str = ""
    details: dict[str, str | int] = {}
    result: Result = {}
    digest: str = ""

    @property
    def rejected(self) -> bool:
        """True if the command was refused."""
        return self.code is not None


def reply_of(events: Sequence[Recorded]) -> Reply:
    """Return the reply to a command, made from all its events in the order of the log."""
    first, last = events[0], events[-1]
    return make_reply(
        first.command_id, first.digest or "", last.position, first.time, [recorded.event for recorded in events]
    )


def make_reply(command_id: str, digest: str, position: int, time: Time, events: Sequence[Event]) -> Reply:
    """Return the reply to a command whose last event has this position."""
    head = events[0]
    if type(head) is CommandRejected:
        return Reply(command_id, position, time, head.code, head.message, wire_details(head.details), {}, digest)
    return Reply(command_id, position, time, result=result_of(events), digest=digest)


def refusal(command_id: str, digest: str, position: int, time: Time, rejection: Rejection) -> Reply:
    """Return the reply for a refusal that is not an event."""
    details = wire_details(rejection.details)
    return Reply(command_id, position, time, rejection.code, rejection.message, details, {}, digest)


# --- JSON


class _Wire(msgspec.Struct, omit_defaults=True):
    command_id: str
    digest: str
    position: int
    time: str
    code: str | None = None
    message: str = ""
    details: dict[str, str | int] = {}
    result: Result | None = None


_encode: Final = msgspec.json.Encoder().encode
_RECORD: Final = msgspec.json.Decoder(list[_Wire])


def dump_reply(reply: Reply) -> bytes:
    """Return the JSON of one reply; `dump_replies` joins several."""
    wire = _Wire(
        reply.command_id,
        reply.digest,
        reply.position,
        format_time(reply.time),
        reply.code,
        reply.message,
        reply.details,
        None if reply.code is not None else reply.result,
    )
    return _encode(wire)


def dump_replies(replies: Sequence[bytes]) -> bytes:
    """Return the value of one record of the `replies` topic that holds these replies."""
    return b"[" + b",".join(replies) + b"]"


def parse_replies(value: bytes) -> list[Reply]:
    """Return the replies of a record. Raises ValueError for anything else."""
    return [
        Reply(
            wire.command_id,
            wire.position,
            parse_time(wire.time),
            wire.code,
            wire.message,
            wire.details,
            wire.result or {},
            wire.digest,
        )
        for wire in decode_untrusted(_RECORD.decode, value)
    ]


def reply_schema() -> Schema:
    """Return the JSON Schema of one reply."""
    properties: dict[str, Schema] = {
        "command_id": {"type": "string"},
        "digest": {"type": "string", "description": "of the command: tells two commands with one id apart"},
        "position": {"type": "integer", "minimum": 0},
        "time": TIME_SCHEMA,
        "code": {"type": "string", "description": "why it was refused; missing when it was accepted"},
        "message": {"type": "string"},
        "details": {"type": "object", "additionalProperties": {"type": ["string", "integer"]}},
        "result": {"type": "object", "description": "what an accepted command did"},
    }
    return {"$schema": SCHEMA_DIALECT, "title": "Reply"} | object_schema(
        properties, ["command_id", "digest", "position", "time"], "The reply to a command."
    )
