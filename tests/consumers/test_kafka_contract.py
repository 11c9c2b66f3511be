"""The check that every record of these tests passes: it lets true records through, and no record that breaks the page."""

import json
from typing import Any

import pytest

from tests.consumers.kafka_contract import violations

REPLY = {"command_id": "svc:1", "digest": "0", "position": 1, "time": "2024-10-24T10:02:00.000000Z", "result": {}}
LETTER = {
    "reason": "why", "topic": "tidings.commands", "partition": 0, "offset": 7, "index": None, "size": 1, "value": "x",
}  # fmt: skip
DEPOSIT = {"command_id": "svc:1", "type": "DepositCash", "data": {"account_id": "ac_1", "amount": "5"}}


@pytest.mark.parametrize(("topic", "value"), [("replies", [REPLY]), ("dead-letters", LETTER), ("commands", DEPOSIT)])
def test_true_records_pass(topic: str, value: Any) -> None:
    """A reply, a dead letter, a command."""
    assert list(violations(topic, b"key", json.dumps(value).encode(), {})) == []


@pytest.mark.parametrize(
    ("topic", "value", "headers"),
    [
        ("replies", [REPLY | {"more": 1}], {}),
        ("replies", [REPLY | {"time": "yesterday"}], {}),
        ("replies", [REPLY], {"a": "b"}),
        ("dead-letters", {}, {}),
        ("events", {"writer": "9f"}, {}),
        ("feed", {"position": 1}, {"position": "1"}),
    ],
)
def test_no_other_record_passes(topic: str, value: Any, headers: dict[str, str]) -> None:
    """A field too many or of another form, headers that are not declared, no event at all."""
    assert list(violations(topic, None, json.dumps(value).encode(), headers)) != []


def test_a_command_that_is_refused_for_its_form_is_nothing_to_declare() -> None:
    """Tests send such commands to see them refused; they say nothing about the page."""
    refused = DEPOSIT | {"data": {"account_id": "ac_1", "amount": -5}}

    for value in (json.dumps(refused).encode(), b"nonsense"):
        assert list(violations("commands", None, value, {})) == []
