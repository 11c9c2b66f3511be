"""The way to several partitions, on three engines in this process: where commands go, and how they get their funds."""

import asyncio
from random import Random
from time import monotonic
from typing import Any

import pytest

from consumers.partitions_gateway import PartitionsGateway, partition_of_command
from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.assignments import AssignPartition
from domain.commands import Command
from domain.market import AddLiquidity, OpenMarket
from domain.money import MICRO
from domain.orders import CancelOrder, CancelOrders, PlaceOrder, SplitSets
from domain.partition import CommandRejected
from domain.story import PublishStory
from domain.transfers import FundsSent, TransferFunds
from messages.commands import QuoteOrder, dump_command, order_command_id
from messages.replies import Reply
from tests.consumers.exchange_fixtures import START
from tests.consumers.three_engines import PARTITIONS, Three, three, wait_for


class LocalLane:
    """The way to an engine in this process. What a transfer carries has no waiter there, so its reply is looked for."""

    def __init__(self, world: Three, partition: int) -> None:
        self._world, self._partition = world, partition

    async def submit(self, command_id: str, command: Command, _: Any = None, **wishes: Any) -> Reply:
        """Return the reply."""
        return await asyncio.wrap_future(self._world.send(self._partition, command_id, command, **wishes))

    async def carried(self, command_id: str, command: Command, _: Any = None) -> Reply:
        """Return the reply that a transfer brings about, or ask after a second."""
        found, deadline = self._world.sources[self._partition].carried, monotonic() + 1.0
        while monotonic() < deadline:
            if (reply := found.pop(command_id, None)) is not None:
                return reply
            await asyncio.sleep(0.005)
        return await self.submit(command_id, command, top_up=True)

    def envelope(self, command_id: str, command: Command, _: Any = None) -> bytes:
        """Return what is carried."""
        return dump_command(command_id, command, top_up=True)


def gateway_to(world: Three, share: int = MICRO // 4) -> PartitionsGateway:
    """The gateway to three engines."""
    return PartitionsGateway([LocalLane(world, partition) for partition in range(PARTITIONS)], share)


def sent(world: Three) -> list[tuple[int, FundsSent]]:
    """All transfers, with their senders."""
    return [
        (partition, row.event)
        for partition in range(PARTITIONS)
        for row in world.log(partition)
        if isinstance(row.event, FundsSent)
    ]


@pytest.mark.parametrize(
    ("command", "partition"),
    [
        (PlaceOrder("ac1_a", "mk2_m", "", "c", "Yes", "buy", "market", spend=1), 2),
        (QuoteOrder(PlaceOrder("ac1_a", "mk2_m", "", "c", "Yes", "buy", "market", spend=1)), 2),
        (CancelOrder("ac1_a", "or2_o"), 2),
        (CancelOrders("ac1_a", "mk2_m"), 2),
        (AddLiquidity("mk2_m", 1), 2),
        (OpenMarket("", "st2_s", None, "q", ("Yes", "No"), 1, 1, "s"), 2),
        (WithdrawCash("ac1_a", 1), 1),
        (TransferFunds("ac1_a", 2, 1), 1),
        (AssignPartition("story", "s"), 0),
        (PlaceOrder("ac_a", "mk_m", "", "c", "Yes", "buy", "market", spend=1), 0),
    ],
)
def test_a_command_goes_where_its_market_is(command: Any, partition: int) -> None:
    """Else to the home of its account, else to partition 0."""
    assert partition_of_command(command) == partition


def test_with_one_partition_nobody_asks_where_things_live() -> None:
    """An account is opened, a story published at once: the log has nothing of places."""
    with three() as world:
        gateway = PartitionsGateway([LocalLane(world, 0)], MICRO // 4)
        opened = asyncio.run(gateway.submit("o", OpenAccount("", "Eve")))
        published = asyncio.run(
            gateway.submit("p", PublishStory("", "eve", "Eve", "Body", "world", START), partition=0)
        )

        assert (opened.code, published.code) == (None, None)
        assert not [row for row in world.log(0) if row.command_id.startswith("assign:")]


def test_what_names_a_partition_that_does_not_exist_is_refused() -> None:
    """Partition 0 answers, as it does for any id that nothing has."""
    with three() as world:
        gateway, account = gateway_to(world), world.account
        wishes: list[tuple[Command, str]] = [
            (AddLiquidity("mk9_m", MICRO), "MARKET_NOT_FOUND"),
            (SplitSets(account, "mk9_m", MICRO), "MARKET_NOT_FOUND"),
            (SplitSets("ac9_a", world.markets[1], MICRO), "ACCOUNT_NOT_FOUND"),
            (DepositCash("ac9_a", MICRO), "ACCOUNT_NOT_FOUND"),
            (CancelOrders("ac9_a"), "ACCOUNT_NOT_FOUND"),
        ]
        for number, (command, code) in enumerate(wishes):
            assert asyncio.run(gateway.submit(f"n{number}", command)).code == code


def test_funds_come_from_home_and_then_from_everywhere() -> None:
    """A share of what is at home, so that the next orders find it; what home lacks comes from all others."""
    with three() as world:
        gateway, account, markets = gateway_to(world), world.account, world.markets

        async def split(name: str, partition: int, amount: int) -> Reply:
            return await gateway.submit(name, SplitSets(account, markets[partition], amount * MICRO))

        async def trade() -> None:
            assert (await split("a", 2, 30)).code is None
            assert (await split("b", 2, 200)).code is None
            assert sent(world) == [(0, FundsSent(account, 2, 1, 250 * MICRO, 30 * MICRO, 1, MICRO // 4))]
            assert (await split("c", 1, 100)).code is None
            assert (await split("d", 0, 500)).code is None
            assert (await split("e", 1, 150)).code is None, "home, and what is left in both others"
            refused = await split("f", 2, 100)
            assert refused.code == "INSUFFICIENT_FUNDS"
            assert await split("f", 2, 100) == refused
            withdrawn = await gateway.submit("w", WithdrawCash(account, 20 * MICRO))
            assert withdrawn.code is None, "what is elsewhere comes home"
            assert (await gateway.submit("x", WithdrawCash(account, 1))).code == "INSUFFICIENT_FUNDS"

        asyncio.run(trade())
        wait_for(lambda: world.audit().in_transit() == 0)
        assert world.audit().total(account) == 0


@pytest.mark.parametrize("seed", range(2))
def test_orders_at_once_never_spend_more_than_there_is(seed: int) -> None:
    """In all partitions at once, some twice with one id: each has one outcome, and what was refused was not to be had."""
    random = Random(seed)  # noqa: S311  a simulation, no secret
    with three(seed) as world:
        gateway = gateway_to(world, share=random.choice([0, MICRO // 10, MICRO // 2]))
        wishes = [(f"w{number}", random.randrange(PARTITIONS), random.randrange(1, 60) * MICRO) for number in range(50)]

        async def buy(name: str, partition: int, amount: int) -> Reply:
            await asyncio.sleep(random.random())
            return await gateway.submit(name, SplitSets(world.account, world.markets[partition], amount))

        async def buy_all() -> list[Reply]:
            return await asyncio.gather(*[buy(*wish) for wish in wishes], *[buy(*wish) for wish in wishes[::5]])

        replies = asyncio.run(buy_all())
        wait_for(lambda: world.audit().in_transit() == 0)
        codes: dict[str, set[str | None]] = {}
        for reply in replies:
            codes.setdefault(reply.command_id, set()).add(reply.code)
        assert all(len(found) == 1 for found in codes.values()), "one outcome"
        assert {code for found in codes.values() for code in found} <= {None, "INSUFFICIENT_FUNDS"}
        spent = sum(amount for name, _, amount in wishes if codes[name] == {None})
        assert world.audit().total(world.account) == 1_000 * MICRO - spent
        refusals = [
            row.event.code
            for each in range(PARTITIONS)
            for row in world.log(each)
            if isinstance(row.event, CommandRejected)
        ]
        assert "FUNDS_NEEDED" not in refusals, "it leaves nothing in the log"


def test_names_are_given_once_over_all_partitions() -> None:
    """By whatever command, at once and again; each is made where partition 0 says, or where the operator wishes."""
    with three() as world:
        gateway = gateway_to(world)

        async def make() -> None:
            names = ["Bob", "BOB", "Cyd", "Dan", "dan"]
            opened = await asyncio.gather(
                *[gateway.submit(f"open:{number}", OpenAccount("", name)) for number, name in enumerate(names)]
            )
            assert sorted(str(reply.code) for reply in opened) == ["ACCOUNT_EXISTS"] * 2 + ["None"] * 3
            again = await gateway.submit("open:2", OpenAccount("", "Cyd"))
            assert again == opened[2]
            wished = await gateway.submit("eve", OpenAccount("", "Eve"), partition=2)
            assert wished.result["account_id"].startswith("ac2_")
            refused = await gateway.submit("eve:2", OpenAccount("", "EVE"), partition=1)
            assert (refused.code, refused.command_id, refused.details["partition"]) == ("INVALID_FIELD", "eve:2", 2)
            story = PublishStory("", None, "Who wins?", "body", "world", START, None, ())
            first = await gateway.submit("s1", story)
            second = await gateway.submit("s2", story)
            assert (first.result["slug"], second.result["slug"]) == ("who-wins", "who-wins-2")

        asyncio.run(make())


def test_all_orders_are_canceled_everywhere() -> None:
    """One reply has them all, wherever they rest."""
    with three() as world:
        gateway, account = gateway_to(world), world.account

        async def rest() -> None:
            for number, market in enumerate(world.markets):
                order = PlaceOrder(
                    account, market, "", f"c{number}", "Yes", "buy", "limit", quantity=MICRO, limit_price=MICRO // 10
                )
                placed = await gateway.submit(order_command_id(account, f"c{number}"), order)
                assert placed.code is None, placed
            reply = await gateway.submit("cancel", CancelOrders(account))
            assert sorted(order["market_id"] for order in reply.result["canceled"]) == sorted(world.markets)
            assert (await gateway.submit("cancel:2", CancelOrders(account))).result == {"canceled": []}
            deposited = await gateway.submit_all(
                [("d1", DepositCash(account, 1)), ("d2", SplitSets(account, world.markets[1], 2))]
            )
            assert [reply.code for reply in deposited if isinstance(reply, Reply)] == [None, None]

        asyncio.run(rest())
