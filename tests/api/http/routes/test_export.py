"""`GET /v1/export`: an archive of the log and its tables, by ranges of positions."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from api.export.files import digest_of
from api.export.tables import FILE_POSITIONS, TABLES
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.api.conftest import Api, Exchange


def ask(api: Api, **query: Any) -> httpx.Response:
    """Ask for an archive."""
    return api.client.get("/v1/export", params=query, headers=api.headers, timeout=60)


def unpacked(answer: httpx.Response, folder: Path) -> dict[str, Any]:
    """Unpack an archive into a folder; return its manifest."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-tar"), answer.text
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames()[-1] == "manifest.json"
        archive.extractall(folder, filter="data")
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["files"]:
        path = folder / entry["name"]
        assert (path.stat().st_size, digest_of(path)) == (entry["bytes"], entry["sha256"])
    return manifest


def analyst(exchange: Exchange) -> Api:
    """Return the API with a key that may read all, and do nothing."""
    return exchange.api.as_key(exchange.api.done("/keys", {"roles": ["analyst"]})["key"])


def test_an_archive_has_the_files_of_an_export(exchange: Exchange, tmp_path: Path) -> None:
    """Byte for byte, the manifest included: an export goes on from an archive."""
    position = exchange.trader("10").place(exchange.market()["market_id"])["position"]
    exchange.api.data("/leaderboard", min_position=position)
    everything = ",".join(TABLES)

    answer = ask(analyst(exchange), until=position, what=everything)
    manifest = unpacked(answer, tmp_path / "archive")
    done = tidings(
        exchange.running.settings, "export", str(tmp_path / "x"), "--format", "jsonl", "--until-position", str(position)
    )

    assert (manifest["until"], answer.headers["tidings-until"]) == (position, str(position))
    assert done.returncode == 0, done.stderr
    for folder in ("archive", "x"):
        (tmp_path / folder / ".lock").unlink(missing_ok=True)
    names = [sorted(str(path.relative_to(tmp_path / each)) for path in (tmp_path / each).rglob("*") if path.is_file())
             for each in ("archive", "x")]  # fmt: skip
    assert names[0] == names[1]
    for name in names[0]:
        assert (tmp_path / "archive" / name).read_bytes() == (tmp_path / "x" / name).read_bytes(), name


def test_ranges_join_without_a_seam(exchange: Exchange, tmp_path: Path) -> None:
    """A client that is cut off asks again after the last position that it has."""
    last = exchange.trader("10").place(exchange.market()["market_id"])["position"]
    exchange.api.data("/leaderboard", min_position=last)
    key = analyst(exchange)
    rows: list[str] = []
    after = 0
    while after < last:
        until = min(after + last // 3 + 1, last)
        folder = tmp_path / str(after)
        manifest = unpacked(ask(key, after=after, until=until, what="events"), folder)
        rows += (folder / manifest["files"][0]["name"]).read_text().splitlines()
        after = manifest["until"]

    assert [json.loads(row)["position"] for row in rows] == list(range(1, last + 1))


def test_what_is_refused(exchange: Exchange) -> None:
    """Nobody but analysts and admins; tables that nobody knows; ranges that are too long or beyond the end."""
    key, end = analyst(exchange), exchange.trader("1").place(exchange.market()["market_id"])["position"]
    trader = exchange.trader("10").api

    for api, status in ((exchange.api.as_key(None), 401), (trader, 403)):
        assert ask(api).status_code == status
    for query, field in (({"what": "events,trade"}, "what"), ({"what": ""}, "what"), ({"after": 5, "until": 4}, "until"),
                         ({"until": FILE_POSITIONS + 1}, "until")):  # fmt: skip
        answer = ask(key, **query)
        assert (answer.status_code, answer.json()["details"]["field"]) == (422, field), query
    late = ask(key, after=end, until=end + 50_000)
    assert (late.status_code, late.json()["code"], "retry-after" in late.headers) == (503, "NOT_YET_PROJECTED", True)
    assert ask(key, nothing=1).status_code == 400
