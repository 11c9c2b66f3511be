"""Events and commands are values: they have fields, never change, and are equal when their fields are equal.

Every order makes, writes and reads many of them. A struct of msgspec takes a quarter of the time of a frozen dataclass to make,
and half of it to write as JSON or to read (docs/decisions/0016-values-are-structs.md).
"""

from typing import Any, Final, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True)
class Value(msgspec.Struct, frozen=True, gc=False):
    """The base of all values. `msgspec.structs.replace` makes a changed copy.

    A value never holds itself, so the collector of garbage need not look at it (`gc=False`): hundreds of thousands live at
    a time.
    """


Json = msgspec.Raw
"""The text of a JSON value that the rules pass on as it is. Two are equal if their bytes are."""

NO_JSON: Final = Json(b"null")
"""No value. It is one object, so that a field which has it as its default can be left out."""


def json_of(text: bytes) -> Json:
    """Return the value of this text; an empty one is no value."""
    return Json(text) if text else NO_JSON


def always_stored(default: Any) -> Any:
    """Return the default of a field that is stored even then, in a value that leaves out fields with their defaults."""
    return msgspec.field(default_factory=lambda: default)
