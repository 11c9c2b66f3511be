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


def test_load_refuses_a_key_twice(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """Nothing of a file is published where one value would silently replace another; a BOM is no problem."""
    story = (
        '{"slug":"%s","title":"t","body":"b","category":"twice","published_at":"2026-01-01T00:00:00Z"%s,"markets":[]}'
    )
    file = tmp_path / "stories.json"
    url = exchange.running.url

    file.write_text('{{"stories":[{},{}]}}'.format(story % ("one", ""), story % ("two", ',"title":"u"')), "utf-8-sig")
    done = tidings(settings, "load", str(file), "--url", url)
    assert (done.returncode, '"title" twice' in done.stderr) == (2, True)
    assert exchange.api.data("/stories", category="twice") == []

    file.write_text('{"stories":[%s]}' % (story % ("one", "")), "utf-8-sig")
    assert tidings(settings, "load", str(file), "--url", url).returncode == 0
