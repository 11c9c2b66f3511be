"""The public form of an event has everything: it becomes the same event again."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from consumers.simulation.random_commands import RandomCommands
from domain.events import Recorded
from domain.partition import CommandRejected
from domain.rejections import Code
from messages.commands import InvalidCommand, dump_command, parse_command
from messages.events import UnreadableEventError, public_event
from messages.public_events import event_of_public
from tests.messages.decided_log import DecidedLog
from tests.messages.examples import EXAMPLES
from tests.projections.simulation import simulate


def test_every_type_comes_back() -> None:
    """Each example, and each event of a simulation, is the same after its public form, with bodies of commands as texts."""
    events = [*EXAMPLES, *(recorded.event for recorded in simulate(5, 300))]

    for event in events:
        recorded = Recorded(1, "stream", 1, 0, "c", event)
        public = public_event(recorded)
        again = event_of_public(public["type"], public["version"], msgspec.json.encode(public["data"]))
        assert again == event
        assert type(again) is type(event)


@pytest.mark.parametrize("seed", range(3))
def test_refusals_come_back_with_their_details(seed: int) -> None:
    """Amounts, times and numbers among the details have their types again; texts of senders stay texts."""
    log, random = DecidedLog(), RandomCommands(Random(seed), lifecycle=0.08)  # noqa: S311  a simulation, no secret
    for _ in range(400):
        time, command_id, command = random.next_command(log.exchange)
        submitted = parse_command(dump_command(command_id, command))
        if not isinstance(submitted.command, InvalidCommand):
            log.decide(submitted, time)

    for recorded in log.log:
        public = public_event(recorded)
        assert event_of_public(public["type"], public["version"], msgspec.json.encode(public["data"])) == recorded.event


def test_texts_among_details_stay_texts() -> None:
    """A sender may write what looks like an amount, in another form."""
    for given in ("1", "01.000000", "1.0000000", "tomorrow", "-0.000000"):
        refused = CommandRejected("PlaceOrder", Code.INVALID_FIELD, "no", {"given": given, "now": given})
        public = public_event(Recorded(1, "s", 1, 0, "c", refused))
        again = event_of_public(public["type"], public["version"], msgspec.json.encode(public["data"]))
        assert again == refused


@pytest.mark.parametrize("field", ["dispute_seconds", "to_partition", "uses"])
def test_whole_numbers_among_details_come_back(field: str) -> None:
    """Of fields that are no amounts: as the number, or as the text that stood there."""
    for given in (7, "7.000000"):
        refused = CommandRejected("OpenMarket", Code.INVALID_FIELD, "no", {"field": field, "given": given})
        public = public_event(Recorded(1, "s", 1, 0, "c", refused))
        assert public["data"]["details"]["given"] == given
        again = event_of_public(public["type"], public["version"], msgspec.json.encode(public["data"]))
        assert again == refused


@pytest.mark.parametrize(
    ("name", "version", "data"),
    [
        ("Odd", 1, b"{}"),
        ("MarketHalted", 2, b'{"market_id": "m"}'),
        ("MarketHalted", 1, b"{}"),
        ("MarketHalted", 1, b"[]"),
        ("MarketHalted", 1, b"{"),
        ("MarketHalted", 1, b'{"market_id": 5}'),
        ("CommandRejected", 1, b"{}"),
        ("CashDeposited", 1, b'{"account_id": "a", "amount": "1,5"}'),
        ("CashDeposited", 1, b'{"account_id": "a", "amount": 5}'),
    ],
)
def test_what_does_not_fit_is_unreadable(name: str, version: int, data: bytes) -> None:
    """An unknown type or version, a missing field, another type of value."""
    with pytest.raises(UnreadableEventError):
        event_of_public(name, version, data)


@pytest.mark.parametrize("bad", ["", "Yes", "1.000000", {}, {"Yes": 1}, 5])
def test_only_an_array_is_one(bad: object) -> None:
    """The characters of a text, or the names in an object, are no outcomes, prices or fills."""
    seen = 0
    for event in EXAMPLES:
        public = public_event(Recorded(1, "stream", 1, 0, "c", event))
        for name in [name for name, value in public["data"].items() if isinstance(value, list)]:
            seen += 1
            with pytest.raises(UnreadableEventError):
                event_of_public(public["type"], public["version"], msgspec.json.encode(public["data"] | {name: bad}))
    assert seen > 5
