"""Dead letters of read models: listed, shown, retried and skipped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from projections.registry import PROJECTIONS
from tests.api.cli.read_model_home import EVENTS, append_unknown, projected
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings


def test_an_unknown_read_model_is_wrong_use(home_settings: Settings) -> None:
    """The error names the read models, and the command ends with 2."""
    done = tidings(home_settings, "dead-letters", "retry", "nothing")

    assert (done.returncode, "there are timeline, stories, markets" in done.stderr) == (2, True), done.stderr


def test_dead_letters_of_commands_need_kafka(home_settings: Settings) -> None:
    """With the log in PostgreSQL there are no dead letters of commands."""
    assert tidings(home_settings, "dead-letters", "list", "commands").returncode == 2


def test_dead_letters_listed_shown_retried_and_skipped(home_settings: Settings, home_dsn: str, tmp_path: Path) -> None:
    """Every read model parks an event of an unknown type; once skipped, the event no longer holds its read model up."""
    append_unknown(home_dsn)
    position = str(EVENTS + 1)
    projected(
        home_settings,
        home_dsn,
        tmp_path / "projector.txt",
        dict.fromkeys(PROJECTIONS, EVENTS + 1) | dict.fromkeys(["timeline", "log_index", "invitations"], EVENTS),
    )

    rows = json.loads(tidings(home_settings, "dead-letters", "list", "--json").stdout)
    shown = tidings(home_settings, "dead-letters", "show", "markets", position)
    retried = tidings(home_settings, "dead-letters", "retry", "markets")
    verified = tidings(home_settings, "verify", "--json")
    refused = tidings(home_settings, "dead-letters", "skip", "markets", "1", "--reason", "no such")
    skipped = tidings(home_settings, "dead-letters", "skip", "markets", position, "--reason", "unknown to all")
    listed = tidings(home_settings, "dead-letters", "list", "markets")
    others = tidings(home_settings, "dead-letters", "list", "trades")

    assert {(row["projection"], row["position"], row["topic"]) for row in rows} == {
        (name, EVENTS + 1, "Odd.v9") for name in PROJECTIONS
    }
    assert json.loads(json.loads(shown.stdout)["state"])["command_id"] == "x"
    assert (retried.returncode, retried.stdout) == (1, "1 still parked\n")
    assert (refused.returncode, refused.stderr.startswith("tidings: markets has no event at 1")) == (1, True)
    assert (skipped.returncode, skipped.stdout) == (0, "skipped; 0 still parked\n")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert others.stdout.split()[:3] == ["trades", position, "Odd.v9"]
    compared = {row["name"]: row["differences"] for row in json.loads(verified.stdout)["compared"]}
    assert (verified.returncode, set(compared)) == (1, {"ledger", *PROJECTIONS})
    assert {name: [(one["kind"], one["position"]) for one in found] for name, found in compared.items()} == {
        name: [("unreadable" if name == "ledger" else "parked", EVENTS + 1)] for name in compared
    }
