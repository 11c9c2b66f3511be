"""Dead letters: the records of the `dead-letters` topic.

A **letter** keeps a value that could not be understood or decided, with the reason and the value's place. A
**decision** says what somebody did about a letter: `retried` (its commands were sent again) or `skipped`. A letter's
number is its offset.

    {"reason": "...", "topic": "tidings.commands", "partition": 0, "offset": 17, "index": 0, "size": 8, "value": "nonsense"}
    {"letter": 4, "decision": "skipped", "reason": "a test of theirs"}
"""

from base64 import b64decode, b64encode
from typing import Any, Final, Literal, get_args

import msgspec

from messages.json_text import decode_untrusted
from messages.wire import SCHEMA_DIALECT, Schema, object_schema

Verdict = Literal["retried", "skipped"]

VALUE_BYTES_MAX: Final = 1024 * 1024
"""The largest value that a letter keeps whole. A larger one stands in its own topic, as long as that keeps it."""

_KEPT_BYTES: Final = 64 * 1024
"""The bytes that a letter keeps of a larger value."""


class DeadLetter(msgspec.Struct, omit_defaults=True):
    """A value that could not be understood or decided: why, where it stands, and its text (base64 where shorter)."""

    reason: str
    topic: str
    partition: int
    offset: int
    index: int | None
    size: int
    value: str
    key: str | None = None
    encoding: Literal["text", "base64"] = "text"
    truncated: bool = False

    @property
    def place(self) -> tuple[str, int, int, int | None]:
        """The place of the value. A letter may be written twice; its place tells that the two are one."""
        return self.topic, self.partition, self.offset, self.index

    @property
    def raw(self) -> bytes | None:
        """The bytes of the value, None where the letter keeps only some of them. Raises ValueError: they are no base64."""
        if self.truncated:
            return None
        return b64decode(self.value, validate=True) if self.encoding == "base64" else self.value.encode()


class Decision(msgspec.Struct):
    """The action that somebody took on a letter."""

    letter: int
    decision: Verdict
    reason: str


_encode: Final = msgspec.json.Encoder().encode


def make_letter(
    reason: str, place: tuple[str, int, int], index: int | None, value: bytes, key: bytes | None = None
) -> DeadLetter:
    """Return the letter for a value at a place: topic, partition and offset. `index` None means the whole record."""
    kept = value if len(value) <= VALUE_BYTES_MAX else value[:_KEPT_BYTES]
    text, encoding = _text(kept)
    name = None if key is None else key[:200].decode("utf-8", "backslashreplace")
    truncated = len(kept) < len(value)
    return DeadLetter(reason, *place, index, len(value), text, name, encoding, truncated)


def _text(value: bytes) -> tuple[str, Literal["text", "base64"]]:
    """Return the value in a form for a JSON string that grows it by a third at most, and the name of the form."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return b64encode(value).decode(), "base64"
    if 3 * len(_encode(text)) > 4 * len(value) + 300:  # control characters, mostly
        return b64encode(value).decode(), "base64"
    return text, "text"


def dump_letter(letter: DeadLetter | Decision) -> bytes:
    """Return the value of the letter's record."""
    return _encode(letter)


_FIELDS: Final = msgspec.json.Decoder(dict[str, Any])
_LETTER: Final = msgspec.json.Decoder(DeadLetter)
_DECISION: Final = msgspec.json.Decoder(Decision)


def parse_letter(value: bytes) -> DeadLetter | Decision:
    """Return the letter or the decision that a record of the topic holds. Raises ValueError for anything else."""
    if "decision" in decode_untrusted(_FIELDS.decode, value):
        return _DECISION.decode(value)
    letter = _LETTER.decode(value)
    if letter.raw is not None and (letter.size != len(letter.raw) or letter.offset < 0 or letter.partition < 0):
        raise ValueError("the letter's numbers do not fit its value")
    return letter


def dead_letter_schema() -> Schema:
    """Return the JSON Schema of a record of the topic: a letter, or a decision about one."""
    text: Schema = {"type": "string"}
    number: Schema = {"type": "integer", "minimum": 0}
    letter = object_schema(
        {
            "reason": text,
            "topic": text | {"description": "where the value stands"},
            "partition": number,
            "offset": number,
            "index": {
                "anyOf": [number, {"type": "null"}],
                "description": "which command of the record, from 0; null: the whole record",
            },
            "size": number | {"description": "bytes of the value"},
            "value": text,
            "key": text | {"description": "the record's key; missing where it had none"},
            "encoding": {"enum": ["base64"], "description": "missing where the value stands here as plain text"},
            "truncated": {"const": True, "description": "the letter keeps only the beginning of the value"},
        },
        ["reason", "topic", "partition", "offset", "index", "size", "value"],
        "A value that could not be understood or decided.",
    )
    decision = object_schema(
        {
            "letter": number | {"description": "offset of the letter in this topic"},
            "decision": {"enum": list(get_args(Verdict))},
            "reason": text,
        },
        ["letter", "decision", "reason"],
        "What somebody did about a letter.",
    )
    return {
        "$schema": SCHEMA_DIALECT,
        "title": "DeadLetter",
        "description": "One record of the topic dead-letters: a letter, or a decision about one.",
        "anyOf": [letter, decision],
    }
