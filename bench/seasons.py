"""A log of any length, made cheaply: one season of trading by the exchange itself, then the same season again and again.

A season has a story with 100 new markets of 2 outcomes, in which 1,000 accounts place market and limit orders, ten a
second; at its end every market is closed, determined, finalized and paid out. The seasons after the first one are
copies: their ids have another number, their times lie later, the versions of the accounts' streams go on. So they are
what the exchange would have written, a thousand times as fast; the last season ends in the middle.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from eventsourcing.persistence import ApplicationRecorder, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.sql import SQL, Identifier

from domain.account import DepositCash, OpenAccount
from domain.commands import Command
from domain.exchange import Exchange
from domain.market import CloseMarket, DetermineMarket, Evidence, FinalizeMarket, OpenMarket, Payout
from domain.money import MICRO
from domain.orders import PlaceOrder
from domain.story import PublishStory
from messages.stored import to_stored

START: Final = 1_729_764_120_000_000
ACCOUNTS, MARKETS = 1_000, 100
SEASON_ORDERS: Final = 100_000
SEASON_MICROSECONDS: Final = 4 * 3600 * MICRO
"""A season's orders take less than three hours."""

_SEASON: Final = "S000"
"""What stands in every id of the first season, and becomes the number of another one."""

_TIME: Final = re.compile(rb"\b1[78]\d{14}\b")
_ENVELOPE_TIME: Final = re.compile(rb'(?<="time":)\d{16}')
_TIMED: Final = ("StoryPublished", "Market")
"""The topics of events that have times of their own, by how they begin; the others have that of their envelope."""


class _Template(NamedTuple):
    """An event of the first season, its state cut where its time stands."""

    stream: str
    version: int
    topic: str
    before: bytes
    time: int
    after: bytes


def write(recorder: ApplicationRecorder, events: int) -> None:
    """Write a log of so many events to PostgreSQL."""
    assert isinstance(recorder, PostgresApplicationRecorder)
    copy_in = SQL("COPY {} (originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)").format(
        Identifier(recorder.datastore.schema, recorder.events_table_name)
    )
    exchange, opening, season = _played(min(events, SEASON_ORDERS))
    assert exchange.accounts, "somebody has traded"
    templates = [_cut(stored) for stored in season]
    again = Counter(template.stream for template in templates if _SEASON not in template.stream)
    left, number = events, 0
    with recorder.datastore.get_connection() as connection:
        while left > 0:
            rows = _copied(templates, again, number) if number else _rows([*opening, *season])
            with connection.cursor() as cursor, cursor.copy(copy_in) as copy:
                copy.set_types(["text", "int8", "text", "bytea"])
                for row in rows:
                    copy.write_row(row)
                    left -= 1
                    if not left:
                        break
            connection.commit()
            number += 1


def _rows(stored: list[StoredEvent]) -> Iterator[tuple[Any, ...]]:
    return ((str(event.originator_id), event.originator_version, event.topic, event.state) for event in stored)


def _copied(templates: list[_Template], again: Counter[str], number: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of another season."""
    shift, name = number * SEASON_MICROSECONDS, f"S{number:03d}"
    old, new = _SEASON.encode(), name.encode()

    def later(found: re.Match[bytes]) -> bytes:
        return str(int(found[0]) + shift).encode()

    for stream, version, topic, before, time, after in templates:
        state = b"%b%d%b" % (before, time + shift, after)
        if topic.startswith(_TIMED):
            state = before + str(time + shift).encode() + _TIME.sub(later, after)
        if _SEASON in stream:
            yield stream.replace(_SEASON, name), version, topic, state.replace(old, new)
        else:
            yield stream, version + number * again[stream], topic, state.replace(old, new)


def _cut(stored: StoredEvent) -> _Template:
    found = _ENVELOPE_TIME.search(stored.state)
    assert found is not None, "every event has its time"
    before, after = stored.state[: found.start()], stored.state[found.end() :]
    return _Template(str(stored.originator_id), stored.originator_version, stored.topic, before, int(found[0]), after)


def _played(orders: int) -> tuple[Exchange, list[StoredEvent], list[StoredEvent]]:
    """Return an exchange, the events that opened and filled its accounts, and those of the first season."""
    chosen = random.Random(orders)  # noqa: S311  repeatable
    exchange = Exchange()
    opening: list[StoredEvent] = []
    season: list[StoredEvent] = []
    time, number = START, 0
    written = opening

    def send(command: Command) -> None:
        nonlocal number
        number += 1
        name = f"c{_SEASON}{number:012x}"
        for entry in exchange.handle(command, time, name):
            written.append(to_stored(entry, time=time, command_id=name))
        while (step := exchange.step(time)) is not None:
            written.extend(to_stored(entry, time=time, command_id=step[0]) for entry in step[1])
        if number % 500 == 0:
            written.append(to_stored(exchange.read_to("bench", number + 1), time=time, command_id=""))

    names = [f"ac_{i:016x}" for i in range(ACCOUNTS)]
    for name in names:
        send(OpenAccount(name, f"trader {name}"))
        send(DepositCash(name, 1_000_000 * MICRO))
    written = season
    story, open_markets = f"st_{_SEASON}", [f"mk_{_SEASON}_{i:011x}" for i in range(MARKETS)]
    send(PublishStory(story, f"story-{_SEASON}", "Story", "Body", "world", START))
    for name in open_markets:
        close = START + SEASON_MICROSECONDS
        send(OpenMarket(name, story, name, "Will it?", ("No", "Yes"), 50_000 * MICRO, close, "News", fee_rate=10_000))
    for _ in range(orders):
        time += chosen.randrange(200_000)
        send(_order(exchange, chosen, chosen.choice(names), chosen.choice(open_markets), number))
    for name in open_markets:
        send(CloseMarket(name))
        payouts = (Payout(chosen.choice(("No", "Yes")), MICRO),)
        send(DetermineMarket(name, payouts, Evidence("So it was.")))
        send(FinalizeMarket(name))
    return exchange, opening, season


def _order(exchange: Exchange, chosen: random.Random, account: str, market_id: str, number: int) -> PlaceOrder:
    """Return an order that the account can place: to sell, where it holds shares, as often as to buy."""
    market = exchange.markets[market_id]
    outcome = chosen.choice(("No", "Yes"))
    held = exchange.accounts[account].available_shares(market_id, outcome)
    sells = held > MICRO and chosen.random() < 0.5
    quantity = min(held, chosen.randrange(MICRO, 20 * MICRO)) if sells else chosen.randrange(MICRO, 20 * MICRO)
    limit = None
    if chosen.random() < 0.15:
        away = chosen.choice([-20_000, -10_000, -2_000, 2_000, 5_000])
        limit = min(999_000, max(1_000, market.displayed_prices()[market.index(outcome)] // 1000 * 1000 + away))
    return PlaceOrder(
        account, market_id, f"or_{_SEASON}_{number:011x}", f"k{_SEASON}{number}", outcome, "sell" if sells else "buy",
        "limit" if limit else "market", quantity=quantity, limit_price=limit,
    )  # fmt: skip
