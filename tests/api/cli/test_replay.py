"""`tidings replay`: the state at a position, at a time and at the end, from the log alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from settings import Settings
from tests.analysis.exports import write_export
from tests.api.command_line import tidings
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Exchange


def test_replay_shows_then_and_now(exchange: Exchange, settings: Settings) -> None:
    """The state folded from the log is the one that the API returns, at a position, at a time and at the end."""
    market, trader = exchange.market(), exchange.trader("100")
    first = trader.place(market["market_id"], quantity="5")["position"]
    last = trader.place(market["market_id"], quantity="5")["position"]
    seen = exchange.api.data(f"/markets/{market['market_id']}", min_position=last)
    account = exchange.api.data(f"/accounts/{trader.account_id}", min_position=last)

    def replayed(*arguments: str) -> dict[str, list[dict[str, object]]]:
        done = tidings(settings, "replay", "--format", "json", *arguments)
        assert done.returncode == 0, done.stderr
        state: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
        return state

    (now,) = replayed("--market", market["slug"])["markets"]
    (then,) = replayed("--market", market["market_id"], "--until-position", str(first))["markets"]
    past = exchange.api.data(f"/markets/{market['market_id']}", as_of_position=first)

    def prices(of: dict[str, object]) -> list[object]:
        outcomes = of["outcomes"]
        assert isinstance(outcomes, list)
        return [row["price"] for row in outcomes]

    assert prices(now) == prices(seen)
    assert prices(then) == prices(past)
    (mine,) = replayed("--account", trader.name, "--until-time", seen["time"])["accounts"]
    assert mine["available"] == account["available"]
    assert market["slug"] in tidings(settings, "replay", "--market", market["slug"]).stdout
    assert tidings(settings, "replay", "--market", "nowhere").returncode == 1

    exchange.api.done(f"/markets/{market['market_id']}/close")
    exchange.api.done(f"/markets/{market['market_id']}/determine", {"payouts": {"Yes": "1"}, "evidence": {"text": "."}})
    ended = tidings(settings, "replay", "--market", market["slug"]).stdout
    assert [line.split()[0] for line in ended.splitlines() if line.endswith("pays 1.000000")] == ["Yes"]
    assert [line.split()[0] for line in ended.splitlines() if line.endswith("pays 0.000000")] == ["No"]
    assert tidings(settings, "replay", "--until-time", "yesterday").returncode == 2


def test_replay_of_an_export_needs_no_server(tmp_path: Path) -> None:
    """The events are in the export; nothing else is started, and a folder that is none is refused."""
    log = simulate(7, 60)
    write_export(tmp_path / "export", log)
    nowhere = Settings(dsn="host=127.0.0.1 port=1 connect_timeout=2")

    done = tidings(
        nowhere, "replay", "--export", str(tmp_path / "export"), "--until-position", "50", "--format", "json"
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["position"] == 50
    refused = tidings(nowhere, "replay", "--export", str(tmp_path))
    assert (refused.returncode, f"{tmp_path} has no events" in refused.stderr) == (2, True)
