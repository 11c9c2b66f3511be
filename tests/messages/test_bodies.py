"""Bodies: what the log keeps of a command that was refused or had no effect."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.events import Event, Recorded
from domain.exchange import Entry
from domain.market import DetermineMarket, FinalizeMarket, Payout
from domain.money import MICRO
from domain.partition import CommandHadNoEffect, CommandRejected
from domain.story import PublishStory
from domain.values import NO_JSON, Json, json_of
from messages.commands import AdvanceTime, Command, InvalidCommand, Submitted, dump_command, parse_command
from messages.events import public_event
from messages.original_commands import original_command
from messages.stored import from_stored, to_stored
from tests.messages.test_commands import EXAMPLES, TIME, id_for
from tests.messages.test_original_commands import ADA, EVIDENCE, MARKET, NO, YES, DecidedLog, M, a_life, order


def sent(data: str | bytes, command_type: str = "DepositCash", more: str = "") -> Submitted:
    """A command as it reaches the engine whose `data` is this text."""
    text = data if isinstance(data, bytes) else data.encode()
    return parse_command(
        b'{"command_id":"svc:1","type":"%b","data":%b%b}' % (command_type.encode(), text, more.encode())
    )


def in_the_log(event: Event, digest: str, command_id: str = "svc:1") -> Recorded:
    """The event as it is read from the log."""
    return from_stored(9, to_stored(Entry("partition-0", 1, event), TIME, command_id, digest))


def refused(submitted: Submitted) -> Recorded:
    """The refusal of an invalid command, as it is read from the log."""
    assert isinstance(submitted.command, InvalidCommand)
    why = submitted.command.rejection
    event = CommandRejected(submitted.type, why.code, why.message, why.details, None, None, json_of(submitted.body))
    return in_the_log(event, submitted.digest)


def body_of(log: DecidedLog, command: Command) -> Json:
    """The body in the event of a command that changes nothing."""
    assert not isinstance(command, AdvanceTime)
    event = log.events(log.send(command))[0].event  # type: ignore[arg-type]
    assert isinstance(event, CommandRejected | CommandHadNoEffect)
    return event.body


# --- commands whose fields are valid


def test_a_body_has_the_fields_as_on_the_wire() -> None:
    """They are those of the command's schema, without those that have their defaults."""
    bought = body_of(DecidedLog(), order("1", spend=MICRO, time_in_force="IOC"))

    assert msgspec.json.decode(bought) == {
        "account_id": ADA,
        "market_id": M,
        "client_order_id": "1",
        "outcome": "Yes",
        "side": "buy",
        "type": "market",
        "spend": "1.000000",
    }
    assert body_of(a_life(), FinalizeMarket(M)) == Json(b'{"market_id":"%b"}' % M.encode())


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_a_body_is_enough_to_know_the_command(command: Command) -> None:
    """Of every type: from its event alone it comes back as it was sent, with its digest."""
    submitted = parse_command(dump_command(id_for(command), command))
    event = CommandHadNoEffect(submitted.type, None, None, json_of(submitted.body))

    found = original_command([in_the_log(event, submitted.digest, submitted.command_id)])

    assert found == replace(submitted, at=TIME)


def test_payouts_in_any_order_are_one_command() -> None:
    """Python code may name them in an order that JSON does not have: digest and body are those of the wire."""
    one, other = (DetermineMarket(M, payouts, EVIDENCE) for payouts in ((NO, YES), (YES, NO)))

    assert dump_command("c", one) == dump_command("c", other)
    assert dump_command("c", one) != dump_command("c", replace(one, payouts=(YES, Payout("No", 1))))


def test_a_body_above_4_kib_is_not_kept() -> None:
    """At the limit it is kept whole, above it there is nothing: a part of a command would be another command."""
    story = PublishStory("", "s", "T", "b", "c", 0, markets=(replace(MARKET, outcomes=()),))
    log = DecidedLog()
    room = 4096 - len(bytes(body_of(log, story)))

    whole, more = (body_of(log, replace(story, body="b" * (1 + room + extra))) for extra in (0, 1))

    assert len(bytes(whole)) == 4096
    assert more == NO_JSON
    assert [original_command(log.events(f"c{number}")) is None for number in range(3)] == [False, False, True]
    assert public_event(log.log[-1])["data"]["body"] == NO_JSON
    assert b"body" not in to_stored(Entry("p", 1, log.log[-1].event), TIME, "c").state


# --- commands with an invalid field


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)
                    | st.dictionaries(st.text(), inner), max_leaves=8), st.sampled_from([None, 1, "\t"]))  # fmt: skip
def test_invalid_fields_are_kept_as_they_came(value: Any, indent: Any) -> None:
    """Every JSON value; only the blanks between its parts are dropped, so that an event stands in one line."""
    submitted = sent(json.dumps(value, indent=indent))

    recorded = refused(submitted)
    found = original_command([recorded])

    assert isinstance(recorded.event, CommandRejected)
    if value is not None:
        assert bytes(recorded.event.body) == json.dumps(value, separators=(",", ":")).encode()
        assert found is not None
        assert (found.digest, found.body, str(found.command)) == (
            recorded.digest,
            submitted.body,
            str(submitted.command),
        )
    assert b"\n" not in msgspec.json.encode(public_event(recorded))
    assert msgspec.json.decode(msgspec.json.encode(public_event(recorded)))["data"]["body"] == value


@pytest.mark.parametrize(
    "data",
    [
        '{"account_id":"a","account_id":"b"}',
        '{"amount":1e400}',
        "[" * 33 + "]" * 33,
        "[" * 500 + "]" * 500,
        b'["\xff"]',
        '["' + "x" * 4093 + '"]',
    ],
    ids=["a key twice", "beyond all floats", "33 levels", "500 levels", "no UTF-8", "too long"],
)
def test_what_a_reader_of_the_log_might_stumble_over_is_not_kept(data: str | bytes) -> None:
    """The refusal is in the log all the same, and says why; the same bytes have the same digest."""
    submitted = sent(data)

    recorded = refused(submitted)

    assert not submitted.body
    assert original_command([recorded]) is None
    assert submitted.digest == sent(data).digest != sent("[]").digest
    assert msgspec.json.decode(msgspec.json.encode(public_event(recorded)))["data"]["body"] is None


def test_32_levels_and_numbers_of_any_spelling_are_kept() -> None:
    """Their bytes are: a number keeps its digits, also in the public form."""
    for data in ("[" * 32 + "]" * 32, '{"amount":1.10}', '{"amount":123456789012345678901234567890}'):
        recorded = refused(sent(data))
        assert data.encode() in msgspec.json.encode(public_event(recorded))
        assert original_command([recorded]) is not None


@pytest.mark.parametrize(
    ("more", "field"), [(',"at":"yesterday"', "at"), (',"reply_to":""', "reply_to")], ids=["at", "reply_to"]
)
def test_a_command_refused_for_its_envelope_stays_refused(more: str, field: str) -> None:
    """Its fields may be valid, but what comes back is the refusal: nobody may decide it as if it had been accepted."""
    submitted = sent('{"account_id":"a","amount":"1"}', more=more)

    found = original_command([refused(submitted)])

    assert found is not None
    assert isinstance(found.command, InvalidCommand)
    assert (found.command.field, str(found.command)) == (field, str(submitted.command))
