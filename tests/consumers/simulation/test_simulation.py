"""The simulation: it checks every invariant at every position, through crashes and repeated deliveries."""

import pytest

from consumers.simulation import simulation
from consumers.simulation.simulation import SimulationFailedError, simulate
from domain.account import Account
from domain.money import MICRO
from tests.domain.scenario import EFFORT

COMMANDS = 1_500 * EFFORT
"""The number of commands for each seed."""


@pytest.mark.parametrize("seed", range(8))
def test_nothing_breaks_in_a_random_run(seed: int) -> None:
    """Orders, lifecycles, corrections and voids in several markets, with many kinds of refusals."""
    report = simulate(seed, COMMANDS, crashes=15)

    assert report.crashes > 0
    assert report.repeated > 0
    assert report.accepted["OrderPlaced"] > 100
    assert len(report.rejected) > 8


def test_the_same_seed_does_the_same() -> None:
    """The same seed ends in the same state, with crashes or without; another seed does not."""
    first, again, calm, other = simulate(7, 400), simulate(7, 400), simulate(7, 400, crashes=0), simulate(8, 400)

    assert first.state_hash == again.state_hash == calm.state_hash != other.state_hash
    assert calm.crashes == 0 < first.crashes


def test_a_broken_rule_is_found_and_the_script_that_shows_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let accounts sell a share more than they have: the simulation fails, with its seed and a short script."""
    honest = Account.available_shares

    def generous(account: Account, market_id: str, outcome: str) -> int:
        return honest(account, market_id, outcome) + MICRO

    monkeypatch.setattr(Account, "available_shares", generous)  # functions of compiled modules cannot be replaced
    monkeypatch.setattr(simulation, "SHRINK_SECONDS", 20.0)
    with pytest.raises(SimulationFailedError, match="seed 3 failed at command") as failed:
        simulate(3, 3000)

    assert len(failed.value.script) < 25
    assert {delivery.fate for delivery in failed.value.script} == {"once"}
    assert simulation.failure_of(failed.value.script) is not None
    assert simulation.failure_of([]) is None


def test_progress_is_told() -> None:
    """The callback gets (commands done, all) after every hundred commands."""
    told: list[tuple[int, int]] = []
    simulate(1, 250, progress=lambda done, of: told.append((done, of)))

    assert told == [(100, 250), (200, 250)]
