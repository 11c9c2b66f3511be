"""Nothing of a command is lost: every command is rebuilt from its events alone, as they stand in the log."""

from collections.abc import Iterator
from random import Random
from typing import Any, Final, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.simulation.random_commands import RandomCommands
from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.assignments import AssignPartition
from domain.commands import Command
from domain.invitations import AcceptInvitation, CreateInvitation, RevokeInvitation
from domain.market import (
    ActivateMarket,
    AddLiquidity,
    ClarifyMarket,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    Evidence,
    FinalizeMarket,
    HaltMarket,
    OpenMarket,
    Payout,
    ResumeMarket,
    UpholdMarket,
    VoidMarket,
)
from domain.money import AMOUNT_MAX, MICRO
from domain.orders import AmendOrder, CancelOrder, CancelOrders, MergeSets, PlaceOrder, SplitSets
from domain.partition import CommandRejected
from domain.story import PublishStory
from domain.transfers import TransferFunds
from domain.values import Value
from messages.codecs import SERVER_ASSIGNED
from messages.commands import (
    COMMANDS,
    AdvanceTime,
    InvalidCommand,
    QuoteOrder,
    dump_command,
    new_id,
    order_command_id,
    parse_command,
)
from messages.original_commands import original_command
from messages.wire import fields_of, is_value, without_none
from tests.messages.decided_log import START, DecidedLog

SECOND: Final = MICRO


def optional_fields(command: Value) -> Iterator[tuple[str, str, bool]]:
    """Type and name of every field that a command and the values inside of it may leave out, and whether it is named."""
    for field in msgspec.structs.fields(type(command)):
        value = getattr(command, field.name)
        if not field.required and field.name not in SERVER_ASSIGNED.get(type(command), ()):
            yield type(command).__name__, field.name, value != field.default
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Value):
                yield from optional_fields(inner)


# --- a life in which every command is accepted, with each field named and left out

STORY: Final = new_id("st", "story")
M, N, DRAFT = new_id("mk", "story"), new_id("mk", "story", 1), new_id("mk", "draft")
ADA, BOB, INVITATION = new_id("ac", "ada"), new_id("ac", "bob"), new_id("iv", "invitation")
MARKET: Final = OpenMarket("", STORY, "m", "Will it?", ("No", "Yes"), 100 * MICRO, START + 10**9, "The paper")
FULL: Final = replace(
    MARKET,
    slug="n",
    outcomes=("A", "B", "C"),
    initial_prices=(200_000, 300_000, 500_000),
    fee_rate=20_000,
    dispute_seconds=60,
    dispute_bond=2 * MICRO,
)
YES, NO = Payout("Yes", MICRO), Payout("No", 0)
EVIDENCE: Final = Evidence("It says so.\nTwice.", "https://example.org/a?b=c")


def order(name: str, side: Literal["buy", "sell"] = "buy", account: str = ADA, **fields: Any) -> PlaceOrder:
    """An order in the first market; with a price it is a limit order."""
    kind: Literal["limit", "market"] = "limit" if "limit_price" in fields else "market"
    return PlaceOrder(account, M, "", name, "Yes", side, kind, **fields)


def resting(name: str, price: int = 100_000, account: str = ADA) -> PlaceOrder:
    """A bid that rests."""
    return order(name, account=account, quantity=2 * MICRO, limit_price=price)


def order_id(name: str, account: str = ADA) -> str:
    """The id of an order."""
    return new_id("or", order_command_id(account, name))


OPENING: Final[tuple[tuple[str, Command], ...]] = (
    (
        "story",
        PublishStory("", "s", "Title", "Body.\n\nMore.", "world", 5, None, (replace(MARKET, dispute_seconds=0), FULL)),
    ),
    ("ada", OpenAccount("", "Ada")),
    ("bob", OpenAccount("", "Bob")),
    ("", DepositCash(ADA, 1_000 * MICRO)),
    ("", DepositCash(BOB, 1_000 * MICRO)),
    ("", SplitSets(ADA, M, 20 * MICRO)),
    ("", SplitSets(BOB, M, 20 * MICRO)),
    ("invitation", CreateInvitation("", "ef" * 32, 1, START + 10**12)),
)
"""A story with two active markets, and two accounts with cash and shares."""

TRADING: Final[tuple[Command, ...]] = (
    WithdrawCash(ADA, 1),
    TransferFunds(ADA, 1, 2),
    TransferFunds(ADA, 1, 2, at_least=2),
    TransferFunds(ADA, 1, 101, at_least=1, share=1_000),
    AssignPartition("account", "Ada", 0),
    AssignPartition("account", "Eve"),
    AssignPartition("story", "election-2"),
    CreateInvitation("", "ab" * 32, 2, START + 10**12),
    CreateInvitation("", "cd" * 32, 1, START + 10**12, 5 * MICRO),
    AcceptInvitation("ab" * 32, "", "Cyd", "key_cyd", "01" * 32),
    AcceptInvitation("cd" * 32, "", "Dan", "key_dan", "02" * 32),
    RevokeInvitation(INVITATION),
    MergeSets(ADA, M, MICRO),
    order("1", spend=5 * MICRO),
    order("2", quantity=MICRO, time_in_force="FOK", max_cost=MICRO),
    order("3", "sell", quantity=MICRO, min_proceeds=1),
    order("4", "sell", quantity=500 * MICRO, reduce_only=True, time_in_force="IOC"),
    order("4b", "buy", quantity=5 * MICRO),
    order("5", "sell", quantity=MICRO, reduce_only=True),
    order("6", quantity=MICRO, limit_price=100_000, post_only=True, time_in_force="GTD", expires_at=START + 10**8),
    order("7", quantity=MICRO, limit_price=990_000, time_in_force="IOC", self_trade_prevention="cancel_maker"),
    order("8", "sell", quantity=MICRO, limit_price=900_000),
    order("9", quantity=4 * MICRO, limit_price=900_000, max_cost=10 * MICRO, self_trade_prevention="cancel_maker"),
    resting("10"),
    AmendOrder(ADA, order_id("10"), 110_000),
    AmendOrder(ADA, order_id("10"), None, 3 * MICRO),
    AmendOrder(ADA, order_id("10"), 110_000, 4 * MICRO),
    AmendOrder(ADA, order_id("10"), 120_000, 5 * MICRO),
    AmendOrder(ADA, order_id("10"), 130_000, 5 * MICRO),
    AmendOrder(ADA, order_id("10"), None, 4 * MICRO),
    AmendOrder(ADA, order_id("10"), 130_000, 3 * MICRO),
    AmendOrder(ADA, order_id("10")),
    AmendOrder(ADA, order_id("10"), 130_000, 3 * MICRO),
    CancelOrder(ADA, order_id("10")),
    CancelOrders(ADA, M),
    CancelOrders(ADA, M),
    CancelOrders(ADA),
    resting("11"),
    CancelOrders(ADA),
    resting("12"),
    CancelOrders(ADA, M),
    resting("13"),
    resting("14"),
    CancelOrders(ADA),
)

LIFECYCLE: Final[tuple[Command, ...]] = (
    PublishStory(
        "", "t", "Another", "Body", "economy", 0, "https://example.org", (replace(MARKET, slug="x", draft=True),)
    ),
    PublishStory("", None, "No market", "Body", "economy", 0),
    replace(MARKET, slug=None),
    replace(MARKET, slug=None),
    ClarifyMarket(M, "The paper, or\nthe other one"),
    AddLiquidity(M, 3),
    HaltMarket(M),
    ResumeMarket(M),
    CloseMarket(M),
    DetermineMarket(M, (NO, YES), Evidence("So it is.")),
    FinalizeMarket(M),
    FinalizeMarket(M),
    CorrectMarket(M, (Payout("Yes", 250_000), Payout("No", 750_000)), EVIDENCE),
    CloseMarket(N),
    DetermineMarket(N, (Payout("A", MICRO),), EVIDENCE),
    DisputeMarket(N, BOB, "No."),
    UpholdMarket(N),
    DisputeMarket(N, BOB, "No!", 4 * MICRO),
    DetermineMarket(N, (Payout("B", MICRO),), EVIDENCE),
    DisputeMarket(N, BOB, "No?", 8 * MICRO),
    VoidMarket(N, "Nobody knows."),
)


def a_life() -> DecidedLog:
    """Send all these commands; each is accepted."""
    log = DecidedLog(partitions=2)
    named = [*OPENING, *[("", command) for command in (*TRADING, *LIFECYCLE)]]
    named += [("draft", replace(FULL, slug="d", draft=True)), ("", ActivateMarket(DRAFT))]
    for name, command in named:
        command_id = log.send(command, name)
        assert not isinstance(log.events(command_id)[0].event, CommandRejected), (command, log.log[-1].event)
    return log


def test_every_accepted_command_is_in_its_events() -> None:
    """Each type, with each of its fields named and left out, comes back from the bytes of its events."""
    log = a_life()

    log.check()


def test_the_life_names_and_leaves_out_every_field() -> None:
    """The test above misses no type of command and no optional field. A new field must be added there."""
    commands = [command.command for command in a_life().sent.values()]
    assert not any(isinstance(command, InvalidCommand) for command in commands)
    values = [command for command in commands if isinstance(command, Value)]

    assert {type(value) for value in values} == set(COMMANDS.values()) - {AdvanceTime, QuoteOrder}
    seen = {found for value in values for found in optional_fields(value)}
    missing = {(kind, name) for kind, name, _ in seen if {(kind, name, True), (kind, name, False)} - seen}
    assert not missing


def test_what_fell_due_is_no_command() -> None:
    """An order expires and a market closes by itself: their events tell that nobody sent a command."""
    log = a_life()
    log.send(CancelOrders(BOB), wait=2 * 10**9)

    due = [recorded for recorded in log.log if recorded.command_id.startswith("due:")]
    assert due
    for recorded in due:
        with pytest.raises(ValueError, match="no command"):
            original_command([recorded])


# --- any commands, and any number of them, accepted or refused

MARKETS, ACCOUNTS = (M, N, DRAFT, "mk_nothing"), (ADA, BOB, "ac_nobody")
ORDERS: Final = tuple(order_id(str(number), account) for number in range(4) for account in (ADA, BOB))
BY_NAME: Final[dict[str, st.SearchStrategy[Any]]] = {
    "story_id": st.sampled_from([STORY, "st_nothing"]),
    "market_id": st.sampled_from(MARKETS),
    "account_id": st.sampled_from(ACCOUNTS),
    "order_id": st.sampled_from([*ORDERS, "or_nothing"]),
    "invitation_id": st.sampled_from([INVITATION, "iv_nothing"]),
    "client_order_id": st.sampled_from([str(number) for number in range(99)]),
    "slug": st.sampled_from(["a", "b-c"]),
    "outcome": st.sampled_from(["Yes", "No", "A", "B", "Perhaps"]),
    "outcomes": st.sampled_from([("Yes", "No"), ("A", "B", "C"), ("A",), ()]),
    "initial_prices": st.sampled_from([(), (500_000, 500_000), (333_334, 333_333, 333_333), (250_000, 750_000)]),
    "payouts": st.sampled_from([(YES,), (NO, YES), (YES, NO), (Payout("A", MICRO),), (Payout("B", 1),), ()]),
    "source_url": st.sampled_from(["https://example.org/", "http://a.b/ü?q=\"'"]),
    "url": st.sampled_from(["https://example.org/", "http://a.b/\\"]),
    "uses": st.integers(0, 3),
    "secret_hash": st.sampled_from(["ab" * 32, "cd" * 32]),
    "key_hash": st.sampled_from(["01" * 32, "02" * 32]),
    "key_id": st.sampled_from(["key_a", "key_b"]),
    "dispute_seconds": st.sampled_from([0, 1, 90 * 24 * 3600]),
    "partition": st.integers(0, 2),
    "to_partition": st.integers(0, 2),
    "limit_price": st.integers(1, 999).map(lambda tick: tick * 1_000) | st.just(500),
}
AMOUNTS: Final = st.sampled_from([1, 9_999, 10_000, MICRO, 5 * MICRO, 30 * MICRO, AMOUNT_MAX]) | st.integers(1, 10**8)
TIMES: Final = st.sampled_from([0, START, START + 500 * SECOND, 253_402_300_799_999_999])
TEXTS: Final = st.sampled_from(["Why?", 'It says: "so", \\ and ünïcode \U0001f600', "x" * 60])


def values_of(name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field of a command: those that matter in the exchange of these tests, and the edges."""
    hint, optional = without_none(hint)
    values = BY_NAME[name] if name in BY_NAME else _values_of(hint)
    return st.none() | values if optional else values


def _values_of(hint: Any) -> st.SearchStrategy[Any]:
    if hasattr(hint, "__metadata__"):
        mark = hint.__metadata__[0]
        return TIMES if mark == "time" else st.sampled_from([0, 20_000, MICRO]) if mark == "fraction" else AMOUNTS
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) is tuple:
        return st.lists(_values_of(get_args(hint)[0]), max_size=2).map(tuple)
    if is_value(hint):
        return commands_of(hint)
    return {bool: st.booleans(), str: TEXTS}[hint]


def commands_of(kind: type[Value]) -> st.SearchStrategy[Any]:
    """Commands of a type, or values inside of commands, with any of their fields."""
    return st.builds(kind, **{name: values_of(name, hint) for name, hint in fields_of(kind).items()})


ANY_COMMAND: Final = st.one_of(
    [commands_of(kind) for kind in COMMANDS.values() if kind not in {AdvanceTime, QuoteOrder}]
)


@given(st.lists(st.tuples(ANY_COMMAND, st.sampled_from([0, 1, 60 * SECOND])), max_size=12))
@settings(deadline=None)
def test_any_commands_are_in_their_events(commands: list[tuple[Command, int]]) -> None:
    """Whatever is sent to an exchange with a few resting orders comes back, whether it was accepted or refused."""
    log = DecidedLog(partitions=2)
    for name, opening in (*OPENING, *[("", resting(str(number), account=BOB)) for number in range(3)]):
        log.send(opening, name)
    taken: set[str] = {str(number) for number in range(3)}
    for command, wait in commands:
        if isinstance(command, PlaceOrder):
            if command.client_order_id in taken:
                continue
            taken.add(command.client_order_id)
        log.send(command, wait=wait)

    log.check()


@pytest.mark.parametrize("seed", range(4))
def test_the_commands_of_a_simulation_are_in_their_events(seed: int) -> None:
    """Also where books are deep, orders meet own orders, and markets close, are disputed, corrected and voided."""
    log, random = DecidedLog(partitions=2), RandomCommands(Random(seed), lifecycle=0.08)  # noqa: S311  a simulation, no secret
    for _ in range(1_200):
        time, command_id, command = random.next_command(log.exchange)
        submitted = parse_command(dump_command(command_id, command))
        if not isinstance(submitted.command, InvalidCommand):  # some amounts are beyond every limit
            log.decide(submitted, time)

    log.check()
