"""Commands on the wire: which are understood, which are refused, and how."""

import re
from typing import Any

import jsonschema
import msgspec
import pytest
from msgspec.structs import replace

from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.assignments import AssignPartition
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
from domain.orders import AmendOrder, CancelOrder, CancelOrders, MergeSets, PlaceOrder, SplitSets
from domain.story import PublishStory
from domain.transfers import TransferFunds
from messages.commands import (
    COMMANDS,
    AdvanceTime,
    Command,
    InvalidCommand,
    QuoteOrder,
    Submitted,
    UnreadableError,
    body_and_digest,
    check_command,
    dump_command,
    dump_record,
    new_id,
    order_command_id,
    parse_command,
    parse_record,
    with_ids,
)
from messages.schemas import command_schemas
from tests.messages.digest import digest_of

TIME = 1_729_764_120_000_000
MARKET = OpenMarket("", "st_x", "combat", "Will they fight?", ("No", "Yes"), 100_000_000, TIME, "News agencies")
ORDER = PlaceOrder("ac_a", "mk_m", "", "c-1", "Yes", "buy", "market", spend=10_000_000)
PAYOUTS = (Payout("No", 250_000), Payout("Yes", 750_000))
EVIDENCE = Evidence("Seen on television.\nTwice.", "https://example.org/a?b=c")

STORY = PublishStory(
    "", "troops", "Troops arrive", "A body.\n\nOf two parts.", "world", TIME, "http://a.org", (MARKET,)
)

EXAMPLES: tuple[Command, ...] = (
    STORY,
    PublishStory("", "troops", "Troops arrive", "A body", "world", TIME),
    PublishStory("", None, "Без имени", "A body", "world", TIME, None, (replace(MARKET, slug=None),)),
    replace(MARKET, initial_prices=(250_000, 750_000), fee_rate=20_000, dispute_seconds=60, draft=True),
    ActivateMarket("mk_m"), HaltMarket("mk_m"), ResumeMarket("mk_m"), CloseMarket("mk_m"),
    ClarifyMarket("mk_m", "News agencies, and the ministry"),
    AddLiquidity("mk_m", 5_000_000),
    DetermineMarket("mk_m", PAYOUTS, EVIDENCE),
    DisputeMarket("mk_m", "ac_a", "Not so.", 1_000_000),
    DisputeMarket("mk_m", "ac_a", "Not so."),
    UpholdMarket("mk_m"),
    FinalizeMarket("mk_m"),
    CorrectMarket("mk_m", PAYOUTS, Evidence("On second thoughts")),
    VoidMarket("mk_m", "A bad question"),
    OpenAccount("", "Ada"),
    DepositCash("ac_a", 1), WithdrawCash("ac_a", 10**15),
    TransferFunds("ac_a", 3, 5, at_least=1, share=250_000),
    AssignPartition("account", "Ada", 3), AssignPartition("story", "election-2024"),
    CreateInvitation("", "ab" * 32, 30, TIME, 10**15),
    AcceptInvitation("ab" * 32, "", "Ada", "key_a", "cd" * 32),
    RevokeInvitation("iv_a"),
    ORDER,
    replace(ORDER, side="sell", type="limit", spend=None, quantity=1, limit_price=999_000, time_in_force="GTD",
            expires_at=TIME + 1, post_only=True, reduce_only=True, min_proceeds=0,
            self_trade_prevention="cancel_maker"),
    replace(ORDER, max_cost=10_000_001, time_in_force="FOK"),
    CancelOrder("ac_a", "or_o"),
    CancelOrders("ac_a"), CancelOrders("ac_a", "mk_m"),
    AmendOrder("ac_a", "or_o", 500_000, None),
    SplitSets("ac_a", "mk_m", 1_000_000),
    MergeSets("ac_a", "mk_m", 1_000_000),
    AdvanceTime(),
    QuoteOrder(replace(ORDER, order_id="")),
)  # fmt: skip


def id_for(command: Command) -> str:
    """Return an id that the command may have."""
    return order_command_id(command.account_id, command.client_order_id) if isinstance(command, PlaceOrder) else "cli:1"


def wire(command: Command, **changes: Any) -> bytes:
    """Return the JSON of a command, with fields of its data changed; `...` takes a field away."""
    message = msgspec.json.decode(dump_command(id_for(command), command))
    message["data"] = {key: value for key, value in (message["data"] | changes).items() if value is not ...}
    return msgspec.json.encode(message)


def refusal(value: bytes) -> InvalidCommand:
    """Return why the command's field is refused."""
    command = parse_command(value).command
    assert isinstance(command, InvalidCommand)
    return command


def test_there_is_an_example_of_every_command() -> None:
    """The tests here miss no type."""
    assert {type(command) for command in EXAMPLES} == set(COMMANDS.values())


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_a_command_comes_back_as_it_went(command: Command) -> None:
    """Over the wire a command keeps every field, and gets its server-assigned ids."""
    command_id = id_for(command)
    whole = with_ids(command_id, command)

    received = parse_command(dump_command(command_id, whole, at=TIME, reply_to="api-1"))

    body, digest = body_and_digest(whole)
    expected = Submitted(command_id, whole, digest, TIME, "api-1", type(command).__name__, body)
    assert expected == received
    check_command(command_id, whole)


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_a_command_fits_its_schema(command: Command) -> None:
    """The JSON Schema describes what we send ourselves, and forbids what is not in it."""
    schema = command_schemas()[type(command).__name__]
    validator = jsonschema.Draft202012Validator(schema)
    message = msgspec.json.decode(dump_command(id_for(command), command, at=TIME, reply_to="api-1"))

    validator.validate(message)

    message["data"]["surprise"] = 1
    assert not validator.is_valid(message)


# --- ids and digests


def test_ids_follow_from_the_command() -> None:
    """A retry makes the same ids, the markets of one story get different ones, and their form is fixed."""
    story = with_ids("cli:1", replace(STORY, markets=(MARKET, MARKET)))
    assert isinstance(story, PublishStory)

    assert story == with_ids("cli:1", story)
    assert re.fullmatch(r"st_[0-9a-f]{26}", story.story_id)
    assert {story.story_id} == {market.story_id for market in story.markets}
    assert len({market.market_id for market in story.markets}) == 2
    assert story.markets[0].market_id == new_id("mk", "cli:1")
    assert new_id("or", "a") != new_id("or", "b")


def test_spelling_makes_no_difference_to_the_digest() -> None:
    """The same amounts make the same command, however they are spelled; other amounts make another."""
    plain = parse_command(wire(ORDER)).digest

    assert plain == parse_command(wire(ORDER, spend="10")).digest
    assert plain == parse_command(wire(ORDER, spend="10.00", quantity=None, post_only=False)).digest
    assert plain == digest_of(ORDER)
    assert plain != parse_command(wire(ORDER, spend="10.000001")).digest
    determine = DetermineMarket("mk_m", PAYOUTS, EVIDENCE)
    turned = wire(determine, payouts={"Yes": "0.75", "No": "0.25"})
    assert digest_of(determine) == parse_command(turned).digest


def test_two_types_with_equal_fields_differ_in_digest() -> None:
    """Splitting is not merging."""
    assert digest_of(SplitSets("ac_a", "mk_m", 1)) != digest_of(MergeSets("ac_a", "mk_m", 1))


# --- refusals

NUMBERS = [
    1,
    1.5,
    True,
    "1e3",
    "NaN",
    "Infinity",
    "-1",
    "-0",
    "+1",
    "1.0000001",
    "01",
    ".5",
    "1.",
    "",
    " 1",
    "1 ",
    "1,5",
    "1_000",
    "٣",
    "0",
    "1000000000.000001",
    "9" * 30,
    [],
    {},
]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(("command", "field"), [(ORDER, "spend"), (DepositCash("ac_a", 1), "amount")])
def test_a_number_that_is_not_allowed_is_refused(command: Command, field: str, number: Any) -> None:
    """JSON numbers, exponents, NaN, signs, more than 6 decimals, zero, too large: refused, and the field is named."""
    invalid = refusal(wire(command, **{field: number}))

    assert (field, "INVALID_FIELD") == (invalid.field, invalid.code)
    assert field in str(invalid)
    assert invalid.rejection.details["field"] == field


def test_a_number_beyond_all_floats_is_refused() -> None:
    """Such JSON cannot be read at all, so the refusal names the whole `data`."""
    value = dump_command("cli:1", DepositCash("ac_a", 1)).replace(b'"0.000001"', b"1e400")

    assert refusal(value).field == "data"


@pytest.mark.parametrize(
    ("command", "changes", "field"),
    [
        (ORDER, {"surprise": 1}, "surprise"),
        (ORDER, {"order_id": "or_mine"}, "order_id"),
        (ORDER, {"outcome": ...}, "outcome"),
        (ORDER, {"outcome": None}, "outcome"),
        (ORDER, {"outcome": " Yes"}, "outcome"),
        (ORDER, {"outcome": "x" * 101}, "outcome"),
        (ORDER, {"market_id": ""}, "market_id"),
        (ORDER, {"market_id": "m" * 65}, "market_id"),
        (ORDER, {"market_id": "a b"}, "market_id"),
        (ORDER, {"market_id": "mär"}, "market_id"),
        (ORDER, {"client_order_id": "c" * 65}, "client_order_id"),
        (ORDER, {"client_order_id": ""}, "client_order_id"),
        (ORDER, {"client_order_id": "a\nb"}, "client_order_id"),
        (ORDER, {"client_order_id": "another"}, "command_id"),
        (ORDER, {"side": "BUY"}, "side"),
        (ORDER, {"type": "stop"}, "type"),
        (ORDER, {"time_in_force": "DAY"}, "time_in_force"),
        (ORDER, {"post_only": "yes"}, "post_only"),
        (ORDER, {"post_only": None}, "post_only"),
        (ORDER, {"limit_price": "1.000001"}, "limit_price"),
        (ORDER, {"expires_at": "tomorrow"}, "expires_at"),
        (ORDER, {"expires_at": 5}, "expires_at"),
        (ORDER, {"self_trade_prevention": "none"}, "self_trade_prevention"),
        (STORY, {"slug": "No Slug"}, "slug"),
        (STORY, {"body": "x" * 20_001}, "body"),
        (STORY, {"body": "nul \0"}, "body"),
        (STORY, {"body": " \n"}, "body"),
        (STORY, {"title": "two\nlines"}, "title"),
        (STORY, {"source_url": "javascript:alert(1)"}, "source_url"),
        (STORY, {"markets": {}}, "markets"),
        (STORY, {"markets": [1]}, "markets[0]"),
        (STORY, {"markets": [{"slug": "x"}]}, "markets[0].question"),
        (STORY, {"markets": [{}] * 51}, "markets"),
        (MARKET, {"question": "q" * 501}, "question"),
        (MARKET, {"outcomes": ["x"] * 65}, "outcomes"),
        (MARKET, {"outcomes": ["x", 5]}, "outcomes[1]"),
        (MARKET, {"initial_prices": [0.5, 0.5]}, "initial_prices[0]"),
        (MARKET, {"dispute_seconds": "60"}, "dispute_seconds"),
        (MARKET, {"dispute_seconds": 1.0}, "dispute_seconds"),
        (MARKET, {"dispute_seconds": True}, "dispute_seconds"),
        (MARKET, {"dispute_seconds": -1}, "dispute_seconds"),
        (MARKET, {"fee_rate": "1.1"}, "fee_rate"),
        (DetermineMarket("m", PAYOUTS, EVIDENCE), {"payouts": {"Yes": 1}}, "payouts.Yes"),
        (DetermineMarket("m", PAYOUTS, EVIDENCE), {"payouts": {"Yes": "-1"}}, "payouts.Yes"),
        (DetermineMarket("m", PAYOUTS, EVIDENCE), {"payouts": [["Yes", "1"]]}, "payouts"),
        (DetermineMarket("m", PAYOUTS, EVIDENCE), {"payouts": {str(i): "0" for i in range(65)}}, "payouts"),
        (DetermineMarket("m", PAYOUTS, EVIDENCE), {"evidence": {"text": "t" * 10_001}}, "evidence.text"),
        (DetermineMarket("m", PAYOUTS, EVIDENCE), {"evidence": "text"}, "evidence"),
    ],
)
def test_a_field_that_is_not_allowed_is_refused(command: Command, changes: dict[str, Any], field: str) -> None:
    """Unknown, missing, of a wrong type, too long, with a forbidden character: refused, and the path is named."""
    assert field == refusal(wire(command, **changes)).field


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"5",
        b"null",
        b"{}",
        b'{"command_id":"c","type":"HaltMarket"}',
        b'{"command_id":5,"type":"HaltMarket","data":{}}',
        b'{"command_id":"c","type":"HaltMarket","data":{},"surprise":1}',
        b'{"command_id":"c","type":"Nonsense","data":{}}',
        b'{"command_id":"","type":"HaltMarket","data":{}}',
        b'{"command_id":"due:close:mk_m:5","type":"HaltMarket","data":{}}',
        b'{"command_id":"a\\nb","type":"HaltMarket","data":{}}',
        b'{"command_id":"\\ud800 ","type":"HaltMarket","data":{}}',
        b'{"command_id":"' + b"c" * 201 + b'","type":"HaltMarket","data":{}}',
    ],
)
def test_a_value_that_is_no_command_is_unreadable(value: bytes) -> None:
    """Without a usable id and a known type the log can hold no reply to it, so it is not taken for a command."""
    with pytest.raises(UnreadableError):
        parse_command(value)


def test_a_record_keeps_good_commands_beside_bad_ones() -> None:
    """One unreadable object of a packed record does not spoil the others, and keeps its place."""
    good = dump_command("cli:1", HaltMarket("mk_m"))

    parsed = parse_record(dump_record([good, b'{"command_id":5}', good]))

    assert [Submitted, UnreadableError, Submitted] == [type(item) for item in parsed]
    assert parse_record(good) == [parse_command(good)]
    assert isinstance(parse_record(b"nonsense")[0], UnreadableError)
    assert parse_record(b"[]") == []
    with pytest.raises(UnreadableError):
        parse_record(b"[1, ")


def test_an_invalid_command_still_has_its_id_and_a_digest() -> None:
    """So its refusal can be recorded and replied to, and the same bytes are recognized when they are sent again."""
    value = wire(ORDER, spend=1)

    first, second = parse_command(value), parse_command(value)

    assert ("order:ac_a:c-1", first.digest) == (first.command_id, second.digest)
    assert first.digest != parse_command(wire(ORDER, spend=2)).digest


@pytest.mark.parametrize("at", ["yesterday", "2024-10-24"])
def test_a_time_of_the_sender_must_be_rfc_3339(at: str) -> None:
    """`at` is judged like any other field."""
    message = msgspec.json.decode(wire(HaltMarket("mk_m"))) | {"at": at}

    assert refusal(msgspec.json.encode(message)).field == "at"


@pytest.mark.parametrize(
    ("command_id", "command", "field"),
    [
        ("due:x", HaltMarket("mk_m"), "command_id"),
        ("transfer:0:1", HaltMarket("mk_m"), "command_id"),
        ("cli:1", DepositCash("ac_a", 0), "amount"),
        ("cli:1", DepositCash("ac_a", -5), "amount"),
        ("cli:1", DepositCash("", 5), "account_id"),
        ("cli:1", ORDER, "command_id"),
        ("cli:1", DetermineMarket("mk_m", (Payout("Yes", -1),), EVIDENCE), "payouts.Yes"),
        ("cli:1", replace(MARKET, dispute_seconds=-1), "dispute_seconds"),
    ],
)
def test_a_command_made_in_python_is_held_to_the_same_limits(command_id: str, command: Command, field: str) -> None:
    """A caller who gives a gateway the domain's own objects cannot pass anything that the wire would refuse."""
    with pytest.raises(InvalidCommand) as caught:
        check_command(command_id, command)

    assert field == caught.value.field


def command_text(data: str, more: str = "") -> bytes:
    """The text of a command that sends an order with this data."""
    return f'{{"command_id":"order:ac_a:c-1","type":"PlaceOrder","data":{data}{more}}}'.encode()


ORDER_TEXT = (
    '{"account_id":"ac_a","market_id":"mk_m","client_order_id":"c-1","outcome":"Yes","side":"buy","type":"market",'
    '"quantity":"1"}'
)
TWICE = ORDER_TEXT.replace('"quantity":"1"', '"quantity":"1","quantity":"50"')


@pytest.mark.parametrize("data", [TWICE, TWICE.replace("Yes", "a\\\\b:")], ids=["plain", "escaped"])
def test_data_with_a_key_twice_is_refused(data: str) -> None:
    """The sender gets a refusal for it; the other commands of its record are read."""
    good = command_text(ORDER_TEXT)
    for found in [parse_command(command_text(data)), parse_record(b"[%b,%b]" % (good, command_text(data)))[1]]:
        assert isinstance(found, Submitted)
        assert isinstance(found.command, InvalidCommand)
        assert (found.command.details["field"], '"quantity" twice' in str(found.command)) == ("data", True)


def test_an_envelope_with_a_key_twice_is_unreadable() -> None:
    """It goes to the dead letters; the other commands of its record are read."""
    good, bad = command_text(ORDER_TEXT), command_text(ORDER_TEXT, ',"type":"QuoteOrder"')
    with pytest.raises(UnreadableError, match='"type" twice'):
        parse_command(bad)
    first, second = parse_record(b"\xef\xbb\xbf[%b,%b]" % (good, bad))
    assert first == parse_command(b"\xef\xbb\xbf" + good)
    assert isinstance(second, UnreadableError)
