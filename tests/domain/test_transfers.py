"""Transfers between partitions, seen from one of them: what may be sent, what arrives, and what the state keeps of it."""

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.account import DepositCash, WithdrawCash
from domain.commands import Command
from domain.market import (
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    Evidence,
    FinalizeMarket,
    OpenMarket,
    Payout,
)
from domain.money import MICRO
from domain.orders import AmendOrder, CancelOrder, CancelOrders, MergeSets, SplitSets
from domain.partition import CommandHadNoEffect
from domain.rejections import Code, Rejection
from domain.state_hash import lines
from domain.transfer_rules import OUTGOING_MAX, MissingTransferError, channel_full
from domain.transfers import BalanceOpened, Channels, FundsCarried, FundsReceived, FundsSent, Transfer, TransferFunds
from tests.domain.scenario import CLOSE, START, TRADERS, YES_NO, Scenario, a_market, buy, sell

YES, NO, WHY = (Payout("Yes", MICRO),), (Payout("No", MICRO),), Evidence("so it is")

VISITOR = "ac1_visitor"
"""An account whose home is partition 1."""


class InPartition(Scenario):
    """A scenario in partition 0 of three."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange.partitions = 3

    def arrives(self, amount: int, number: int, *, account: str = VISITOR, sender: int = 1) -> "InPartition":
        """Let a transfer arrive."""
        self.time += 1
        transfer = Transfer(sender, number, account, amount, self.time, f"t{number}")
        self.events = [self._apply(transfer.receipt_id, entry) for entry in self.exchange.receive(transfer, self.time)]
        self.audit.check_all()
        assert self.audit.exchange.state_hash() == self.exchange.state_hash(), "the replayed state is the live one"
        return self


def in_partition(*commands: Command) -> InPartition:
    """Start a scenario in one of three partitions, with a market and traders."""
    scenario = InPartition()
    scenario.given(*YES_NO, *TRADERS, *commands)
    return scenario


# --- sending


def test_cash_that_is_sent_is_in_transit() -> None:
    """It leaves the account for the book of the other partition, numbered in its channel, and waits to be carried."""
    scenario = in_partition(TransferFunds("alice", 2, 5 * MICRO), TransferFunds("bob", 1, MICRO))
    scenario.when(TransferFunds("alice", 2, 7 * MICRO)).then(FundsSent)

    assert scenario.event(FundsSent) == FundsSent("alice", 2, 2, 7 * MICRO)
    assert scenario.cash("alice") == 988 * MICRO
    assert (scenario.balances()["transit:2"], scenario.balances()["transit:1"]) == (12 * MICRO, MICRO)
    channels = scenario.exchange.channels
    assert channels.sent == {1: 1, 2: 2}
    assert [(sent.number, sent.account_id, sent.amount) for sent in channels.outgoing[2]] == [
        (1, "alice", 5 * MICRO),
        (2, "alice", 7 * MICRO),
    ]
    assert channels.outgoing[2][1].time == scenario.time
    assert channels.outgoing[2][1].transfer_id == f"c{scenario.number}"


@for_all(st.integers(1, 3_000 * MICRO), st.none() | st.integers(1, 3_000 * MICRO), st.integers(0, MICRO))
def test_how_much_is_sent(amount: int, at_least: int | None, share: int) -> None:
    """As much as is asked, or the share if that is more, but no more than there is; nothing below `at_least`."""
    scenario, available = in_partition(), 1_000 * MICRO
    scenario.when(TransferFunds("alice", 1, amount, at_least, share))

    least = amount if at_least is None else at_least
    if least > amount:
        scenario.rejected(Code.INVALID_FIELD, field="at_least", given=least)
    elif least > available:
        scenario.rejected(Code.INSUFFICIENT_FUNDS, required=least, available=available)
    else:
        sent = scenario.event(FundsSent).amount
        assert sent == min(available, max(amount, available * share // MICRO))
        assert least <= sent <= available


@pytest.mark.parametrize(("to_partition", "partitions"), [(0, 3), (3, 3), (1, 1), (0, 1)])
def test_only_another_partition_can_receive(to_partition: int, partitions: int) -> None:
    """With one partition there is none."""
    scenario = in_partition()
    scenario.exchange.partitions = partitions

    scenario.when(TransferFunds("alice", to_partition, 1)).rejected(Code.INVALID_FIELD, given=to_partition)


def test_an_overdrawn_balance_sends_nothing() -> None:
    """A correction after all cash was sent away leaves a debt, which is paid first by what arrives."""
    scenario = in_partition(buy("alice", "Yes", spend=100 * MICRO), CloseMarket("m"), DetermineMarket("m", YES, WHY))
    scenario.given(FinalizeMarket("m"))
    scenario.given(TransferFunds("alice", 1, scenario.cash("alice")), CorrectMarket("m", NO, WHY))
    debt = -scenario.cash("alice")
    assert debt > 0

    scenario.when(TransferFunds("alice", 1, 1)).rejected(Code.ACCOUNT_OVERDRAWN, available=-debt)
    scenario.arrives(debt, 1, account="alice")
    scenario.when(TransferFunds("alice", 1, 1)).rejected(Code.INSUFFICIENT_FUNDS, available=0)
    scenario.arrives(1, 2, account="alice").given(TransferFunds("alice", 1, 1))


def test_gains_that_could_be_taken_back_stay() -> None:
    """They could be withdrawn at home, which does not know the market."""
    scenario = in_partition(buy("alice", "Yes", spend=100 * MICRO), CloseMarket("m"), DetermineMarket("m", YES, WHY))
    scenario.exchange.hold_seconds = 3_600
    scenario.given(FinalizeMarket("m"))
    payout = scenario.exchange.accounts["alice"].holding("m").paid
    assert payout

    scenario.when(TransferFunds("alice", 1, 900 * MICRO + 1)).rejected(
        Code.WITHDRAWAL_HELD, required=900 * MICRO + 1, withdrawable=900 * MICRO, available=900 * MICRO + payout
    )
    scenario.when(TransferFunds("alice", 1, 1_000 * MICRO, at_least=1)).then(FundsSent)
    assert scenario.cash("alice") == payout


# --- receiving


def test_an_account_of_elsewhere_gets_a_balance_with_its_first_transfer() -> None:
    """Later ones, and those to an account that lives here, only add."""
    scenario = in_partition()

    scenario.arrives(MICRO, 1).then(BalanceOpened, FundsReceived)
    scenario.arrives(2 * MICRO, 2).then(FundsReceived)
    scenario.arrives(3 * MICRO, 3, account="alice").then(FundsReceived)
    scenario.arrives(4 * MICRO, 1, sender=2).then(FundsReceived)

    assert (scenario.cash(VISITOR), scenario.cash("alice")) == (7 * MICRO, 1_003 * MICRO)
    assert scenario.exchange.channels.received == {1: 3, 2: 1}
    assert (scenario.balances()["transit:1"], scenario.balances()["transit:2"]) == (-6 * MICRO, -4 * MICRO)
    assert {entry.stream for _, _, entry in scenario.log if isinstance(entry.event, FundsReceived | BalanceOpened)} == {
        f"account-{VISITOR}",
        "account-alice",
    }


def test_a_transfer_is_received_once() -> None:
    """A repeated one changes nothing, not even the time; one that comes too early is refused loudly and changes nothing."""
    scenario = in_partition().arrives(MICRO, 1).arrives(MICRO, 2)
    before = scenario.exchange.state_hash()

    assert scenario.exchange.receive(Transfer(1, 1, VISITOR, MICRO, START, "t1"), scenario.time + 5) == []
    with pytest.raises(MissingTransferError, match="transfer 4 from partition 1 came before transfer 3"):
        scenario.exchange.receive(Transfer(1, 4, VISITOR, MICRO, START, "t4"), scenario.time + 5)

    assert scenario.exchange.state_hash() == before


def test_a_receipt_is_not_before_its_sending() -> None:
    """Whoever passes an earlier time has a wrong clock: a cut by time would show money that nobody sent."""
    scenario = in_partition()
    sent = Transfer(1, 1, VISITOR, MICRO, scenario.time + 10, "t1")

    with pytest.raises(AssertionError, match="backwards"):
        scenario.exchange.receive(sent, scenario.time + 9)


def test_what_has_been_carried_is_forgotten() -> None:
    """Up to the number; the rest is carried again by whoever takes over."""
    scenario = in_partition(*[TransferFunds("alice", to, MICRO) for to in (1, 2, 1, 1)])
    exchange = scenario.exchange

    for to, number, left in [(1, 2, {1: [3], 2: [1]}), (2, 1, {1: [3]}), (1, 1, {1: [3]}), (1, 3, {})]:
        entry = exchange.emit_partition_event(FundsCarried(to, number), scenario.time, "")
        scenario.audit.apply(entry, time=scenario.time, command_id="")
        scenario.audit.check_all()
        assert {to: [sent.number for sent in all_] for to, all_ in exchange.channels.outgoing.items()} == left
        assert entry.stream == "partition-0"
    assert exchange.state_hash() == scenario.audit.exchange.state_hash()
    assert exchange.channels.sent == {1: 3, 2: 1}


def test_a_channel_takes_ten_thousand_transfers_that_nobody_carries() -> None:
    """The next one to that partition is refused for now; others go on, and so does this one once one has been carried."""
    waiting = [Transfer(0, number, "alice", MICRO, START, f"t:{number}") for number in range(1, OUTGOING_MAX + 1)]
    channels = Channels(outgoing={1: waiting})

    refused = channel_full(channels, 1)
    assert refused is not None
    assert (refused.code, refused.details) == (Code.BUSY, {"to_partition": 1, "maximum": 10_000})
    assert channel_full(channels, 2) is None
    waiting.pop()
    assert channel_full(channels, 1) is None


# --- an account away from home


def test_an_account_of_elsewhere_is_empty_until_something_arrives() -> None:
    """It is told that funds are needed, or what it has not; nothing says that it does not exist, for only its home knows."""
    scenario = in_partition(buy("alice", "Yes", name="rests", quantity=MICRO, limit_price=100_000))

    scenario.when(buy(VISITOR, "Yes", spend=MICRO)).rejected(Code.INSUFFICIENT_FUNDS, required=MICRO, available=0)
    scenario.when(SplitSets(VISITOR, "m", 5)).rejected(Code.INSUFFICIENT_FUNDS, required=5, available=0)
    scenario.when(TransferFunds(VISITOR, 1, 7)).rejected(Code.INSUFFICIENT_FUNDS, required=7, available=0)
    scenario.when(sell(VISITOR, "Yes", quantity=MICRO)).rejected(Code.INSUFFICIENT_SHARES)
    scenario.when(MergeSets(VISITOR, "m", 1)).rejected(Code.INSUFFICIENT_SHARES)
    scenario.when(CancelOrder(VISITOR, "rests")).rejected(Code.NOT_ORDER_OWNER)
    scenario.when(AmendOrder(VISITOR, "none", quantity=MICRO)).rejected(Code.ORDER_NOT_OPEN)
    scenario.when(CancelOrders(VISITOR)).then(CommandHadNoEffect)
    assert VISITOR not in scenario.exchange.accounts

    scenario.arrives(2 * MICRO, 1).given(buy(VISITOR, "Yes", spend=MICRO), CancelOrders(VISITOR))
    assert scenario.cash(VISITOR) == MICRO


def test_even_a_dispute_without_a_bond_needs_a_balance() -> None:
    """Its bond of nothing is posted to an account."""
    scenario = in_partition(*a_market(market="d", dispute_seconds=60, dispute_bond=0), CloseMarket("d"))
    scenario.given(DetermineMarket("d", YES, WHY))

    scenario.when(DisputeMarket("d", VISITOR, "no")).rejected(Code.INSUFFICIENT_FUNDS, required=1, available=0)
    scenario.arrives(1, 1).given(DisputeMarket("d", VISITOR, "no"))


def test_commands_go_to_the_partition_of_what_they_name() -> None:
    """Cash from outside comes in and goes out at home, even where the account has a balance too."""
    scenario = in_partition().arrives(MICRO, 1)
    opening = OpenMarket("mk2_n", "st2_s", "n", "question?", ("Yes", "No"), 100 * MICRO, CLOSE, "source")

    for command, home in [
        (DepositCash(VISITOR, 1), 1),
        (WithdrawCash(VISITOR, 1), 1),
        (DepositCash("ac2_other", 1), 2),
        (CloseMarket("mk2_m"), 2),
        (buy("alice", "Yes", market="mk2_m", spend=MICRO), 2),
        (opening, 2),
    ]:
        scenario.when(command).rejected(Code.WRONG_PARTITION, partition=home)
    scenario.when(DepositCash("ac_other", 1)).rejected(Code.ACCOUNT_NOT_FOUND)
    scenario.when(DepositCash("ac3_other", 1)).rejected(Code.ACCOUNT_NOT_FOUND)
    scenario.when(CloseMarket("mk3_m")).rejected(Code.MARKET_NOT_FOUND)


# --- a command that would lack funds


def test_a_command_that_lacks_funds_leaves_nothing_if_asked_so() -> None:
    """It is told how much; with enough it is decided like any other, and so is one that is refused for another reason."""
    scenario = in_partition()
    exchange, time = scenario.exchange, scenario.time + 1
    before = exchange.state_hash()

    needed = exchange.handle_if_funded(buy("alice", "Yes", spend=1_001 * MICRO), time, "c")

    assert isinstance(needed, Rejection)
    assert needed.code is Code.FUNDS_NEEDED
    assert needed.details == {"required": 1_001 * MICRO, "available": 1_000 * MICRO}
    assert exchange.state_hash() == before

    twin = in_partition()
    for command in (buy("alice", "Yes", spend=MICRO), sell("alice", "No", quantity=MICRO), CancelOrders("alice")):
        time += 1
        assert exchange.handle_if_funded(command, time, "c") == twin.exchange.handle(command, time, "c")
    assert exchange.state_hash() == twin.exchange.state_hash()


# --- one partition


def test_one_partition_has_nothing_of_this() -> None:
    """An id of another partition is unknown, as it always was, and the state has no line about transfers."""
    scenario = Scenario().given(*YES_NO, *TRADERS)
    for command, code in [
        (DepositCash(VISITOR, 1), Code.ACCOUNT_NOT_FOUND),
        (buy(VISITOR, "Yes", spend=MICRO), Code.ACCOUNT_NOT_FOUND),
        (CloseMarket("mk3_m"), Code.MARKET_NOT_FOUND),
        (OpenMarket("mk3_n", "st3_s", "n", "q?", ("Yes", "No"), MICRO, CLOSE, "s"), Code.STORY_NOT_FOUND),
    ]:
        scenario.when(command).rejected(code)
    assert not [line for line in lines(scenario.exchange) if line.startswith(("sent", "received", " outgoing"))]
