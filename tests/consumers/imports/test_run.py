"""An import into a log: every row is one command with its recorded time, money is conserved, a killed import goes on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.imports.mapping import AccountFunds, AmountForms, ImportMapping, MarketDefaults
from consumers.imports.run import OccupiedLogError
from domain.exchange import Entry
from domain.invariants import Audit
from domain.market import MarketFinalized, MarketVoided
from domain.money import MICRO
from domain.orders import OrderPlaced
from domain.partition import CommandRejected, CommandsRead
from messages.commands import AdvanceTime
from tests.consumers.checks import recorded
from tests.consumers.exchange_fixtures import running
from tests.consumers.imports.tables import HEADER, ROWS, plan_of, run_plan, write

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from consumers.imports.plan import ImportPlan
    from domain.events import Event, Recorded

DAY = 24 * 3600 * MICRO
SECONDS = st.integers(1_600_000_000, 1_600_000_200)  # close together, so that many trades share a time
AMOUNTS = st.integers(1, 3_000_000_000).map(lambda micros: f"{micros / 1_000_000:.6f}")
TRADES = st.lists(
    st.tuples(
        SECONDS, st.sampled_from("abcd"), st.sampled_from("xyz"), st.sampled_from(["Yes", "No"]),
        st.sampled_from(["buy", "buy", "sell"]), AMOUNTS, st.sampled_from(["", "", "", "Yes", "No", "void"]),
    ),
    min_size=1,
    max_size=40,
)  # fmt: skip
MAPPINGS = st.builds(
    ImportMapping,
    amounts=st.builds(
        AmountForms,
        unit=st.sampled_from(["shares", "credits"]),
        sales=st.sampled_from(["as-recorded", "held"]),
    ),
    accounts=st.builds(AccountFunds, funds=st.sampled_from(["0", "10", "1000"]), top_up=st.booleans()),
    markets=st.builds(MarketDefaults, subsidy=st.sampled_from(["1", "500"]), fee_rate=st.sampled_from(["0", "0.07"])),
)


def planned(rows: Sequence[Sequence[object]], mapping: ImportMapping, header: Sequence[str]) -> ImportPlan:
    """Return the plan of these rows."""
    with tempfile.TemporaryDirectory() as folder:
        return plan_of(write(Path(folder) / "trades.csv", rows, header), mapping)


def history(recorder: POPOApplicationRecorder) -> list[tuple[Event, str, int, int, str, str | None]]:
    """All of a log but where its batches end."""
    return [
        (each.event, each.stream, each.version, each.time, each.command_id, each.digest)
        for each in recorded(recorder)
        if not isinstance(each.event, CommandsRead)
    ]


def copy(events: Sequence[Recorded], recorder: POPOApplicationRecorder, until: int) -> POPOApplicationRecorder:
    """Return a log that ends with the last whole append at or before a position: what a kill leaves."""
    ends = [event.position for event in events if isinstance(event.event, CommandsRead) and event.position <= until]
    cut = POPOApplicationRecorder()
    for found in recorder.select_notifications(1, max(ends, default=0)) if ends else ():
        cut.insert_events([StoredEvent(found.originator_id, found.originator_version, found.topic, found.state)])
    return cut


@given(TRADES, MAPPINGS, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_every_row_is_one_command_and_money_is_conserved(
    rows: list[tuple[int, str, str, str, str, str, str]], mapping: ImportMapping, chance: random.Random
) -> None:
    """Any table: times as recorded, one outcome for each good row, every invariant at every position, resumable anywhere."""
    plan = planned(rows, mapping, (*HEADER, "resolution"))
    log = POPOApplicationRecorder()
    report = run_plan(plan, log)
    events = recorded(log)
    audit = Audit()
    for each in events:
        audit.apply(Entry(each.stream, each.version, each.event), time=each.time, command_id=each.command_id)
    audit.check_all()

    outcomes = [each for each in events if each.digest is not None and each.command_id.startswith("order:")]
    rows_of = {each.command_id.rpartition("-")[2]: each.time for each in outcomes}
    assert len(outcomes) == len(rows_of) == len(plan.trades) == len(rows) - plan.bad_count
    assert {int(row): time for row, time in rows_of.items()} == {trade.place.row: trade.time for trade in plan.trades}
    assert sum(report.orders.values()) + sum(report.refused.values()) == len(plan.trades)
    assert not report.others_refused

    killed = copy(events, log, chance.randint(0, len(events)))
    assert run_plan(plan, killed).before + run_plan(plan, killed).commands <= report.commands
    assert history(killed) == history(log)


def test_a_table_becomes_an_exchange(tmp_path: Path) -> None:
    """Who, when and what amount are kept; an account is opened and funded at its first trade, a market at its own."""
    log = POPOApplicationRecorder()
    report = run_plan(plan_of(write(tmp_path / "t.csv", ROWS)), log)

    commands = [each for each in recorded(log) if each.digest is not None]
    kinds = [each.command_id.removeprefix("import:").split(":")[0] for each in commands]
    assert list(zip(kinds, [each.time % DAY // MICRO for each in commands], strict=True)) == [
        ("market", 36_000), ("account", 36_000), ("funds", 36_000), ("order", 36_000),
        ("account", 36_001), ("funds", 36_001), ("order", 36_001),
        ("order", 28_800), ("market", 36_000), ("order", 36_000),
    ]  # fmt: skip
    orders = [each.event for each in recorded(log) if isinstance(each.event, OrderPlaced)]
    assert [(order.side, order.outcome, order.quantity, order.client_order_id) for order in orders] == [
        ("buy", "Yes", 10_000_000, "row-2"), ("buy", "No", 4_500_000, "row-3"),
        ("sell", "Yes", 10_000_000, "row-4"), ("buy", "No", 1_000_000, "row-5"),
    ]  # fmt: skip
    assert (report.orders["filled"], report.commands) == (4, 10)


def test_a_sale_of_more_than_is_held(tmp_path: Path) -> None:
    """As recorded it is refused, and the log says so; `held` sells what is there; `other-outcome` buys the other side."""
    rows = [ROWS[0], ("2024-03-02T10:00:00Z", "ann", "rain", "Yes", "sell", "11")]

    def second(sales: str) -> Event:
        log = POPOApplicationRecorder()
        mapping = ImportMapping(amounts=AmountForms(sales=sales))  # type: ignore[arg-type]
        run_plan(plan_of(write(tmp_path / "t.csv", rows), mapping), log)
        found = [each.event for each in recorded(log) if each.command_id.endswith("row-3")]
        (event,) = [event for event in found if isinstance(event, OrderPlaced | CommandRejected)]
        return event

    refused, held, other = second("as-recorded"), second("held"), second("other-outcome")
    assert isinstance(refused, CommandRejected)
    assert refused.code == "INSUFFICIENT_SHARES"
    assert isinstance(held, OrderPlaced)
    assert (held.side, held.execution.filled) == ("sell", 10_000_000)
    assert isinstance(other, OrderPlaced)
    assert (other.side, other.outcome, other.execution.filled) == ("buy", "No", 11_000_000)


def test_markets_end_as_the_table_says(tmp_path: Path) -> None:
    """A resolution pays out, a void undoes, and a market without either stays open; nothing ends before its last trade."""
    markets = write(
        tmp_path / "markets.csv",
        [
            ("rain", "Will it rain?", "yes", "2024-03-01T00:00:00Z"),
            ("snow", "Will it snow?", "N/A", ""),
            ("x", "?", "", ""),
        ],
        ("market", "question", "resolution", "resolution_time"),
    )
    log = POPOApplicationRecorder()
    run_plan(plan_of(write(tmp_path / "t.csv", ROWS), markets=markets), log)

    ends = {type(each.event): each for each in recorded(log) if isinstance(each.event, MarketFinalized | MarketVoided)}
    finalized = ends[MarketFinalized]
    assert isinstance(finalized.event, MarketFinalized)
    assert [(payout.outcome, payout.fraction) for payout in finalized.event.payouts] == [("Yes", 1_000_000)]
    assert finalized.time == plan_of(tmp_path / "t.csv").trades[2].time, "the table says before its last trade"
    assert MarketVoided in ends


def test_another_log_is_refused(tmp_path: Path) -> None:
    """An import goes on with its own log only: another table, or another mapping, is another import."""
    log = POPOApplicationRecorder()
    first = plan_of(write(tmp_path / "t.csv", ROWS))
    run_plan(first, log)
    assert run_plan(first, log).before == 10

    other = plan_of(tmp_path / "t.csv", ImportMapping(amounts=AmountForms(sales="held")))
    with pytest.raises(OccupiedLogError):
        run_plan(other, log)


def test_the_rest_of_an_import_follows_nothing_else(tmp_path: Path) -> None:
    """Time has gone on in the log of a half import, as under `tidings serve`: the rest would get wrong times."""
    plan = plan_of(write(tmp_path / "t.csv", ROWS))
    log = POPOApplicationRecorder()
    run_plan(plan, log)
    half = copy(recorded(log), log, len(recorded(log)) - 1)
    assert 0 < len(recorded(half)) < len(recorded(log))
    with running(half) as (_, gateway, _):
        gateway.submit_blocking("later", AdvanceTime())

    before = recorded(half)
    with pytest.raises(OccupiedLogError):
        run_plan(plan, half)
    assert recorded(half) == before
