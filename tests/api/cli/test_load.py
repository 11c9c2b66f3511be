"""`tidings load`: stories and markets from a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.api.command_line import tidings

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings
    from tests.api.conftest import Exchange


def test_load_publishes_once(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """A file loaded again changes nothing; a file without stories is wrong use."""
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
