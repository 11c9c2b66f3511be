"""The numbers of `docs/pricing.md` are true: the tests make each table by the exchange and look for it in the page."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from domain.account import TradeSettled
from domain.market import CloseMarket, DetermineMarket, Evidence, FinalizeMarket, Payout
from domain.money import MICRO, format_decimal
from domain.orders import Execution, RestingOrderFilled, SplitSets
from tests.domain.scenario import Scenario, a_market, accounts, buy, given, sell

PAGE = Path(__file__).parents[2] / "docs" / "pricing.md"
TRADERS = accounts("alice", "bob")


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as the page has it."""
    lines = [list(head), [":---", *["---:"] * (len(list(head)) - 1)], *[[str(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(micros: int) -> str:
    """Return an amount as the page has it."""
    return format_decimal(micros)


def bought(quantity: int, outcomes: tuple[str, ...] = ("Yes", "No")) -> tuple[Scenario, Execution]:
    """Return the scenario and the execution of a first purchase of the first outcome."""
    scenario = given(*a_market(outcomes), *TRADERS).when(buy("alice", outcomes[0], quantity=quantity))
    return scenario, scenario.placed.execution


def purchases() -> str:
    """The cost of a number of shares of Yes, in a market with two outcomes and a subsidy of 100."""
    rows = []
    for quantity in (1, 10, 50, 100, 500):
        done = bought(quantity * MICRO)[1]
        rows.append(
            [quantity, shown(done.cost), shown(done.fills[0].price), shown(done.prices[0]), shown(done.prices[1])]
        )
    return table(["shares of Yes", "cost", "average price", "price of Yes after", "price of No after"], rows)


def there_and_back() -> str:
    """Buying ten shares and selling them again."""
    scenario, done = bought(10 * MICRO)
    back = scenario.when(sell("alice", "Yes", quantity=10 * MICRO)).placed.execution
    rows = [
        ["buy 10 Yes", shown(-done.cost), shown(done.prices[0])],
        ["sell 10 Yes", shown(back.cost), shown(back.prices[0])],
        ["together", shown(back.cost - done.cost), ""],
    ]
    return table(["", "cash", "price of Yes after"], rows)


def many_outcomes() -> str:
    """Three outcomes."""
    rows = [["at first", *map(shown, given(*a_market(("A", "B", "C"))).exchange.markets["m"].displayed_prices())]]
    rows += [
        [f"after {quantity} shares of A are bought", *map(shown, bought(quantity * MICRO, ("A", "B", "C"))[1].prices)]
        for quantity in (20, 60)
    ]
    return table(["", "A", "B", "C"], rows)


def steps(execution: Execution) -> list[list[object]]:
    """Return the fills of an order as rows."""
    return [
        [fill.order_id or "the AMM", shown(fill.quantity), shown(fill.price), shown(fill.cost)]
        for fill in execution.fills
    ]


STEPS = ["from", "shares", "average price", "cost"]


def book_and_amm() -> str:
    """A market order that meets a resting order on its way."""
    scenario = given(*a_market(), *TRADERS, SplitSets("bob", "m", 50 * MICRO))
    scenario.given(sell("bob", "Yes", name="bob's order", quantity=5 * MICRO, limit_price=520_000))
    done = scenario.when(buy("alice", "Yes", quantity=30 * MICRO)).placed.execution
    return table(STEPS, [*steps(done), ["together", shown(done.filled), "", shown(done.cost)]])


def two_bids() -> str:
    """A bid on Yes that meets a bid on No."""
    scenario = given(
        *a_market(), *TRADERS, buy("bob", "No", name="bob's bid on No", quantity=20 * MICRO, limit_price=450_000)
    )
    done = scenario.when(buy("alice", "Yes", quantity=80 * MICRO, limit_price=560_000)).placed.execution
    pair = next(fill for fill in done.fills if fill.order_id)
    rest = ["rests at 0.56", shown(done.remaining), "", ""]
    paid = f"{shown(pair.cost)} + {shown(pair.resting_cost)}"
    return table(
        [*STEPS, "the two pay"], [[*row, paid if row[0] != "the AMM" else ""] for row in steps(done)] + [[*rest, ""]]
    )


def bid_on_b() -> str:
    """A bid on B that is filled because others bought A."""
    scenario = given(*a_market(("A", "B", "C")), *TRADERS)
    before = scenario.exchange.markets["m"].displayed_prices()
    scenario.given(buy("alice", "B", name="bid", quantity=20 * MICRO, limit_price=300_000))
    scenario.when(buy("bob", "A", quantity=60 * MICRO))
    filled = scenario.event(RestingOrderFilled)
    rows = [
        ["at first", *map(shown, before), ""],
        ["bob buys 60 A", *map(shown, scenario.placed.execution.prices), ""],
        [
            "alice's bid is filled",
            *map(shown, filled.prices),
            f"{shown(filled.quantity)} B for {shown(filled.cost)}",
        ],
    ]
    return table(["", "A", "B", "C", "what alice gets"], rows)


def fees() -> str:
    """The fee on ten shares at different prices, at a rate of 7 %."""
    rows = []
    for opening in (50_000, 250_000, 500_000, 900_000):
        scenario = given(
            *a_market(fee_rate=70_000, subsidy=10**6 * MICRO, initial_prices=(opening, MICRO - opening)), *TRADERS
        )
        done = scenario.when(buy("alice", "Yes", quantity=10 * MICRO)).placed.execution
        rows.append([shown(done.fills[0].price), shown(done.cost), shown(done.fee)])
    return table(["average price", "cost of 10 shares", "fee"], rows)


def payout() -> str:
    """The payouts of a percent resolution."""
    scenario = given(
        *a_market(), *TRADERS, SplitSets("bob", "m", 10 * MICRO), buy("alice", "Yes", quantity=10 * MICRO + 1)
    )
    before = scenario.cash("alice"), scenario.cash("bob")
    scenario.given(CloseMarket("m"))
    why = Evidence("Both, a little.")
    scenario.given(DetermineMarket("m", (Payout("Yes", 333_333), Payout("No", 666_667)), why), FinalizeMarket("m"))
    rows = [
        ["alice", "10.000001 Yes", shown(scenario.cash("alice") - before[0])],
        ["bob", "10 Yes and 10 No", shown(scenario.cash("bob") - before[1])],
    ]
    return table(["", "holds", "is paid"], rows)


TABLES: tuple[Callable[[], str], ...] = (
    purchases,
    there_and_back,
    many_outcomes,
    book_and_amm,
    two_bids,
    bid_on_b,
    fees,
    payout,
)


@pytest.mark.parametrize("made", TABLES, ids=lambda made: made.__name__)
def test_a_table_of_the_page_is_what_the_exchange_does(made: Callable[[], str]) -> None:
    """The table is in the page, to the micro-credit."""
    assert made() in PAGE.read_text()


def test_the_page_has_no_other_numbers_tables() -> None:
    """Every table of numbers in the page is made by a function here."""
    assert len(re.findall(r"^\| :---", PAGE.read_text(), re.MULTILINE)) == len(TABLES)


def test_the_numbers_in_the_sentences_are_true() -> None:
    """The cash that a bid reserves, and the most that the AMM can lose."""
    page = PAGE.read_text()
    scenario = given(
        *a_market(fee_rate=70_000), *TRADERS, buy("alice", "Yes", quantity=10 * MICRO, limit_price=400_000)
    )
    reserved = shown(scenario.exchange.accounts["alice"].held)
    assert f"reserves {reserved} credits" in page
    done = given(*a_market(), *TRADERS).when(buy("alice", "Yes", quantity=10_000 * MICRO)).placed.execution
    loss = done.filled - done.cost
    assert f"{shown(done.filled)} shares" in page
    assert f"loses {shown(loss)} credits" in page
    assert loss < 100 * MICRO
    assert isinstance(bought(MICRO)[0].events[0], TradeSettled)
