"""`tidings load`: publish the stories and markets of a JSON file on a running server."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from api.cli.client import Client, ClientError
from domain.money import MICRO
from messages.wire import format_time, parse_time

if TYPE_CHECKING:
    from pathlib import Path

CLOSE_AFTER: Final = 3652 * 24 * 3600 * MICRO
"""A market that names no close_time closes ten years after its story."""

_STORY: Final = frozenset({"title", "body", "category", "published_at", "source_url", "slug", "markets"})


def load(file: Path, url: str, key: str, *, subsidy: str, as_json: bool) -> int:
    """Publish every story of the file (`{"stories": [...]}`, as the API takes them); return the exit code.

    A story's slug makes its id: loading a file again changes nothing, and a story that has changed since is refused.
    """
    try:
        stories = json.loads(file.read_text("utf-8"))["stories"]
        bodies = [story_body(story, subsidy) for story in stories]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"tidings: {file}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    published = []
    with closing(Client(url, key, retry_seconds=10)) as client:
        for body in bodies:
            try:
                answer = client.post("/v1/stories", body, idempotency_key=f"load-{body['slug']}"[:128])
            except ClientError as error:
                print(f"tidings: {body['slug']}: {error} {json.dumps(error.details)}", file=sys.stderr)
                return 1
            published.append(answer)
            if not as_json:
                print(f"{answer['slug']}  {len(answer['markets'])} markets  position {answer['position']}")
    if as_json:
        print(json.dumps(published))
    return 0


def story_body(story: dict[str, Any], subsidy: str) -> dict[str, Any]:
    """Return a story as the API takes it: without what is not its business, its markets with the terms they lack."""
    close_time = format_time(parse_time(story["published_at"]) + CLOSE_AFTER)
    terms = {"subsidy": subsidy, "close_time": close_time}
    return {name: value for name, value in story.items() if name in _STORY} | {
        "slug": story["slug"],
        "markets": [{**terms, **market} for market in story.get("markets", [])],
    }
