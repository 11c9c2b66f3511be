"""`tidings load`: stories and markets from a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local.processes import free_port
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings
    from tests.api.conftest import Exchange


def story(slug: str | None, **fields: Any) -> dict[str, Any]:
    """Return a story without markets; `None` leaves a field out."""
    found = {
        "slug": slug, "title": f"Story {slug}", "body": "b", "category": "loaded", "published_at": "2026-01-01T00:00:00Z",
    } | fields  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def market(slug: str | None) -> dict[str, Any]:
    """Return a market; `None` leaves the slug out."""
    found = {"slug": slug, "question": "Is it?", "outcomes": ["Yes", "No"], "resolution_source": "us"}
    return {name: value for name, value in found.items() if value is not None}


def test_load_publishes_once(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """A file loaded again changes nothing; a file without stories is wrong use."""
    loaded = story("a-loaded-story", category="once", markets=[market("loaded")])
    file = tmp_path / "stories.json"
    file.write_text(json.dumps({"stories": [loaded]}))
    url = exchange.running.url

    for created in (True, False):
        done = tidings(settings, "load", str(file), "--url", url, "--json")
        assert done.returncode == 0, done.stderr
        (printed,) = json.loads(done.stdout)
        assert (printed["markets"][0]["slug"], printed["created"]) == ("loaded", created)
    assert len(exchange.api.data("/stories", category="once")) == 1

    file.write_text("{}")
    assert tidings(settings, "load", str(file), "--url", url).returncode == 2


def test_load_refuses_a_key_twice(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """Nothing of a file is published where one value would silently replace another; a BOM is no problem."""
    text = (
        '{"slug":"%s","title":"t","body":"b","category":"twice","published_at":"2026-01-01T00:00:00Z"%s,"markets":[]}'
    )
    file = tmp_path / "stories.json"
    url = exchange.running.url

    file.write_text('{{"stories":[{},{}]}}'.format(text % ("one", ""), text % ("two", ',"title":"u"')), "utf-8-sig")
    done = tidings(settings, "load", str(file), "--url", url)
    assert (done.returncode, '"title" twice' in done.stderr) == (2, True)
    assert exchange.api.data("/stories", category="twice") == []

    file.write_text('{"stories":[%s]}' % (text % ("one", "")), "utf-8-sig")
    assert tidings(settings, "load", str(file), "--url", url).returncode == 0


def test_load_prints_what_it_made(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """Slugs, ids and addresses of the story and its markets; a second time it says that all of it was there."""
    file = tmp_path / "stories.json"
    file.write_text(json.dumps({"stories": [story("printed-story", markets=[market("printed")])]}))
    url = exchange.running.url

    first, second = (tidings(settings, "load", str(file), "--url", url).stdout for _ in range(2))

    shown = exchange.api.data("/stories/printed-story")
    assert f"published: {url}/v1/stories/printed-story  {shown['story_id']}\n" in first
    assert f"    {url}/v1/markets/printed" in first
    assert shown["markets"][0]["market_id"] in first
    assert second == first.replace("published:", "was there already:")


def test_a_story_without_a_slug_is_published_once(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """Its content is its id: the same file changes nothing."""
    file = tmp_path / "stories.json"
    file.write_text(json.dumps({"stories": [story(None, title="Nameless news", category="nameless")]}))

    for _ in range(2):
        done = tidings(settings, "load", str(file), "--url", exchange.running.url)
        assert done.returncode == 0, done.stderr
    assert [found["slug"] for found in exchange.api.data("/stories", category="nameless")] == ["nameless-news"]


def test_times_at_the_end_of_time_load(exchange: Exchange, settings: Settings, tmp_path: Path) -> None:
    """Ten years after 9995 there is no time: the market closes at the last one."""
    file = tmp_path / "stories.json"
    late = story("late", published_at="9995-06-01T00:00:00Z", markets=[market("late-market")])
    file.write_text(json.dumps({"stories": [late]}))

    done = tidings(settings, "load", str(file), "--url", exchange.running.url)

    assert done.returncode == 0, done.stderr
    assert exchange.api.data("/markets/late-market")["close_time"].startswith("9999-12-31T23:59:59")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", (2, "is not JSON")),
        (b"\xff\xfe{\x00}\x00", (2, "UTF-8")),
        (b"[]", (2, '"stories"')),
        (b'{"stories": {}}', (2, '"stories"')),
        (b'{"stories": [1]}', (2, "story 1 is not a JSON object")),
        (b'{"stories": [{"markets": 1}]}', (2, "markets of story 1")),
        (b'{"stories": [{"markets": [1]}]}', (2, "markets of story 1")),
        (b"[" * 100_000, (2, "too deeply")),
        (b'{"stories": [{}]}', (1, "title")),
        (b'{"stories": [{"slug": 5, "title": "t"}]}', (1, "slug")),
        (json.dumps({"stories": [story("x", published_at="10000-01-01T00:00:00Z")]}).encode(), (1, "published_at")),
        (json.dumps({"stories": [story("x", published_at=7)]}).encode(), (1, "published_at")),
        (json.dumps({"stories": [story("п" * 99)]}).encode(), (1, "slug")),
        (json.dumps({"stories": [story("x", title="\ud800")]}).encode(), (2, "surrogate")),
        (json.dumps({"stories": [story("x", body="b" * 2_000_000)]}).encode(), (1, "")),
        (b'{"stories": []}', (0, "")),
    ],
    ids=range(16),
)
def test_what_does_not_load_is_refused_in_words(
    exchange: Exchange, settings: Settings, tmp_path: Path, content: bytes, expected: tuple[int, str]
) -> None:
    """The complaint is one sentence that names the file; nobody sees a traceback."""
    code, says = expected
    file = tmp_path / "stories.json"
    file.write_bytes(content)

    done = tidings(settings, "load", str(file), "--url", exchange.running.url)

    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert code == 0 or (str(file) in done.stderr and len(done.stderr.splitlines()) == 1), done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("missing.json",), 2, "missing.json: No such file"),
        (("api",), 2, "api: Is a directory"),
        (("api/demo/story.json", "--url", "localhost:8000"), 2, "http://127.0.0.1:8000"),
        (("api/demo/story.json", "--key", "ключ"), 2, "key"),
    ],
    ids=str,
)
def test_wrong_use_of_load_is_said(settings: Settings, arguments: tuple[str, ...], code: int, says: str) -> None:
    """A file, URL or key that cannot be one is wrong use."""
    done = tidings(settings, "load", *arguments)

    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def test_a_wrong_key_is_refused_and_a_missing_server_named(exchange: Exchange, settings: Settings) -> None:
    """A key that nobody made ends with 1; without a server, the URL is named at once and the exit code is 3."""
    file = "api/demo/story.json"
    wrong = tidings(settings, "load", file, "--url", exchange.running.url, "--key", "nobody-made-this-key")
    nowhere = tidings(settings.model_copy(update={"port": free_port()}), "load", file)

    assert (wrong.returncode, "UNAUTHENTICATED" in wrong.stderr) == (1, True), wrong.stderr
    assert (nowhere.returncode, "no server answers at http://127.0.0.1:" in nowhere.stderr) == (3, True)
