"""The engine's work on one order, by stage. Each stage is measured alone, on the same orders."""

from collections.abc import Callable
from itertools import chain
from time import process_time
from typing import TypeVar

from eventsourcing.persistence import StoredEvent

from domain.account import DepositCash, OpenAccount
from domain.exchange import Entry, Exchange
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import PlaceOrder
from domain.story import PublishStory
from eventsourcing_kafka.protocol import encode_batch
from messages.commands import Command, Submitted, dump_command, dump_record, order_command_id, parse_record, with_ids
from messages.replies import dump_reply, make_reply
from messages.stored import decode_state, to_stored

ORDERS = 4_000
BATCH_ORDERS = 100

T = TypeVar("T")


def stages() -> dict[str, float]:
    """Print and return the CPU of each stage in microseconds: per order, and for the replay per event."""
    exchange = Exchange()
    entries: list[Entry] = []

    def setup(command_id: str, command: Command) -> Command:
        whole = with_ids(command_id, command)
        entries.extend(exchange.handle(whole, 1, command_id))  # type: ignore[arg-type]
        return whole

    opening = OpenMarket("", "", "m", "Will it be?", ("No", "Yes"), 100_000 * MICRO, 10**15, "News")
    market = setup("s", PublishStory("", "s", "Story", "Body", "world", 0, None, (opening,))).markets[0].market_id  # type: ignore[union-attr]
    account = setup("a", OpenAccount("", "T")).account_id  # type: ignore[union-attr]
    setup("d", DepositCash(account, 10_000_000 * MICRO))
    orders = [PlaceOrder(account, market, "", f"c-{i}", "Yes", "buy", "market", spend=MICRO) for i in range(ORDERS)]
    dumped = [dump_command(order_command_id(account, order.client_order_id), order) for order in orders]
    records = [dump_record(dumped[i : i + BATCH_ORDERS]) for i in range(0, ORDERS, BATCH_ORDERS)]

    took: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T], count: int = ORDERS) -> T:
        began = process_time()
        result = work()
        took[name] = round((process_time() - began) / count * 1e6, 2)
        print(f"{name:10} {took[name]:7.2f} us")
        return result

    parsed = timed("parse", lambda: [item for record in records for item in parse_record(record)])
    submitted = [item for item in parsed if isinstance(item, Submitted)]
    decided = timed("decide", lambda: [_decide(exchange, item) for item in submitted])
    stored = timed("store", lambda: [_store(item, found) for item, found in zip(submitted, decided, strict=True)])
    batches = [list(chain.from_iterable(stored[i : i + BATCH_ORDERS])) for i in range(0, ORDERS, BATCH_ORDERS)]
    values = timed("encode", lambda: [encode_batch("w" * 32, 1, 1, batch, states_are_json=True) for batch in batches])
    timed(
        "reply",
        lambda: [
            dump_reply(
                make_reply(item.command_id, item.digest, 7, 1_729_764_120_000_000, [entry.event for entry in found])
            )
            for item, found in zip(submitted, decided, strict=True)
        ],
    )
    events = [event for batch in batches for event in batch]
    fresh = Exchange()
    for number, entry in enumerate(entries):
        fresh.apply(entry.event, stream=entry.stream, version=entry.version, time=1, command_id=str(number))
    timed("replay", lambda: _replay(fresh, events), len(events))
    took["record_bytes"] = round(sum(map(len, values)) / ORDERS)
    return took


def _decide(exchange: Exchange, item: Submitted) -> list[Entry]:
    exchange.step(2)
    assert isinstance(item.command, PlaceOrder), "an order"
    found = exchange.handle(item.command, 2, item.command_id)
    exchange.step(2)
    return found


def _store(item: Submitted, entries: list[Entry]) -> list[StoredEvent]:
    first, *rest = entries
    return [
        to_stored(first, time=2, command_id=item.command_id, digest=item.digest),
        *[to_stored(entry, time=2, command_id=item.command_id) for entry in rest],
    ]


def _replay(exchange: Exchange, events: list[StoredEvent]) -> None:
    for stored in events:
        state = decode_state(stored.topic, stored.state)
        exchange.apply(
            state.data,
            stream=str(stored.originator_id),
            version=stored.originator_version,
            time=state.time,
            command_id=state.command_id,
        )


if __name__ == "__main__":
    stages()
