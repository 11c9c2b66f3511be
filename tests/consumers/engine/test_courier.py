"""Three engines in this process, and queues between them that fail: the protocol of transfers with the program's own engine."""

from random import Random

import pytest
from msgspec.structs import replace

from consumers.engine.clock import system_clock
from consumers.engine.engine import Engine
from consumers.engine.metrics import EngineCollector
from consumers.engine.transfer_topic import Outgoing
from domain.assignments import AssignPartition
from domain.orders import SplitSets
from domain.partition import CommandsRead
from domain.transfer_rules import OUTGOING_MAX
from domain.transfers import FundsCarried, FundsSent, Transfer, TransferFunds
from messages.commands import dump_command
from tests.consumers.exchange_fixtures import MICRO, START
from tests.consumers.three_engines import PARTITIONS, three, wait_for


def test_a_command_travels_with_its_funds() -> None:
    """It lacks funds where its market is; the transfer brings both, and one batch there has receipt, outcome and mark."""
    with three() as world:
        wish = SplitSets(world.account, world.markets[2], 30 * MICRO)
        needed = world.ask(2, "wish", wish, top_up=True)
        assert (needed.code, needed.details["required"]) == ("FUNDS_NEEDED", "30.000000")
        then = dump_command("wish", wish, top_up=True)
        sent = world.ask(0, "t1", TransferFunds(world.account, 2, 30 * MICRO, share=MICRO // 4), then=then)
        assert sent.result == {
            "account_id": world.account,
            "to_partition": 2,
            "number": 1,
            "amount": "250.000000",
        }

        wait_for(lambda: "wish" in world.sources[2].carried)
        done = world.sources[2].carried["wish"]
        assert done.code is None
        assert world.ask(2, "wish", wish, top_up=True) == done
        wait_for(lambda: isinstance(world.log(0)[-2].event, FundsCarried))

    kinds = [type(row.event).__name__ for row in world.log(2)]
    first = kinds.index("BalanceOpened")
    assert kinds[first:] == [
        "BalanceOpened",
        "FundsReceived",
        "SetsSplit",
        "SetsMinted",
        "CommandsRead",
        "CommandsRead",
    ]
    assert [row.event for row in world.log(2)[-2:]][1] == CommandsRead("transfers-2", 1)
    assert world.engines[0].exchange.channels.outgoing == {}
    assert world.audit().in_transit() == 0


def test_the_first_engine_says_where_new_things_live() -> None:
    """In one of the partitions that take new ones. The first answer holds, also for another engine of the same log."""
    with three() as world:
        question = AssignPartition("story", "election-2024")
        first = world.ask(0, "assign:1", question)
        assert first.result["partition"] in {1, 2}
        assert world.ask(0, "assign:1", question) == first
        assert world.ask(0, "assign:2", AssignPartition("story", "election")).result == first.result
        assert world.ask(1, "assign:1", question).details == {"partition": 0}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_comes_twice(seed: int) -> None:
    """Appends end in doubt, records come twice or are given up: in the end every balance is what was sent to it."""
    with three(seed) as world:
        random = Random(seed)  # noqa: S311  a simulation, no secret
        world.between.faults = 0.3
        for number in range(60):
            sender, receiver = random.sample(range(PARTITIONS), 2)
            amount = random.randrange(1, 50 * MICRO)
            world.ask(sender, f"t{number}", TransferFunds(world.account, receiver, amount, at_least=1))
        world.between.faults = 0.0
        wait_for(lambda: world.audit().in_transit() == 0)

    audits = world.audit()
    assert audits.total(world.account) == 1_000 * MICRO
    sent = [
        row.event for partition in range(PARTITIONS) for row in world.log(partition) if type(row.event) is FundsSent
    ]
    assert len(sent) > 5
    assert sum(map(len, world.between.records)) > len(sent), "some came twice"
    assert sum(engine.measures.doubts for engine in world.engines) > 0


def test_a_channel_that_carries_nothing_fills_up() -> None:
    """Then transfers to that partition are refused, and leave nothing; others go on. Once it carries again, the same ones do."""
    with three() as world:
        world.between.dead.add(2)
        one, other = TransferFunds(world.account, 2, 1), TransferFunds(world.account, 1, 1)
        for number in range(OUTGOING_MAX - 1):
            world.send(0, f"t{number}", one)
        assert world.ask(0, "last", one).code is None
        end = len(world.log(0))
        refused = world.ask(0, "more", one)
        assert (refused.code, refused.details) == ("BUSY", {"to_partition": 2, "maximum": OUTGOING_MAX})
        assert world.ask(0, "t0", one).code is None, "its outcome stands"
        assert len(world.log(0)) == end
        assert world.ask(0, "other", other).code is None

        world.between.dead.clear()
        wait_for(lambda: world.ask(0, "more", one).code is None)
        wait_for(lambda: world.engines[2].exchange.channels.received == {0: OUTGOING_MAX + 1})


def numbers(engine: Engine) -> dict[str, dict[str, float]]:
    """Return an engine's metrics of transfers, by the other partition."""
    return {
        family.name.removeprefix("tidings_engine_transfers_"): {
            sample.labels.get("to") or sample.labels.get("from", ""): sample.value for sample in family.samples
        }
        for family in EngineCollector(engine).collect()
    }


def test_metrics_tell_where_cash_is() -> None:
    """What waits to be carried and since when, and what is in transit, as a sum over all engines."""
    with three() as world:
        world.between.dead.add(2)
        for number in range(3):
            assert world.ask(0, f"t{number}", TransferFunds(world.account, 2, MICRO)).code is None
        assert world.ask(0, "other", TransferFunds(world.account, 1, 5 * MICRO)).code is None
        wait_for(lambda: world.engines[1].exchange.channels.received == {0: 1})
        found = [numbers(engine) for engine in world.engines]
        assert found[0]["sent"] == {"1": 1, "2": 3}
        assert found[0]["waiting"]["2"] == 3
        assert found[0]["waiting_seconds"].keys() >= {"2"}
        assert 0 <= found[0]["waiting_seconds"]["2"] < 60
        assert found[1]["received"] == {"0": 1}
        assert sum(each["tidings_engine_transit_credits"][""] for each in found) == 3
        assert found[1]["tidings_engine_clock_ahead_seconds"] == {"": 0.0}

        world.between.dead.clear()
        wait_for(lambda: sum(numbers(each)["tidings_engine_transit_credits"][""] for each in world.engines) == 0)
        assert numbers(world.engines[0])["missing"] == {}


def test_a_clock_that_is_ahead_is_told() -> None:
    """A transfer from the future moves the receiver's time, and shows."""
    with three() as world:
        later = system_clock() + 3_600 * MICRO
        world.between.records[0].append(Outgoing(0, Transfer(1, 1, world.account, MICRO, later, "x1"), b""))
        world.sources[0].wake()
        wait_for(lambda: world.engines[0].exchange.channels.received == {1: 1})
        assert world.engines[0].exchange.time >= later
        assert 3_500 < numbers(world.engines[0])["tidings_engine_clock_ahead_seconds"][""] <= 3_600


def test_a_channel_that_has_lost_a_record_stands_still_alone() -> None:
    """What comes too early is left out, loudly; other channels go on, and so does this one when the record comes after all."""
    with three() as world:
        lost, early, other = (Transfer(1, n, world.account, MICRO, START, f"x{n}") for n in (1, 2, 1))
        for one in (early, replace(other, from_partition=2)):
            world.between.records[0].append(Outgoing(0, one, b""))
        world.sources[0].wake()
        wait_for(lambda: world.engines[0].exchange.channels.received == {2: 1})
        assert numbers(world.engines[0])["missing"] == {"1": 1.0}
        for one in (lost, early):
            world.between.records[0].append(Outgoing(0, one, b""))
        world.sources[0].wake()
        wait_for(lambda: world.engines[0].exchange.channels.received == {1: 2, 2: 1})
        assert numbers(world.engines[0])["missing"] == {}
