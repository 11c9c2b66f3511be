"""Events and commands are values: they have fields, never change, and are equal when their fields are.

Many are made, written and read for each order. A struct of msgspec costs a quarter of a frozen dataclass to make and half
of one to write as JSON or to read from it (docs/decisions/0016-values-are-structs.md).
"""

from typing import dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True)
class Value(msgspec.Struct, frozen=True):
    """The base of all values; `msgspec.structs.replace` makes a changed copy of one."""
