"""Field codecs of what stands for an account or an outcome: new names, a market's outcomes, payouts by outcome."""

from typing import Any, Final

from domain.market import OUTCOMES_MAX, Payout
from domain.money import format_decimal
from messages.fields import FRACTION, OUTCOME, InvalidCommand, Items, SameOnWire
from messages.names import is_id, is_mixed, name_key, nfc
from messages.wire import Schema


class Name(SameOnWire):
    """A new name of an account or an outcome: one line of text that does not pass for something else."""

    def parse(self, wire: Any, path: str) -> str:
        """Return the name in NFC."""
        name = OUTCOME.parse(wire, path)
        self.check(name, path)
        return name

    def check(self, value: Any, path: str) -> None:
        """Refuse what is no line of text, looks like an id or a folder, or mixes letters of scripts that look alike."""
        OUTCOME.check(value, path)
        if is_id(value) or value in {".", ".."}:
            raise InvalidCommand(path, "must not have the form of an id, nor be . or .., which no address can hold")
        if is_mixed(value):
            raise InvalidCommand(path, "must not mix scripts whose letters look alike")

    def schema(self) -> Schema:
        """Return the length and the pattern."""
        return OUTCOME.schema()


NAME: Final = Name()


class Outcomes(Items):
    """The names of a market's outcomes: no two are too much alike."""

    def __init__(self) -> None:
        super().__init__(NAME, OUTCOMES_MAX)

    def parse(self, wire: Any, path: str) -> tuple[str, ...]:
        """Return the names."""
        names = super().parse(wire, path)
        self._check_alike(names, path)
        return names

    def check(self, value: tuple[str, ...], path: str) -> None:
        """Refuse too many names, one that breaks its own limits, and one that looks like another."""
        super().check(value, path)
        self._check_alike(value, path)

    def _check_alike(self, names: tuple[str, ...], path: str) -> None:
        seen: dict[str, str] = {}
        for name in names:
            key = name_key(name)
            if key in seen:
                raise InvalidCommand(path, f"must differ to the eye: {seen[key]} and {name} do not", outcome=name)
            seen[key] = name


def _outcome_of(payout: Payout) -> str:
    return payout.outcome


class Payouts:
    """Fractions by outcome: `{"Yes": "1"}` on the wire, a tuple of `Payout` ordered by outcome in the domain."""

    def parse(self, wire: Any, path: str) -> tuple[Payout, ...]:
        """Return the payouts, ordered by outcome: the order of the keys in the object has no meaning."""
        if not isinstance(wire, dict):
            raise InvalidCommand(path, "must be an object of outcome to fraction")
        self._check_count(wire, path)
        return tuple(
            Payout(OUTCOME.parse(outcome, path), FRACTION.parse(fraction, f"{path}.{outcome[:100]}"))
            for outcome, fraction in sorted((nfc(outcome), fraction) for outcome, fraction in wire.items())
        )

    def check(self, value: tuple[Payout, ...], path: str) -> None:
        """Refuse too many payouts, and fractions outside 0 to 1."""
        self._check_count(value, path)
        for payout in value:
            OUTCOME.check(payout.outcome, path)
            FRACTION.check(payout.fraction, f"{path}.{payout.outcome}")

    def dump(self, value: tuple[Payout, ...]) -> dict[str, str]:
        """Return the object of outcome to fraction, ordered by outcome: payouts in any order are the same."""
        return {payout.outcome: format_decimal(payout.fraction) for payout in sorted(value, key=_outcome_of)}

    def schema(self) -> Schema:
        """Return the schema of the object."""
        return {"type": "object", "maxProperties": OUTCOMES_MAX, "additionalProperties": FRACTION.schema()}

    def _check_count(self, values: Any, path: str) -> None:
        if len(values) > OUTCOMES_MAX:
            raise InvalidCommand(path, f"must have at most {OUTCOMES_MAX} outcomes", maximum=OUTCOMES_MAX)
