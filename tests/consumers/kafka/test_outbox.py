"""Which commands travel in one record."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from consumers.kafka.outbox import PACK_COMMANDS_MAX, Key, Pending, Unit, next_record


@dataclass
class NamedTrace:
    """A trace that a record would name."""

    headers: list[tuple[str, bytes]] = field(default_factory=list)

    def end(self, error: str | None) -> None:
        """Do nothing."""


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_records_hold_whole_units_in_order_and_a_traced_one_alone(units: list[tuple[int, bool, bool]]) -> None:
    """A record names one trace at most: no command is in a record that names the trace of another one."""
    outbox: deque[Unit] = deque()
    pending: dict[Key, Pending] = {}
    for number, (size, is_traced, is_pending) in enumerate(units):
        keys = [(f"{number}:{index}", "") for index in range(size)]
        outbox.append(Unit(keys, 1.0, 0.0, NamedTrace() if is_traced else None))
        if is_pending:
            pending |= {key: Pending(key[0].encode(), 0.0, []) for key in keys}
    wanted = [key[0].encode() for unit in outbox for key in unit.keys if key in pending]

    found: list[bytes] = []
    while outbox:
        taken, pack = next_record(outbox, pending)
        with_commands = [unit for unit in taken if unit.keys[0] in pending]
        if any(unit.trace is not None for unit in with_commands):
            assert len(with_commands) == 1
            assert taken[-1] is with_commands[0], "the gateway takes the headers of the last one"
        elif with_commands:
            assert taken[-1].trace is None, "likewise"
        assert len(pack) <= PACK_COMMANDS_MAX
        found += pack
    assert found == wanted
