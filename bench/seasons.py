"""Writes a log of any length cheaply: the exchange produces one season of trading, and later seasons are copies of it.

A season has a story with 100 new markets of 2 outcomes. 1,000 accounts place market and limit orders in them, ten per
second. At the end of the season every market is closed, determined, finalized and paid out. In a copy, ids have another
number, times are later, and the versions of the accounts' streams continue. So the copies are what the exchange would have
written, a thousand times as fast. The last season may be cut off.
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
"""The length of a season. Its orders take less than three hours."""

_SEASON: Final = "S000"
"""The number in every id of the first season, which each copy replaces by its own."""

_TIME: Final = re.compile(rb"\b1[78]\d{14}\b")
_ENVELOPE_TIME: Final = re.compile(rb'(?<="time":)\d{16}')
_TIMED: Final = ("StoryPublished", "Market")
"""The beginnings of the topics whose events contain times; other events have only the time of their envelope."""


class _Template(NamedTuple):
    """An event of the first season, with its state split around the time of the envelope."""

    stream: str
    version: int
    topic: str
    before: bytes
    time: int
    after: bytes


def write(recorder: ApplicationRecorder, events: int) -> None:
    """Write a log with this number of events to PostgreSQL."""
    assert isinstance(recorder, PostgresApplicationRecorder)
    copy_in = SQL("COPY {} (originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)").format(
        Identifier(recorder.datastore.schema, recorder.events_table_name)
    )
    opening, season = _first_season(min(events, SEASON_ORDERS))
    templates = [_template(stored) for stored in season]
    repeated = Counter(template.stream for template in templates if _SEASON not in template.stream)
    left, number = events, 0
    with recorder.datastore.get_connection() as connection:
        while left > 0:
            rows = _copied(templates, repeated, number) if number else _rows([*opening, *season])
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


def _copied(templates: list[_Template], repeated: Counter[str], number: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a copy; `repeated` counts the events per season of the streams that all seasons share."""
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
            yield stream, version + number * repeated[stream], topic, state.replace(old, new)


def _template(stored: StoredEvent) -> _Template:
    found = _ENVELOPE_TIME.search(stored.state)
    assert found is not None, "every event has a time"
    before, after = stored.state[: found.start()], stored.state[found.end() :]
    return _Template(str(stored.originator_id), stored.originator_version, stored.topic, before, int(found[0]), after)


def _first_season(orders: int) -> tuple[list[StoredEvent], list[StoredEvent]]:
    """Return the events that open the accounts and deposit cash, and the events of the first season."""
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
            written.append(to_stored(exchange.commands_read("bench", number + 1), time=time, command_id=""))

    names = [f"ac_{i:016x}" for i in range(ACCOUNTS)]
    for name in names:
        send(OpenAccount(name, f"trader {name}"))
        send(DepositCash(name, 1_000_000 * MICRO))
    written = season
    story, open_markets = f"st_{_SEASON}", [f"mk_{_SEASON}_{i:011x}" for i in range(MARKETS)]
    send(PublishStory(story, f"story-{_SEASON}", "Story", "Body", "world", START))
    for name in open_markets:
        close = START + SEASON_MICROSECONDS
        send(
            OpenMarket(
                name,
                story,
                name,
                "Will it?",
                ("No", "Yes"),
                50_000 * MICRO,
                close,
                "News",
                fee_rate=10_000,
                dispute_seconds=0,
            )
        )
    for _ in range(orders):
        time += chosen.randrange(200_000)
        send(affordable_order(exchange, chosen, chosen.choice(names), chosen.choice(open_markets), number))
    for name in open_markets:
        send(CloseMarket(name))
        payouts = (Payout(chosen.choice(("No", "Yes")), MICRO),)
        send(DetermineMarket(name, payouts, Evidence("So it was.")))
        send(FinalizeMarket(name))
    return opening, season


def affordable_order(
    exchange: Exchange, chosen: random.Random, account: str, market_id: str, number: int
) -> PlaceOrder:
    """Return an order that the account can afford. An account that holds shares sells as often as it buys."""
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
