"""The protocol between partitions, under faults: nothing is lost, nothing comes twice; and each of its rules is needed."""

import re
from typing import Final, get_args

import pytest

from domain.account import DepositCash, OpenAccount, SetsSplit
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import SplitSets
from domain.story import PublishStory
from domain.transfer_rules import MissingTransferError
from tests.domain.partitions.protocol import PARTITIONS, Rule, Sent, World
from tests.domain.partitions.senders import Gateway
from tests.domain.scenario import CLOSE

WISHES: Final = 12
STEPS: Final = 150
REST_MAX: Final = 6_000
"""The most steps in which a world without faults comes to rest."""

SEEDS: Final = 400
"""The most worlds that are tried until one breaks without a rule. Most rules need fewer than ten."""

CASH: Final = 1_000 * MICRO

ACCOUNTS: Final = [f"ac{partition or ''}_{name}" for partition in range(PARTITIONS) for name in "ab"]
HOME: Final = {account: number // 2 for number, account in enumerate(ACCOUNTS)}


def market_of(partition: int) -> str:
    """Return the market of a partition."""
    return f"mk{partition or ''}_m"


def opened(world: World) -> World:
    """Open a market in each partition, and accounts with cash, before anything fails."""
    faults, world.faults = world.faults, 0.0
    for partition in range(PARTITIONS):
        story, market = f"st{partition or ''}_s", market_of(partition)
        terms = OpenMarket(market, story, "m", "question?", ("Yes", "No"), MICRO, CLOSE * 10, "source")
        published = PublishStory(story, "s", "title", "body", "world", 0, None, (terms,))
        world.commands[partition].append(Sent(f"publish:{partition}", published))
    for account, home in HOME.items():
        world.commands[home].append(Sent(f"open:{account}", OpenAccount(account, account)))
        world.commands[home].append(Sent(f"deposit:{account}", DepositCash(account, CASH)))
    while not world.is_quiet():
        world.step()
    world.answers.clear()
    world.faults = faults
    return world


def run(seed: int, without: Rule | None = None, *, wishes: int = WISHES, steps: int = STEPS) -> World:
    """Let accounts buy sets everywhere while everything fails, then let it come to rest, and check how it ended."""
    world = opened(World(seed, without))
    gateway, random = Gateway(world), world.random
    amounts: dict[str, tuple[str, int, int]] = {}
    for number in range(wishes):
        account, partition = random.choice(ACCOUNTS), random.randrange(PARTITIONS)
        amount = 10 * MICRO + number
        command_id = f"w{number}"
        amounts[command_id] = account, partition, amount
        gateway.wish(command_id, account, SplitSets(account, market_of(partition), amount), HOME[account], partition)
    for _ in range(steps):
        world.step()
        gateway.step()
    world.faults = 0.0
    world.paused.clear()
    for _ in range(REST_MAX):
        if gateway.is_done() and world.is_quiet():
            break
        world.step()
        gateway.step()
    check_end(world, gateway, amounts)
    return world


def check_end(world: World, gateway: Gateway, amounts: dict[str, tuple[str, int, int]]) -> None:
    """Nothing is on its way, every wish was done once, and everybody has what is left."""
    assert gateway.is_done(), "every command has an outcome"
    assert world.is_quiet(), "all is carried"
    assert world.audits.in_transit() == 0, "all that was sent has arrived"
    refused = {
        wish.command_id: wish.outcome for wish in gateway.wishes.values() if wish.outcome and wish.outcome.refusal
    }
    assert not refused, "with funds enough nothing is refused for want of them"
    splits = [row.entry.event for log in world.logs for row in log.rows if isinstance(row.entry.event, SetsSplit)]
    for account, partition, amount in amounts.values():
        done = [split for split in splits if split.amount == amount]
        assert [(split.account_id, split.market_id) for split in done] == [(account, market_of(partition))], "done once"
    for account in ACCOUNTS:
        spent = sum(amount for owner, _, amount in amounts.values() if owner == account)
        assert world.audits.total(account) == CASH - spent, "everybody has what is left"
    for engine, audit in zip(world.engines, world.audits.of, strict=True):
        assert engine.exchange.state_hash() == audit.exchange.state_hash(), "the log tells the state"


def test_nothing_is_lost_and_nothing_comes_twice() -> None:
    """With all rules every world ends well; and the worlds are bad enough."""
    worlds = [run(seed) for seed in range(60)]

    carried = [record.transfer for world in worlds for topic in world.transfers for record in topic]
    sent = sum(len(channel) for world in worlds for channel in world.audits.sent.values())
    assert sent > 7 * len(worlds), "many transfers"
    assert len(carried) > 1.3 * sent, "many come twice"
    assert sum(log.epoch - 1 for world in worlds for log in world.logs) > 10 * len(worlds), "many engines die"


@pytest.mark.chaos
@pytest.mark.parametrize("first", range(1_000, 3_000, 100))
def test_for_long(first: int) -> None:
    """Two thousand worlds, longer and with more to do."""
    for seed in range(first, first + 100):
        run(seed, wishes=30, steps=600)


BREAKS: Final[dict[Rule, str]] = {
    "carry only what counts": "received was sent|received what was sent|no more than was sent",
    "carry again after a take-over": "came before transfer|all that was sent has arrived|all is carried",
    "note as carried only what was acknowledged": "came before transfer|all that was sent has arrived",
    "carry in order": "came before transfer",
    "numbers come from the state": "numbers have no gap|numbers of a channel have no gap",
    "pass over known numbers": "received was sent|received what was sent",
    "receipt and mark are one batch": "came before transfer|all that was sent has arrived",
    "what lacks funds leaves nothing": "refused for want of them",
    "a command keeps its id": "done once",
    "a receipt is not before its sending": "no more than was sent",
}
"""What breaks first without each rule."""


def first_break(rule: Rule) -> Exception | None:
    """Return what breaks in the first world that cannot do without the rule."""
    for seed in range(SEEDS):
        try:
            run(seed, rule)
        except (AssertionError, MissingTransferError) as broken:
            return broken
    return None


@pytest.mark.parametrize("rule", get_args(Rule))
def test_each_rule_is_needed(rule: Rule) -> None:
    """Without it some world breaks, and in the way that the rule prevents."""
    broken = first_break(rule)

    assert broken is not None, "no world breaks"
    assert re.search(BREAKS[rule], str(broken)), broken
