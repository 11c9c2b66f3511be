"""What `verify` finds: of the ledger, and of read models that have left out events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from domain.account import CashWithdrawn, PositionVoided, WithdrawCash
from domain.market import OpenMarket, VoidMarket
from domain.money import MICRO
from domain.orders import OrderPlaced, PlaceOrder
from projections.machine.batch import Batch
from projections.machine.parking import UnreadableEvent, park, skip
from projections.verify import Comparison, ledger_differences, verify
from tests.projections.by_hand import Story
from tests.projections.simulation import HOUR, Simulation, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from domain.events import Recorded
    from projections.machine.projection import Projection
    from tests.projections.folding import Copy, ReadModels


def overdrawn_by_a_void() -> list[Recorded]:
    """Buy at 0.01 what another one drives to 0.98, sell it, withdraw the gain, and let the market be voided."""
    simulation = Simulation(1, accounts=2)
    simulation.send(
        OpenMarket(
            "v", "s0", "v", "?", ("Yes", "No"), 100 * MICRO, simulation.time + HOUR, "Reuters",
            initial_prices=(10_000, 990_000),
        )
    )  # fmt: skip
    simulation.send(PlaceOrder("a0", "v", "1", "1", "Yes", "buy", "market", quantity=50 * MICRO))
    simulation.send(PlaceOrder("a1", "v", "2", "2", "Yes", "buy", "limit", quantity=200 * MICRO, limit_price=980_000))
    simulation.send(PlaceOrder("a0", "v", "3", "3", "Yes", "sell", "market", quantity=50 * MICRO))
    simulation.send(WithdrawCash("a0", simulation.exchange.accounts["a0"].cash))
    simulation.send(VoidMarket("v", "unclear"))
    return simulation.log


def test_a_void_may_overdraw_an_account() -> None:
    """The account spent its gain before the void took it back: it is below zero, and nothing is wrong."""
    log = overdrawn_by_a_void()
    voided = [recorded.event for recorded in log if isinstance(recorded.event, PositionVoided)]

    assert min(event.cash for event in voided) < -10 * MICRO
    assert not list(ledger_differences(log))


def test_the_ledger_is_checked_to_the_end() -> None:
    """Two accounts that withdraw more than they have, and an unreadable event between: each is told once, with its kind."""
    story = Story("a", "b")
    story.add("account-a", CashWithdrawn("a", 1001 * MICRO))
    first = len(story.log)
    story.add("account-a", CashWithdrawn("a", 1 * MICRO))
    story.add("market-m", UnreadableEvent("Odd.v9", "unknown"))  # type: ignore[arg-type]  # as the log reader does
    story.add("account-b", CashWithdrawn("b", 1002 * MICRO))

    found = list(ledger_differences(story.log))

    balances = [one.details for one in found if one.kind == "balance"]
    assert [(one["position"], one["account"], one["balance"]) for one in balances] == [
        (first, "cash:a", -MICRO),
        (first + 3, "cash:b", -2 * MICRO),
    ]
    assert [one.details["position"] for one in found if one.kind == "unreadable"] == [first + 2]
    sunk = [one.details for one in found if one.kind == "invariant"]
    assert [one["position"] for one in sunk if "sinks below zero" in one["claim"]] == [first, first + 3]


def verified(read_models: ReadModels, log: list[Recorded], projections: Iterable[Projection]) -> dict[str, Comparison]:
    """Return what `verify` says of the first copy."""
    found = verify(read_models.dsn, "copy1", projections, lambda after, until: [Batch(0, log[after:until])])
    return {comparison.name: comparison for comparison in found}


def test_events_that_were_left_out_are_differences(read_models: ReadModels) -> None:
    """A parked event is named, those that wait behind it are counted, a skipped one has its reason; the rest is compared."""
    log = simulate(5, 200)
    copy = read_models.copy(["markets", "orders", "trades"])
    at = next(number for number, one in enumerate(log, 1) if number > 100 and isinstance(one.event, OrderPlaced))
    waiting = [one.position for one in log[at:] if getattr(one.event, "market_id", "") == log[at - 1].event.market_id]
    markets, orders, trades = copy.projections
    copy.fold(log[: at - 1], 50)
    park(copy.connection, markets, 0, log[at - 1], "OverflowError()")
    park(copy.connection, trades, 0, log[at - 1], "OverflowError()")
    skip(copy.connection, trades, at, "no matter")
    copy.fold(log[at - 1 :], 50)

    found = verified(read_models, log, copy.projections)

    assert {name: comparison.position for name, comparison in found.items()} == dict.fromkeys(found, len(log))
    parked, behind = found["markets"].differences
    assert (parked.kind, parked.details) == (
        "parked",
        {"position": at, "topic": "OrderPlaced.v1", "error": "OverflowError()"},
    )
    assert (behind.kind, behind.details["position"]) == ("waiting", waiting[0])
    (left_out,) = found["trades"].differences
    assert (left_out.kind, left_out.details) == ("skipped", {"position": at, "reason": "no matter"})
    assert found[orders.name].differences == []


def _spoil_version(copy: Copy) -> None:
    copy.connection.execute("UPDATE projection_positions SET version = 1 WHERE projection = 'orders'")


def _spoil_tables(copy: Copy) -> None:
    copy.connection.execute("DELETE FROM projection_positions WHERE projection = 'orders'")


def _spoil_position(copy: Copy) -> None:
    copy.connection.execute("UPDATE projection_positions SET position = position + 9 WHERE projection = 'orders'")


@pytest.mark.parametrize(
    ("spoil", "kind"), [(_spoil_version, "version"), (_spoil_tables, "missing"), (_spoil_position, "ahead")]
)
def test_read_models_that_cannot_be_compared(read_models: ReadModels, spoil: Callable[[Copy], None], kind: str) -> None:
    """Tables of another version, none at all, or a position that the log does not have: the others are still compared."""
    log = simulate(5, 50)
    copy = read_models.copy(["orders", "stories"]).fold(log, 500)
    spoil(copy)

    found = verified(read_models, log, copy.projections)

    kinds = {name: [difference.kind for difference in one.differences] for name, one in found.items()}
    assert kinds == {"orders": [kind], "stories": []}


def test_a_log_that_cannot_be_folded_again(read_models: ReadModels) -> None:
    """An event that nobody parked cannot be read: the read model has this difference, and no traceback."""
    log = simulate(5, 50)
    copy = read_models.copy(["orders", "stories"]).fold(log, 500)
    log[-1] = msgspec.structs.replace(log[-1], event=UnreadableEvent("Odd.v9", "unknown"))

    found = verified(read_models, log, copy.projections)

    assert [[one.kind for one in comparison.differences] for comparison in found.values()] == [["fold"], ["fold"]]


def test_nothing_to_verify(read_models: ReadModels) -> None:
    """Where no projector has ever worked, no read model is compared."""
    copy = read_models.copy([])

    assert verified(read_models, [], copy.projections) == {}
