"""Replies: made from the events alone."""

import ast
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from consumers.simulation.random_commands import RandomCommands
from domain.account import OrderReleased, TradeSettled
from domain.events import Event, Recorded
from domain.exchange import Exchange
from domain.market import MarketActivated, MarketDrafted
from domain.money import format_decimal
from domain.orders import OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, PlaceOrder, RestingOrderFilled
from domain.partition import CommandHadNoEffect, CommandRejected
from domain.rejections import Rejection
from domain.story import StoryPublished
from messages.replies import Reply, dump_replies, dump_reply, parse_replies, reply_of
from messages.results import result_of
from messages.wire import DETAIL_AMOUNTS, DETAIL_NUMBERS, DETAIL_TIMES, wire_details
from tests.messages.examples import EXAMPLES, TIME

DOMAIN = Path(__file__).parent.parent.parent / "domain"


def example(event_type: type[Event]) -> Event:
    """Return the example of this type."""
    return next(event for event in EXAMPLES if type(event) is event_type)


def replied(events: Sequence[Event]) -> Reply:
    """Return the reply to a command with these events, the last of them at position 20."""
    first = 21 - len(events)
    return reply_of([Recorded(first + i, "s", 1, TIME, "cli:1", event) for i, event in enumerate(events)])


def test_the_reply_to_an_order_has_the_shape_of_the_interface() -> None:
    """Amounts are strings, fills have price, quantity and source, the average price has 6 decimals."""
    reply = replied([example(TradeSettled), example(OrderPlaced)])

    assert (reply.command_id, reply.position, reply.time, reply.code) == ("cli:1", 20, TIME, None)
    assert reply.result == {
        "order_id": "or_first",
        "client_order_id": "first-1",
        "account_id": "ac_ada",
        "market_id": "mk_combat",
        "outcome": "Yes",
        "side": "buy",
        "type": "limit",
        "time_in_force": "GTD",
        "limit_price": "0.530000",
        "quantity": "24.069273",
        "spend": None,
        "filled_quantity": "19.069273",
        "remaining_quantity": "5.000000",
        "status": "partially_filled",
        "reason": None,
        "average_price": "0.524404",
        "cost": "10.000000",
        "fee": "0.012500",
        "fills": [
            {"price": "0.520000", "quantity": "9.069273", "source": "book"},
            {"price": "0.528398", "quantity": "10.000000", "source": "amm"},
        ],
        "prices": ["0.465123", "0.534877"],
    }


def test_prices_are_those_after_the_sweep() -> None:
    """Where resting orders were filled after the order, the reply has the last prices, however many steps that took."""
    placed = example(OrderPlaced)
    assert isinstance(placed, OrderPlaced)
    swept = replace(placed, execution=replace(placed.execution, swept_prices=(470_000, 530_000)))
    reply = replied([swept, example(RestingOrderFilled)])

    assert reply.result["prices"] == ["0.470000", "0.530000"]


def test_cancellations_before_an_order_do_not_hide_it() -> None:
    """Self-trade prevention cancels resting orders first; the reply still tells of the order."""
    reply = replied([example(OrderCanceled), example(OrderReleased), example(OrderPlaced)])

    assert reply.result["status"] == "partially_filled"


def test_cancellations_have_one_shape() -> None:
    """None, one and many: a list."""
    none = replied([CommandHadNoEffect("CancelOrders", "ac_a")]).result
    one = replied([example(OrderCanceled), example(OrderReleased)]).result
    two = replied([example(OrderCanceled), example(OrderReleased)] * 2).result

    assert [list(result) for result in (none, one, two)] == [["canceled"]] * 3
    assert none["canceled"] == []
    assert two["canceled"] == one["canceled"] * 2
    (order,) = one["canceled"]
    assert (order["order_id"], order["status"], order["remaining_quantity"]) == ("or_first", "canceled", "5.000000")


@pytest.mark.parametrize("seed", range(6))
def test_an_order_is_told_as_the_book_has_it_after_the_whole_command(seed: int) -> None:
    """Status and quantities of orders and amendments, whatever a sweep has filled of them; a quote tells the same."""
    exchange, swept = Exchange(), 0
    commands = RandomCommands(Random(seed), outcomes=(3, 4))  # noqa: S311  no secret
    for _ in range(1200):
        time, command_id, command = commands.next_command(exchange)
        while exchange.step(time) is not None:
            pass
        quote = exchange.quote(command, time) if isinstance(command, PlaceOrder) else None
        events = [entry.event for entry in exchange.handle(command, time, command_id)]
        while (step := exchange.step(time)) is not None:
            events += [entry.event for entry in step[1] if step[0] == command_id]
        head = next((event for event in events if isinstance(event, OrderPlaced | OrderAmended | OrderReduced)), None)
        if head is None:
            continue
        result = result_of(events)
        order = exchange.markets[head.market_id].book.orders.get(head.order_id)
        if order is not None:
            expected = "partially_filled" if order.filled else "resting"
            assert (result["status"], result["reason"]) == (expected, None)
            assert result["remaining_quantity"] == format_decimal(order.remaining)
            assert result["filled_quantity"] == format_decimal(order.filled)
        else:
            assert result["status"] != "resting"
            assert result["status"] != "filled" or result["remaining_quantity"] == "0.000000"
        if quote is not None:
            assert not isinstance(quote, Rejection)
            assert result_of(quote) == result
        swept += any(isinstance(event, RestingOrderFilled) and event.order_id == head.order_id for event in events)
    assert swept


def test_amendments_count_earlier_fills() -> None:
    """`filled_quantity` is the total, `fills` has only the new ones."""
    assert replied([example(OrderAmended)]).result["filled_quantity"] == "38.138546"
    assert replied([example(OrderReduced)]).result["filled_quantity"] == "19.069273"


def test_a_story_names_its_markets() -> None:
    """The reply has the ids of what the command created, in their order."""
    reply = replied([example(StoryPublished), example(MarketDrafted), example(MarketActivated)])

    assert (reply.result["story_id"], reply.result["market_ids"]) == ("st_troops", ["mk_combat"])
    assert reply.result["markets"][0]["status"] == "active"


def test_a_rejection_tells_its_code_and_numbers_in_wire_form() -> None:
    """No micro-units reach the sender."""
    reply = replied([example(CommandRejected)])

    assert (reply.code, reply.message) == ("INSUFFICIENT_FUNDS", "more than is available is needed")
    assert reply.details == {"required": "10.000000", "available": "0.000001"}
    assert reply.rejected


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.TOPIC)
def test_a_reply_comes_back_as_it_went(event: Event) -> None:
    """Over the `replies` topic, for the events of any command."""
    reply = replied([event])

    assert [reply, reply] == parse_replies(dump_replies([dump_reply(reply), dump_reply(reply)]))


def test_every_number_in_a_rejection_has_a_known_wire_form() -> None:
    """Every name of a detail in the domain's code is in one of the sets of amounts, times and plain numbers."""
    known = DETAIL_AMOUNTS | DETAIL_TIMES | DETAIL_NUMBERS
    texts = {"account", "field", "market", "name", "order", "outcome", "slug", "status", "story", "sum"}
    used = {
        keyword.arg
        for path in DOMAIN.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"reject", "invalid"}
        for keyword in node.keywords
        if keyword.arg is not None
    }

    assert used - texts <= known


def test_seconds_are_no_amount() -> None:
    """The one refused field that is neither an amount nor a time keeps its number."""
    assert wire_details({"field": "dispute_seconds", "given": 8_000_000}) == {
        "field": "dispute_seconds",
        "given": 8_000_000,
    }
