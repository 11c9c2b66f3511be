"""Field codecs: how one field of a command stands on the wire, what it may hold, and its JSON Schema.

A field codec reads the wire form (`parse`), writes it (`dump`), and holds a value that already has the domain's type to
the same limits (`check`). So a command meets the same limits wherever it enters. `messages.codecs` says which field has
which. Why these are not msgspec's own constraints: docs/decisions/0017-field-codecs.md.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Protocol

from domain.money import MICRO, format_decimal, parse_decimal
from domain.rejections import Code, Rejection
from domain.slugs import SLUG_MAX
from messages.names import nfc
from messages.wire import TIME_MAX, TIME_SCHEMA, Schema, format_time, parse_time


class InvalidCommand(ValueError):  # noqa: N818  the interface calls it so
    """A field of a command breaks a limit: `field` is its path, `details` has the limit."""

    code: Final = Code.INVALID_FIELD

    def __init__(self, field: str, problem: str, **details: str | int) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.details: dict[str, str | int] = {"field": field, **details}

    @property
    def rejection(self) -> Rejection:
        """The same refusal as a value of the domain."""
        return Rejection(self.code, str(self), self.details)


class FieldCodec(Protocol):
    """Reads, checks, writes and describes one field."""

    def parse(self, wire: Any, path: str) -> Any:
        """Return the domain's value of a wire value. Raises InvalidCommand."""

    def check(self, value: Any, path: str) -> None:
        """Raise InvalidCommand when a value of the domain's type breaks a limit."""

    def dump(self, value: Any) -> Any:
        """Return the wire form of a value."""

    def schema(self) -> Schema:
        """Return the JSON Schema of the wire form."""


class SameOnWire:
    """The base of codecs whose wire form is the value itself."""

    def dump(self, value: Any) -> Any:
        """Return the value."""
        return value


# --- texts


@dataclass(frozen=True)
class Text(SameOnWire):
    """A string in NFC of 1 to `longest` characters that matches `pattern`; a refusal describes the pattern by `what`.

    A string in another form becomes NFC as it is parsed. So the same text is the same command, however it was typed.
    """

    longest: int
    pattern: re.Pattern[str]
    what: str

    def parse(self, wire: Any, path: str) -> str:
        """Return the string in NFC."""
        text = nfc(wire) if isinstance(wire, str) else wire
        self.check(text, path)
        return str(text)

    def check(self, value: Any, path: str) -> None:
        """Refuse anything but a string in NFC, and a string that is empty, too long or does not match the pattern."""
        if not isinstance(value, str):
            raise InvalidCommand(path, "must be a string")
        if not 1 <= len(value) <= self.longest:
            raise InvalidCommand(path, f"must have 1 to {self.longest} characters", maximum=self.longest)
        if not self.fits(value):
            raise InvalidCommand(path, f"must be {self.what}")
        if nfc(value) != value:
            raise InvalidCommand(path, "must be in Unicode's form NFC")

    def fits(self, text: str) -> bool:
        """Return whether a text has allowed characters only."""
        return self.pattern.fullmatch(text) is not None and (text.isascii() or _HIDDEN_BEYOND.search(text) is None)

    def schema(self) -> Schema:
        """Return the length and the pattern, without the surrogates: JSON cannot carry them, and not every library knows them."""
        pattern = f"^(?:{self.pattern.pattern.replace(_SURROGATES, '')})$"
        return {"type": "string", "minLength": 1, "maxLength": self.longest, "pattern": pattern}


_SURROGATES: Final = r"\ud800-\udfff"
_HIDDEN: Final = (
    r"\x7f-\x9f"  # control
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # invisible letters and joiners of several scripts
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero-width, bidirectional and line-separator characters
    r"\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"  # more of them, and what is no character
)
"""The characters up to \\uffff that no text has."""

_HIDDEN_BEYOND: Final = re.compile(
    "[\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]|^[\U000e0100-\U000e01ef]"
)
"""Those beyond: format characters and tags; a variant of a glyph at the beginning. Patterns in JSON Schema cannot name them."""

_BLANK: Final = r"\s\u2800"
_UNSEEN: Final = rf"{_BLANK}\ufe00-\ufe0f"
"""What cannot be seen alone: blanks, and characters that choose a variant of the glyph before them."""

_LINE: Final = re.compile(rf"(?!.*[\x00-\x1f{_HIDDEN}])[^{_UNSEEN}](?:.*[^{_BLANK}])?")
_PROSE: Final = re.compile(rf"(?![\s\S]*[\x00-\x08\x0b-\x1f{_HIDDEN}])[\s\S]*[^{_UNSEEN}][\s\S]*")

_VISIBLE: Final = "without control, zero-width, bidirectional or line-separator characters"


def line(longest: int) -> Text:
    """Return the codec of one line of text."""
    return Text(longest, _LINE, f"one line of text {_VISIBLE}, and without blanks at its ends")


def prose(longest: int) -> Text:
    """Return the codec of a text of any number of lines, separated by LF."""
    return Text(longest, _PROSE, f"text {_VISIBLE}, not only blanks")


ID: Final = Text(64, re.compile(r"[!-~]+"), "printable ASCII without blanks")
HASH: Final = Text(64, re.compile(r"[0-9a-f]{64}"), "64 hex digits of a SHA-256")
CLIENT_ORDER_ID: Final = Text(64, re.compile(r"[ -~]+"), "printable ASCII")
OUTCOME: Final = line(100)
SLUG: Final = Text(SLUG_MAX, re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*"), "lower-case words and digits joined by hyphens")
URL: Final = Text(2_000, re.compile(rf"https?://[^\x00-\x1f{_BLANK}{_HIDDEN}]+"), "an http or https URL")
REFERENCE: Final = line(SLUG_MAX)
"""An id, a slug or a name, in another place than its own."""


@dataclass(frozen=True)
class Choice(SameOnWire):
    """One of a few words."""

    words: tuple[str, ...]

    def parse(self, wire: Any, path: str) -> str:
        """Return the word."""
        self.check(wire, path)
        return str(wire)

    def check(self, value: Any, path: str) -> None:
        """Refuse any other word."""
        if not isinstance(value, str) or value not in self.words:
            raise InvalidCommand(path, f"must be one of {', '.join(self.words)}")

    def schema(self) -> Schema:
        """Return the words."""
        return {"enum": list(self.words)}


# --- numbers, times and flags


@dataclass(frozen=True)
class Amount:
    """An amount from `least` to `most` micro-units, a decimal string on the wire."""

    least: int
    most: int

    def parse(self, wire: Any, path: str) -> int:
        """Return the micro-units."""
        if not isinstance(wire, str):
            raise InvalidCommand(path, "must be a decimal number as a string, not a JSON number or anything else")
        try:
            value = parse_decimal(wire)
        except ValueError as error:
            raise InvalidCommand(path, str(error)) from None
        if value == 0 and wire.startswith("-"):
            raise InvalidCommand(path, "must have no sign")
        self.check(value, path)
        return value

    def check(self, value: int, path: str) -> None:
        """Refuse an amount out of bounds."""
        if not self.least <= value <= self.most:
            most = format_decimal(self.most)
            lower = "above 0 and" if self.least == 1 else f"{format_decimal(self.least)} or more and"
            raise InvalidCommand(path, f"must be {lower} at most {most}", maximum=most, given=format_decimal(value))

    def dump(self, value: int) -> str:
        """Return the decimal string."""
        return format_decimal(value)

    def schema(self) -> Schema:
        """Return the pattern of decimal strings, and the bounds in words."""
        return {
            "type": "string",
            "pattern": r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,6})?$",
            "description": f"a decimal number from {format_decimal(self.least)} to {format_decimal(self.most)}",
        }


FRACTION: Final = Amount(0, MICRO)


@dataclass(frozen=True)
class Whole(SameOnWire):
    """An integer from 0 to `most`, a JSON integer on the wire."""

    most: int

    def parse(self, wire: Any, path: str) -> int:
        """Return the integer."""
        if type(wire) is not int:
            raise InvalidCommand(path, "must be an integer")
        self.check(wire, path)
        return wire

    def check(self, value: int, path: str) -> None:
        """Refuse an integer out of bounds."""
        if not 0 <= value <= self.most:
            raise InvalidCommand(path, f"must be 0 to {self.most}", maximum=self.most)

    def schema(self) -> Schema:
        """Return the bounds."""
        return {"type": "integer", "minimum": 0, "maximum": self.most}


class Moment:
    """A time in microseconds since the epoch, RFC 3339 on the wire."""

    def parse(self, wire: Any, path: str) -> int:
        """Return the microseconds since the epoch."""
        if not isinstance(wire, str):
            raise InvalidCommand(path, "must be an RFC 3339 time as a string")
        try:
            return parse_time(wire)
        except ValueError as error:
            raise InvalidCommand(path, str(error)) from None

    def check(self, value: int, path: str) -> None:
        """Refuse a time that RFC 3339 cannot express."""
        if not 0 <= value <= TIME_MAX:
            raise InvalidCommand(path, "must be a time from 1970 to 9999")

    def dump(self, value: int) -> str:
        """Return the time in RFC 3339."""
        return format_time(value)

    def schema(self) -> Schema:
        """Return the format of times."""
        return TIME_SCHEMA


class Flag(SameOnWire):
    """True or false."""

    def parse(self, wire: Any, path: str) -> bool:
        """Return the flag."""
        if not isinstance(wire, bool):
            raise InvalidCommand(path, "must be true or false")
        return wire

    def check(self, value: bool, path: str) -> None:
        """Refuse nothing: a flag has no limits."""

    def schema(self) -> Schema:
        """Return the type."""
        return {"type": "boolean"}


# --- several values, or none


@dataclass(frozen=True)
class Items:
    """At most `most` values of one kind: a JSON array on the wire, a tuple in the domain."""

    item: FieldCodec
    most: int

    def parse(self, wire: Any, path: str) -> tuple[Any, ...]:
        """Return the values, each parsed."""
        if not isinstance(wire, list):
            raise InvalidCommand(path, "must be an array")
        self._check_count(wire, path)
        return tuple(self.item.parse(value, f"{path}[{i}]") for i, value in enumerate(wire))

    def check(self, value: tuple[Any, ...], path: str) -> None:
        """Refuse too many values, and a value that breaks its own limits."""
        self._check_count(value, path)
        for i, item in enumerate(value):
            self.item.check(item, f"{path}[{i}]")

    def dump(self, value: tuple[Any, ...]) -> list[Any]:
        """Return the wire forms of the values."""
        return [self.item.dump(item) for item in value]

    def schema(self) -> Schema:
        """Return the schema of the array."""
        return {"type": "array", "maxItems": self.most, "items": self.item.schema()}

    def _check_count(self, values: Any, path: str) -> None:
        if len(values) > self.most:
            raise InvalidCommand(path, f"must have at most {self.most} items", maximum=self.most)


@dataclass(frozen=True)
class Nullable:
    """A value or null."""

    codec: FieldCodec

    def parse(self, wire: Any, path: str) -> Any:
        """Return None for null, else the value."""
        return None if wire is None else self.codec.parse(wire, path)

    def check(self, value: Any, path: str) -> None:
        """Refuse what the value's codec refuses."""
        if value is not None:
            self.codec.check(value, path)

    def dump(self, value: Any) -> Any:
        """Return null for None, else the value's wire form."""
        return None if value is None else self.codec.dump(value)

    def schema(self) -> Schema:
        """Return the schema of the value or null."""
        return {"anyOf": [self.codec.schema(), {"type": "null"}]}
