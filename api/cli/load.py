"""`tidings load`: publish the stories and markets of a JSON file on a running server."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from api.cli.command import DONE, NO, WRONG_USE, add_command, complain

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings

CLOSE_AFTER_SECONDS: Final = 3652 * 24 * 3600
"""The life of a market that names no `close_time`: ten years from its story."""

_STORY_FIELDS: Final = frozenset({"title", "body", "category", "published_at", "source_url", "slug", "markets"})


def add_commands(commands: Commands) -> None:
    """Declare `load`."""
    load = add_command(commands, "load", _load, "publish the stories and markets of a JSON file on a running server")
    load.add_argument("file", type=Path)
    load.add_argument("--url", help="the server (default: host and port of the settings)")
    load.add_argument("--key", help="an operator's key (default: TIDINGS_OPERATOR_KEY)")
    load.add_argument("--subsidy", default="500", help="credits for the AMM of markets that name none (default 500)")
    load.add_argument("--json", action="store_true", help="print the stories as JSON")


def _load(options: Namespace, settings: Settings) -> int:
    url = options.url or f"http://{settings.host}:{settings.port}"
    operator_key = settings.operator_key.get_secret_value() if settings.operator_key else None
    key: str | None = options.key or operator_key
    if key is None:
        complain("an operator's key is needed: --key or TIDINGS_OPERATOR_KEY")
        return WRONG_USE
    return load(options.file, url, key, subsidy=options.subsidy, as_json=options.json)


def load(file: Path, url: str, key: str, *, subsidy: str, as_json: bool) -> int:
    """Publish every story of the file (`{"stories": [...]}`, in the form of the API); return the exit code.

    A story's slug makes its id. So a file that is loaded again changes nothing, and a story whose fields have changed
    since is refused.
    """
    from api.client import ClientError, HttpClient
    from messages.json_text import parse_json

    try:
        stories = parse_json(file.read_bytes())["stories"]
        bodies = [story_body(story, subsidy) for story in stories]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        complain(f"{file}: {type(error).__name__}: {error}")
        return WRONG_USE
    published = []
    with closing(HttpClient(url, key, retry_seconds=10)) as client:
        for body in bodies:
            try:
                answer = client.post("/v1/stories", body, idempotency_key=f"load-{body['slug']}"[:128])
            except ClientError as error:
                complain(f"{body['slug']}: {error} {json.dumps(error.details)}")
                return NO
            published.append(answer)
            if not as_json:
                print(f"{answer['slug']}  {len(answer['markets'])} markets  position {answer['position']}")
    if as_json:
        print(json.dumps(published))
    return DONE


def story_body(story: dict[str, Any], subsidy: str) -> dict[str, Any]:
    """Return a story in the form of the API: only its fields, and each market with the terms that the file leaves out."""
    from domain.money import MICRO
    from messages.wire import format_time, parse_time

    close_time = format_time(parse_time(story["published_at"]) + CLOSE_AFTER_SECONDS * MICRO)
    terms = {"subsidy": subsidy, "close_time": close_time}
    return {name: value for name, value in story.items() if name in _STORY_FIELDS} | {
        "slug": story["slug"],
        "markets": [{**terms, **market} for market in story.get("markets", [])],
    }
