"""The command line, as a person uses it: processes, exit codes, what stands on stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from pydantic import SecretStr

from settings import Settings, environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Exchange


def tidings(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def settings(exchange: Exchange) -> Settings:
    """The settings of the running exchange."""
    return exchange.running.settings


def test_keys_are_made_listed_and_revoked(exchange: Exchange, settings: Settings) -> None:
    """A key made here opens the running server, by the account's name, until it is revoked here."""
    trader = exchange.trader("10")
    made = tidings(settings, "keys", "create", "--role", "trader", "--account", trader.name, "--label", "cli")
    key = made.stdout.strip()
    assert made.returncode == 0
    api = exchange.api.as_key(key)
    assert api.post("/orders", trader.order(exchange.market()["market_id"])).status_code == 201

    listed = json.loads(tidings(settings, "keys", "list", "--json").stdout)
    (mine,) = [row for row in listed if row["label"] == "cli"]
    assert mine["account_id"] == trader.account_id
    assert key not in json.dumps(listed)
    assert tidings(settings, "keys", "revoke", mine["key_id"]).returncode == 0
    revoked = json.loads(tidings(settings, "keys", "list", "--json").stdout)
    assert next(row for row in revoked if row["key_id"] == mine["key_id"])["revoked_at"] is not None


def test_a_key_needs_what_it_needs(settings: Settings) -> None:
    """A trader without an account is wrong use (2), an unknown account or key the answer no (1)."""
    assert tidings(settings, "keys", "create", "--role", "trader").returncode == 2
    assert tidings(settings, "keys", "create", "--role", "trader", "--account", "nobody").returncode == 1
    assert tidings(settings, "keys", "revoke", "key_unknown").returncode == 1


def test_load_publishes_once(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """A file with stories and markets; loaded again it changes nothing; a file that is none is wrong use."""
    market = {"slug": "loaded", "question": "Is it?", "outcomes": ["Yes", "No"], "resolution_source": "us"}
    story = {
        "slug": "a-loaded-story", "title": "A loaded story", "body": "b", "category": "loaded",
        "published_at": "2026-01-01T00:00:00Z", "markets": [market],
    }  # fmt: skip
    file = tmp_path / "stories.json"
    file.write_text(json.dumps({"stories": [story]}))
    url = exchange.running.url

    for _ in range(2):
        done = tidings(settings, "load", str(file), "--url", url, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0]["markets"][0]["slug"] == "loaded"
    assert len(exchange.api.data("/stories", category="loaded")) == 1

    file.write_text("{}")
    assert tidings(settings, "load", str(file), "--url", url).returncode == 2


def test_replay_shows_then_and_now(exchange: Exchange, settings: Settings) -> None:
    """The state folded from the log is what the API says, at a position, at a time and at the end."""
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
    assert tidings(settings, "replay", "--until-time", "yesterday").returncode == 2


def test_verify_and_lag(exchange: Exchange, settings: Settings) -> None:
    """Everything agrees with the log; nothing is behind once it has come."""
    position = exchange.trader("10").place(exchange.market()["market_id"])["position"]
    exchange.api.data("/leaderboard", min_position=position)

    verified = tidings(settings, "verify", "--json")
    lag = json.loads(tidings(settings, "lag", "--json").stdout)

    assert (verified.returncode, json.loads(verified.stdout)["equal"]) == (0, True), verified.stdout
    assert lag["engine"]["position"] >= position
    assert {row["parked"] for row in lag["projections"]} == {0}


def test_a_role_for_dashboards(exchange: Exchange, settings: Settings) -> None:
    """Its password is printed; it logs in and reads the views. A name that is not its own is refused (1)."""
    position = exchange.market()["position"]
    exchange.api.data("/markets", min_position=position)
    name = "cli_dashboards"
    given = settings.model_copy(update={"sql_password": SecretStr("chosen-by-the-test")})
    made = json.loads(tidings(settings, "sql-role", name, "--json").stdout)
    again = tidings(given, "sql-role", name)

    assert (made["role"], made["schema"], len(made["password"]) > 20) == (name, "dashboards", True)
    assert again.stdout == "chosen-by-the-test\n"
    try:
        with psycopg.connect(str(settings.dsn), user=name, password="chosen-by-the-test") as reader:  # noqa: S106
            row = reader.execute("SELECT count(*) FROM markets").fetchone()
        assert row is not None
        assert row[0] > 0
    finally:
        with psycopg.connect(str(settings.dsn)) as connection:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
            owner = connection.info.user
    for taken in (owner, "No Role"):
        refused = tidings(settings, "sql-role", taken)
        assert (refused.returncode, refused.stderr.startswith("tidings: ")) == (1, True)


def test_settings_are_shown_without_secrets(settings: Settings) -> None:
    """Every variable with its meaning; keys and passwords masked."""
    shown = tidings(settings, "settings", "--json")

    rows = {row["variable"]: row for row in json.loads(shown.stdout)}
    assert rows["TIDINGS_PORT"]["description"]
    assert settings.operator_key is not None
    assert settings.operator_key.get_secret_value() not in shown.stdout


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["keys"], ["demo", "--seed", "x"]], ids=str)
def test_wrong_use_is_2(settings: Settings, arguments: list[str]) -> None:
    """An unknown command or option says what there is, and ends with 2."""
    done = tidings(settings, *arguments)

    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_a_setting_that_is_not_valid_is_2(settings: Settings) -> None:
    """It is named."""
    done = subprocess.run(
        [sys.executable, "-m", "api", "settings"],
        env=environment(settings) | {"TIDINGS_PORT": "many"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, "TIDINGS_PORT" in done.stderr) == (2, True)


def test_a_database_that_is_not_there_is_3(settings: Settings) -> None:
    """Nothing answers: 3."""
    away = settings.model_copy(update={"dsn": "host=127.0.0.1 port=1 dbname=x connect_timeout=2"})

    assert tidings(away, "keys", "list").returncode == 3


def test_the_parts_apart_need_kafka(settings: Settings) -> None:
    """`api` and `engine` with the log in PostgreSQL are wrong use, and say what to do."""
    for part in ("api", "engine"):
        done = tidings(settings, part)
        assert (done.returncode, "tidings serve" in done.stderr) == (2, True)


def test_a_simulation_is_repeatable(settings: Settings) -> None:
    """The same seed ends in the same state; what must hold held at every position."""
    first, second = (
        json.loads(tidings(settings, "simulate", "--seed", "7", "--commands", "300", "--json").stdout) for _ in range(2)
    )

    assert first["state_hash"] == second["state_hash"]
    assert first["commands"] == 300
