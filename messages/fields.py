"""What a field of a command may hold: its form on the wire, its limits, its JSON Schema.

A rule belongs to each field of each command and is derived from the field's type hint, texts and a few others
from the field's name. It reads the wire form (`parse`), writes it (`dump`), and holds a value that is already of the
domain's type to the same limits (`check`), so that a command is judged alike wherever it enters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, Protocol, get_args, get_origin

import msgspec

from domain.account import OpenAccount
from domain.market import DISPUTE_SECONDS_MAX, OUTCOMES_MAX, OpenMarket, Payout
from domain.money import AMOUNT_MAX, MICRO, format_decimal, parse_decimal
from domain.orders import PlaceOrder
from domain.rejections import Code, Rejection
from domain.story import STORY_MARKETS_MAX, PublishStory
from domain.values import Value
from messages.wire import (
    TIME_MARK,
    TIME_MAX,
    TIME_SCHEMA,
    Schema,
    fields_of,
    format_time,
    is_value,
    mark_of,
    object_schema,
    parse_time,
    summary,
    without_none,
)


class InvalidCommand(ValueError):  # noqa: N818  what it is called in the interface
    """A field of a command is not what it may be: `field` is its path, `details` the limit it breaks."""

    code: Final = Code.INVALID_FIELD

    def __init__(self, field: str, problem: str, **details: str | int) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.details: dict[str, str | int] = {"field": field, **details}

    @property
    def rejection(self) -> Rejection:
        """The same as a value of the domain."""
        return Rejection(self.code, str(self), self.details)


class Rule(Protocol):
    """What one field may hold."""

    def parse(self, wire: Any, path: str) -> Any:
        """Return the domain's value of a wire value. Raises InvalidCommand."""

    def check(self, value: Any, path: str) -> None:
        """Raise InvalidCommand when a value of the domain's type breaks a limit."""

    def dump(self, value: Any) -> Any:
        """Return the wire form of a value."""

    def schema(self) -> Schema:
        """Return the JSON Schema of the wire form."""


@dataclass(frozen=True)
class Text:
    """A string of 1 to `longest` characters that matches `pattern`; `what` says so to people."""

    longest: int
    pattern: re.Pattern[str]
    what: str

    def parse(self, wire: Any, path: str) -> str:
        """Return the string itself."""
        self.check(wire, path)
        return str(wire)

    def check(self, value: Any, path: str) -> None:
        """Refuse what is no string, empty, too long or has characters it may not have."""
        if not isinstance(value, str):
            raise InvalidCommand(path, "must be a string")
        if not 1 <= len(value) <= self.longest:
            raise InvalidCommand(path, f"must have 1 to {self.longest} characters", maximum=self.longest)
        if self.pattern.fullmatch(value) is None:
            raise InvalidCommand(path, f"must be {self.what}")

    def dump(self, value: str) -> str:
        """Return the string itself."""
        return value

    def schema(self) -> Schema:
        """Return its length and pattern."""
        pattern = f"^(?:{self.pattern.pattern})$"
        return {"type": "string", "minLength": 1, "maxLength": self.longest, "pattern": pattern}


@dataclass(frozen=True)
class Amount:
    """An amount in micro-units from `least` to `most`, a decimal string on the wire."""

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
        """Refuse what is out of bounds."""
        if not self.least <= value <= self.most:
            most = format_decimal(self.most)
            lower = "above 0 and" if self.least == 1 else f"{format_decimal(self.least)} or more and"
            raise InvalidCommand(path, f"must be {lower} at most {most}", maximum=most, given=format_decimal(value))

    def dump(self, value: int) -> str:
        """Return the decimal string."""
        return format_decimal(value)

    def schema(self) -> Schema:
        """Return the pattern of decimal strings."""
        return {
            "type": "string",
            "pattern": r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,6})?$",
            "description": f"a decimal number from {format_decimal(self.least)} to {format_decimal(self.most)}",
        }


@dataclass(frozen=True)
class Whole:
    """An integer from 0 to `most`, a JSON integer on the wire."""

    most: int

    def parse(self, wire: Any, path: str) -> int:
        """Return the integer."""
        if type(wire) is not int:
            raise InvalidCommand(path, "must be an integer")
        self.check(wire, path)
        return wire

    def check(self, value: int, path: str) -> None:
        """Refuse what is out of bounds."""
        if not 0 <= value <= self.most:
            raise InvalidCommand(path, f"must be 0 to {self.most}", maximum=self.most)

    def dump(self, value: int) -> int:
        """Return the integer."""
        return value

    def schema(self) -> Schema:
        """Return its bounds."""
        return {"type": "integer", "minimum": 0, "maximum": self.most}


class Moment:
    """A time, RFC 3339 on the wire."""

    def parse(self, wire: Any, path: str) -> int:
        """Return the microseconds since the epoch."""
        if not isinstance(wire, str):
            raise InvalidCommand(path, "must be an RFC 3339 time as a string")
        try:
            return parse_time(wire)
        except ValueError as error:
            raise InvalidCommand(path, str(error)) from None

    def check(self, value: int, path: str) -> None:
        """Refuse what RFC 3339 cannot say."""
        if not 0 <= value <= TIME_MAX:
            raise InvalidCommand(path, "must be a time from 1970 to 9999")

    def dump(self, value: int) -> str:
        """Return it as RFC 3339."""
        return format_time(value)

    def schema(self) -> Schema:
        """Return the format of times."""
        return TIME_SCHEMA


class Flag:
    """True or false."""

    def parse(self, wire: Any, path: str) -> bool:
        """Return it."""
        if not isinstance(wire, bool):
            raise InvalidCommand(path, "must be true or false")
        return wire

    def check(self, value: bool, path: str) -> None:
        """Refuse nothing: both are fine."""

    def dump(self, value: bool) -> bool:
        """Return it."""
        return value

    def schema(self) -> Schema:
        """Return the type."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice:
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

    def dump(self, value: str) -> str:
        """Return the word."""
        return value

    def schema(self) -> Schema:
        """Return the words."""
        return {"enum": list(self.words)}


@dataclass(frozen=True)
class Items:
    """At most `most` values of one kind, a JSON array on the wire, a tuple inside."""

    item: Rule
    most: int

    def parse(self, wire: Any, path: str) -> tuple[Any, ...]:
        """Return them, each parsed."""
        if not isinstance(wire, list):
            raise InvalidCommand(path, "must be an array")
        self._bound(wire, path)
        return tuple(self.item.parse(value, f"{path}[{i}]") for i, value in enumerate(wire))

    def check(self, value: tuple[Any, ...], path: str) -> None:
        """Refuse too many, and each that breaks its own limits."""
        self._bound(value, path)
        for i, item in enumerate(value):
            self.item.check(item, f"{path}[{i}]")

    def dump(self, value: tuple[Any, ...]) -> list[Any]:
        """Return their wire forms."""
        return [self.item.dump(item) for item in value]

    def schema(self) -> Schema:
        """Return the schema of the array."""
        return {"type": "array", "maxItems": self.most, "items": self.item.schema()}

    def _bound(self, values: Any, path: str) -> None:
        if len(values) > self.most:
            raise InvalidCommand(path, f"must have at most {self.most} items", maximum=self.most)


class Payouts:
    """Fractions by outcome: `{"Yes": "1"}` on the wire, a tuple of `Payout` ordered by outcome inside."""

    def parse(self, wire: Any, path: str) -> tuple[Payout, ...]:
        """Return the payouts, ordered by outcome so that the order of the object's keys means nothing."""
        if not isinstance(wire, dict):
            raise InvalidCommand(path, "must be an object of outcome to fraction")
        if len(wire) > OUTCOMES_MAX:
            raise InvalidCommand(path, f"must have at most {OUTCOMES_MAX} outcomes", maximum=OUTCOMES_MAX)
        return tuple(
            Payout(OUTCOME.parse(outcome, path), FRACTION.parse(fraction, f"{path}.{outcome[:100]}"))
            for outcome, fraction in sorted(wire.items())
        )

    def check(self, value: tuple[Payout, ...], path: str) -> None:
        """Refuse too many, and fractions outside 0 to 1."""
        if len(value) > OUTCOMES_MAX:
            raise InvalidCommand(path, f"must have at most {OUTCOMES_MAX} outcomes", maximum=OUTCOMES_MAX)
        for payout in value:
            OUTCOME.check(payout.outcome, path)
            FRACTION.check(payout.fraction, f"{path}.{payout.outcome}")

    def dump(self, value: tuple[Payout, ...]) -> dict[str, str]:
        """Return the object of outcome to fraction."""
        return {payout.outcome: format_decimal(payout.fraction) for payout in value}

    def schema(self) -> Schema:
        """Return the schema of the object."""
        return {"type": "object", "maxProperties": OUTCOMES_MAX, "additionalProperties": FRACTION.schema()}


@dataclass(frozen=True)
class Maybe:
    """A value or null."""

    rule: Rule

    def parse(self, wire: Any, path: str) -> Any:
        """Return None for null, else the value."""
        return None if wire is None else self.rule.parse(wire, path)

    def check(self, value: Any, path: str) -> None:
        """Refuse what the value's rule refuses."""
        if value is not None:
            self.rule.check(value, path)

    def dump(self, value: Any) -> Any:
        """Return null for None, else the value's wire form."""
        return None if value is None else self.rule.dump(value)

    def schema(self) -> Schema:
        """Return the schema of the value or null."""
        return {"anyOf": [self.rule.schema(), {"type": "null"}]}


@dataclass(frozen=True)
class Record:
    """A value, an object on the wire. Fields with a default may be missing; `made` are not on the wire at all."""

    cls: type[Value]
    rules: Mapping[str, Rule]
    required: tuple[str, ...]
    defaults: Mapping[str, Any]
    made: tuple[str, ...]

    def parse(self, wire: Any, path: str) -> Any:
        """Return the value; what is not on the wire is empty and for the caller to fill in."""
        return self.cls(**dict.fromkeys(self.made, ""), **self._values(wire, path))

    def check(self, value: Any, path: str) -> None:
        """Refuse what the rule of a field refuses."""
        where = f"{path}." if path else ""
        for name, rule in self.rules.items():
            rule.check(getattr(value, name), f"{where}{name}")

    def dump(self, value: Any) -> dict[str, Any]:
        """Return the object, without what is as by default."""
        return {
            name: rule.dump(getattr(value, name))
            for name, rule in self.rules.items()
            if name not in self.defaults or getattr(value, name) != self.defaults[name]
        }

    def schema(self) -> Schema:
        """Return the schema of the object."""
        properties = {name: rule.schema() for name, rule in self.rules.items()}
        return object_schema(properties, list(self.required), summary(self.cls))

    def _values(self, wire: Any, path: str) -> dict[str, Any]:
        where = f"{path}." if path else ""
        if not isinstance(wire, dict):
            raise InvalidCommand(path or "data", "must be an object")
        for name in wire:
            if name not in self.rules:
                raise InvalidCommand(f"{where}{name[:64]}", "is not a field here")
        for name in self.required:
            if name not in wire:
                raise InvalidCommand(f"{where}{name}", "is missing")
        return {name: rule.parse(wire[name], f"{where}{name}") for name, rule in self.rules.items() if name in wire}


# --- which rule a field has

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_PROSE_CONTROL: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
_LINE: Final = re.compile(rf"[^\s{_CONTROL}](?:[^{_CONTROL}]*[^\s{_CONTROL}])?")
_PROSE: Final = re.compile(rf"[^{_PROSE_CONTROL}]*[^\s{_CONTROL}][^{_PROSE_CONTROL}]*")
_URL: Final = re.compile(rf"https?://[^\s{_CONTROL}]+")


def _line(longest: int) -> Text:
    return Text(longest, _LINE, "one line of text without blanks at its ends")


def _prose(longest: int) -> Text:
    return Text(longest, _PROSE, "text without control characters, not only blanks")


ID: Final = Text(64, re.compile(r"[!-~]+"), "printable ASCII without blanks")
OUTCOME: Final = _line(100)
FRACTION: Final = Amount(0, MICRO)

_BY_NAME: Final[Mapping[str, Rule]] = {
    "story_id": ID,
    "market_id": ID,
    "account_id": ID,
    "order_id": ID,
    "client_order_id": Text(64, re.compile(r"[ -~]+"), "printable ASCII"),
    "slug": Text(100, re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*"), "lower-case words and digits joined by hyphens"),
    "title": _line(300),
    "name": _line(100),
    "category": _line(64),
    "question": _line(500),
    "outcome": OUTCOME,
    "body": _prose(20_000),
    "text": _prose(10_000),
    "resolution_source": _prose(2_000),
    "reason": _prose(2_000),
    "source_url": Text(2_000, _URL, "an http or https URL"),
    "url": Text(2_000, _URL, "an http or https URL"),
    "outcomes": Items(OUTCOME, OUTCOMES_MAX),
    "initial_prices": Items(Amount(0, MICRO), OUTCOMES_MAX),
    "payouts": Payouts(),
    "dispute_seconds": Whole(DISPUTE_SECONDS_MAX),
    "min_proceeds": Amount(0, AMOUNT_MAX),
    "dispute_bond": Amount(0, AMOUNT_MAX),
    "bond": Amount(0, AMOUNT_MAX),
}

_BY_MARK: Final[Mapping[str, Rule]] = {
    "credits": Amount(1, AMOUNT_MAX),
    "shares": Amount(1, AMOUNT_MAX),
    "price": Amount(0, MICRO),
    "fraction": FRACTION,
    TIME_MARK: Moment(),
}

MADE: Final[Mapping[type, tuple[str, ...]]] = {
    PublishStory: ("story_id",),
    OpenMarket: ("market_id",),
    OpenAccount: ("account_id",),
    PlaceOrder: ("order_id",),
}
"""The fields of a command that its sender does not choose: they follow from the command's id."""

MADE_INSIDE: Final[Mapping[type, tuple[str, ...]]] = {OpenMarket: ("market_id", "story_id"), PlaceOrder: ("order_id",)}
"""The same where a command stands inside another one."""


def record(cls: type[Value]) -> Record:
    """Return the rule of a command."""
    return _record(cls, MADE.get(cls, ()))


@cache
def _record(cls: type[Value], made: tuple[str, ...]) -> Record:
    rules = {name: _rule(name, hint) for name, hint in fields_of(cls).items() if name not in made}
    fields = msgspec.structs.fields(cls)
    defaults = {field.name: field.default for field in fields if field.name in rules and not field.required}
    return Record(cls, rules, tuple(name for name in rules if name not in defaults), defaults, made)


def _rule(name: str, hint: Any) -> Rule:
    hint, optional = without_none(hint)
    rule = _BY_NAME.get(name) or _rule_of_type(hint)
    return Maybe(rule) if optional else rule


def _rule_of_type(hint: Any) -> Rule:
    mark = mark_of(hint)
    if mark is not None:
        return _BY_MARK[mark]
    if hint is bool:
        return Flag()
    if get_origin(hint) is Literal:
        return Choice(get_args(hint))
    if get_origin(hint) is tuple:
        return Items(_rule_of_type(get_args(hint)[0]), STORY_MARKETS_MAX)
    assert is_value(hint), "a text needs a rule by its field's name"
    return _record(hint, MADE_INSIDE.get(hint, ()))
