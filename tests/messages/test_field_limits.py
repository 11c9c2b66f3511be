"""Every field of every command: its limits are accepted and come back from the wire, and a step further is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from domain.market import OUTCOMES_MAX
from domain.money import MICRO, format_decimal
from messages.codecs import CommandCodec, command_codec
from messages.commands import COMMANDS
from messages.fields import Amount, Choice, Flag, InvalidCommand, Items, Moment, Nullable, Text, Whole
from messages.name_fields import Name, Outcomes, Payouts
from messages.wire import TIME_MAX, format_time

if TYPE_CHECKING:
    from messages.fields import FieldCodec

FILLERS = ("市", "x", "1")
"""Characters to fill a text with: the first that its pattern allows."""


LONG_NAMES = [f"{number:02}".ljust(100, "市") for number in range(OUTCOMES_MAX)]


def text_of(codec: Text, length: int) -> str:
    """Return a text of this length that fits the pattern, whatever its length."""
    for start in ("", "https://"):
        for filler in FILLERS:
            text = (start + filler * length)[:length]
            if codec.pattern.fullmatch((start + filler * codec.longest)[: codec.longest]):
                return text
    raise AssertionError(codec)


def inside(codec: FieldCodec) -> list[Any]:  # noqa: C901  one case a codec
    """Return wire values at the limits of a codec."""
    match codec:
        case Text():
            shortest = next(n for n in range(1, 65) if codec.pattern.fullmatch(text_of(codec, n)))
            return [text_of(codec, shortest), text_of(codec, codec.longest)]
        case Name():
            return ["x", LONG_NAMES[0]]
        case Outcomes():
            return [[], LONG_NAMES]
        case Amount():
            return [format_decimal(codec.least), format_decimal(codec.most)]
        case Whole():
            return [0, codec.most]
        case Moment():
            return [format_time(0), format_time(TIME_MAX)]
        case Choice():
            return list(codec.words)
        case Flag():
            return [False, True]
        case Items():
            value = inside(codec.item)[-1]
            return [[], [value] * codec.most]
        case Payouts():
            return [{}, dict.fromkeys(LONG_NAMES, format_decimal(MICRO))]
        case Nullable():
            return [None, *inside(codec.codec)]
        case CommandCodec():
            return [{name: inside(field)[end] for name, field in codec.fields.items()} for end in (0, -1)]
    raise AssertionError(codec)


def outside(codec: FieldCodec) -> list[Any]:  # noqa: C901  one case a codec
    """Return wire values one step beyond the limits of a codec."""
    match codec:
        case Text():
            return ["", text_of(codec, codec.longest) + "x"]
        case Name():
            return ["", LONG_NAMES[0] + "x"]
        case Outcomes():
            return [[*LONG_NAMES, "x"]]
        case Amount():
            below = [format_decimal(codec.least - 1)] if codec.least else ["-0.000001"]
            return [*below, format_decimal(codec.most + 1)]
        case Whole():
            return [-1, codec.most + 1]
        case Moment():
            return ["1969-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z"]
        case Choice():
            return [""]
        case Flag():
            return [2]
        case Items():
            return [[inside(codec.item)[-1]] * (codec.most + 1)]
        case Payouts():
            return [{f"{number}": "0" for number in range(OUTCOMES_MAX + 1)}, {"": "1"}, {"Yes": "1.000001"}]
        case Nullable():
            return outside(codec.codec)
        case CommandCodec():
            return [{}]
    raise AssertionError(codec)


FIELDS = [(name, field) for name, command in COMMANDS.items() for field in command_codec(command).fields]


def bodies(command: str, field: str, values: list[Any]) -> list[dict[str, Any]]:
    """Return the command's data, once with each of these values of a field."""
    codec = command_codec(COMMANDS[command])
    usual = {name: inside(other)[-1] for name, other in codec.fields.items() if name in codec.required}
    return [usual | {field: value} for value in values]


@pytest.mark.parametrize(("command", "field"), FIELDS)
def test_the_limits_are_accepted_and_come_back(command: str, field: str) -> None:
    """Read, written and read again, the command is the same."""
    codec = command_codec(COMMANDS[command])
    for body in bodies(command, field, inside(codec.fields[field])):
        value = codec.parse(body, "")
        codec.check(value, "")
        assert codec.parse(codec.dump(value), "") == value


@pytest.mark.parametrize(("command", "field"), FIELDS)
def test_a_step_further_is_refused_by_the_name_of_the_field(command: str, field: str) -> None:
    """The refusal names the field, or a field inside of it, and says the limit where it is a number."""
    codec = command_codec(COMMANDS[command])
    for body in bodies(command, field, outside(codec.fields[field])):
        with pytest.raises(InvalidCommand) as refused:
            codec.parse(body, "")
        assert refused.value.field.startswith(field)
        assert str(refused.value).startswith(refused.value.field)
