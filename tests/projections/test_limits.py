"""Random commands with amounts, prices and texts at their limits: log, read models, JSON of the API and views hold them."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
from msgspec.structs import replace

from api.http.routes.markets import market_json
from api.http.serializers import serialize
from consumers.simulation.random_commands import RandomCommands
from domain.account import DepositCash
from domain.events import Recorded
from domain.invariants import Audit
from domain.market import DISPUTE_SECONDS_MAX, OUTCOMES_MAX, SUBSIDY_MAX, SUBSIDY_MIN, AddLiquidity
from domain.money import AMOUNT_MAX, MICRO, PRICE_MAX, PRICE_MIN, PRICE_TICK
from domain.orders import ORDER_MIN, OrderPlaced
from domain.partition import CommandRejected
from domain.story import PublishStory
from messages.events import event_schemas, public_event
from messages.stored import from_stored, to_stored
from messages.wire import TIME_MAX
from projections import accounts, book, lifecycle, orders, statements, stories
from projections.candles import PERIODS
from projections.dashboards.views import VIEWS
from projections.markets import listing, prices
from projections.positions import leaderboard, positions
from projections.reading import AsOf, read
from projections.registry import PROJECTIONS
from projections.trades import trades
from tests.projections.reading_candles import outcome_candles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.commands import Command
    from domain.exchange import Entry, Exchange
    from domain.market_state import Market
    from tests.projections.folding import Copy, ReadModels

AMOUNTS = (1, ORDER_MIN - 1, ORDER_MIN, ORDER_MIN + 1, MICRO, SUBSIDY_MAX, AMOUNT_MAX - 1, AMOUNT_MAX)
PRICES = (PRICE_MIN, PRICE_MIN + PRICE_TICK, PRICE_MAX - PRICE_TICK, PRICE_MAX)
JSON_INTEGER_MAX = 1 << 53
"""The largest integer that every reader of JSON keeps exactly."""


class CommandsAtLimits(RandomCommands):
    """Random commands with the largest, the smallest and neighbouring amounts, and the longest texts."""

    def next_command(self, exchange: Exchange) -> tuple[int, str, Command]:
        """Return the next command, with amounts of money at their limits."""
        time, command_id, command = super().next_command(exchange)
        if isinstance(command, DepositCash):
            command = replace(command, amount=self.random.choice([1, AMOUNT_MAX, AMOUNT_MAX, AMOUNT_MAX]))
        elif isinstance(command, AddLiquidity):
            command = replace(command, amount=self.random.choice([1, SUBSIDY_MAX - 2 * MICRO, SUBSIDY_MAX]))
        elif isinstance(command, PublishStory):
            command = replace(
                command,
                title="市" * 300,
                body="市" * 20_000,
                category=self.random.choice(["c", "市" * 64]),
                published_at=self.random.choice([0, TIME_MAX]),
                markets=tuple(
                    replace(
                        market,
                        outcomes=tuple(f"{number:02}".ljust(100, "市") for number in range(len(market.outcomes))),
                        question="市" * 500,
                        resolution_source="市" * 2_000,
                        subsidy=self.random.choice([SUBSIDY_MIN, SUBSIDY_MAX]),
                        fee_rate=self.random.choice([0, 1, MICRO - 1, MICRO]),
                        dispute_seconds=self.random.choice([0, 1, DISPUTE_SECONDS_MAX]),
                    )
                    for market in command.markets
                ),
            )
        return time, command_id, command

    def _amount(self, market: Market) -> int:  # noqa: ARG002  whatever the market
        return self.random.choice(AMOUNTS)

    def _price(self, market: Market, outcome: int) -> int:
        return self.random.choice(PRICES) if self.random.random() < 0.7 else super()._price(market, outcome)


def log_at_limits(seed: int, commands: int) -> list[Recorded]:
    """Return the log of random commands, read back from its stored form; every invariant holds on the way."""
    random = Random(seed)  # noqa: S311  a test, no secret
    chooser = CommandsAtLimits(random, accounts=4, markets=4, outcomes=(2, 2, 3, OUTCOMES_MAX), lifecycle=0.06)
    audit, exchange, log = Audit(), Audit().exchange, list[Recorded]()

    def record(command_id: str, time: int, entries: list[Entry]) -> None:
        for entry in entries:
            audit.apply(entry, time=time, command_id=command_id)
            read_back = from_stored(len(log) + 1, to_stored(entry, time=time, command_id=command_id))
            assert read_back.event == entry.event
            log.append(read_back)

    for _ in range(commands):
        time, command_id, command = chooser.next_command(exchange)
        while (step := exchange.step(time)) is not None:
            record(step[0], time, step[1])
        record(command_id, time, exchange.handle(command, time, command_id))
        while (step := exchange.step(time)) is not None:
            record(step[0], time, step[1])
    audit.check_all()
    return log


def exact(text: str) -> int:
    """Return an integer of a JSON text, which every reader must be able to keep exactly."""
    assert abs(int(text)) <= JSON_INTEGER_MAX, text
    return int(text)


def rows_of(copy: Copy, as_of: AsOf) -> Iterator[Any]:
    """Yield what the API shows of everything, in JSON's types."""
    connection = copy.connection
    for account in accounts.list_accounts(connection, as_of, limit=100):
        yield serialize(account)
        ref = account.account_id
        yield from map(serialize, positions.account_positions(connection, as_of, ref, closed=True))
        yield from map(serialize, positions.settlements(connection, as_of, ref, limit=1_000))
        yield from map(serialize, trades.account_fills(connection, as_of, ref, limit=1_000))
        yield from map(serialize, statements.statement(connection, as_of, ref, limit=1_000))
        if not as_of.past:
            yield from map(serialize, orders.account_orders(connection, as_of, ref, limit=1_000))
    for market in listing.newest(connection, as_of, limit=1_000):
        yield market_json(market, listing.changes(connection, as_of, [market])[market.market_id])
        yield from map(serialize, trades.market_trades(connection, as_of, market.market_id, limit=1_000))
        yield from map(serialize, lifecycle.market_events(connection, as_of, market.market_id, limit=1_000))
        yield from map(serialize, book.book(connection, as_of, market))
        yield from map(serialize, positions.holders(connection, as_of, market.market_id))
        yield [tick.price for tick in prices.histories(connection, as_of, market.market_id, [0]).ticks[0]]
        for period in PERIODS:
            found = outcome_candles(connection, as_of, market.market_id, 0, period, market.opened_at, as_of.time + 1)
            yield from map(serialize, found)
    yield from map(serialize, stories.list_stories(connection, as_of, limit=1_000))
    for sort in ("pnl", "volume", "roi", "brier"):
        yield from map(serialize, leaderboard.leaderboard(connection, as_of, sort=sort))


@pytest.mark.parametrize("seed", range(3))
def test_everything_holds_what_the_rules_allow(read_models: ReadModels, seed: int) -> None:
    """No event is parked, no JSON integer is beyond 2^53, no event is outside its schema, no view overflows."""
    log = log_at_limits(seed, 160)
    assert sum(isinstance(recorded.event, OrderPlaced) for recorded in log) > 10
    assert sum(isinstance(recorded.event, CommandRejected) for recorded in log) < 0.6 * len(log)
    schemas = {topic: jsonschema.Draft202012Validator(schema) for topic, schema in event_schemas().items()}
    for recorded in log:
        text = msgspec.json.encode(public_event(recorded))
        assert len(text) < 1 << 20
        schemas[recorded.event.TOPIC].validate(json.loads(text, parse_int=exact))

    copy = read_models.copy().fold(log, 500)
    assert copy.connection.execute("SELECT count(*) FROM projection_parked").fetchone() == (0,)
    for at in (None, len(log) // 2, len(log)):
        with read(copy.connection, *PROJECTIONS, at=at) as as_of:
            for row in rows_of(copy, as_of):
                json.loads(json.dumps(row), parse_int=exact)
    with copy.connection.transaction(), copy.connection.cursor() as cursor:
        for name, view in VIEWS.items():
            cursor.execute(f"CREATE TEMP TABLE seen_{name} ON COMMIT DROP AS {view.query}")
