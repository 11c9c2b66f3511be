"""`tidings load`: publish the stories and markets of a JSON file on a running server."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from api.cli.command import DONE, NO, WRONG_USE, add_command, complain, server_url

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings
    from tidings_client.call import Call

CLOSE_AFTER_SECONDS: Final = 3652 * 24 * 3600
"""The life of a market that names no `close_time`: ten years from its story."""

_STORY_FIELDS: Final = frozenset({"title", "body", "category", "published_at", "source_url", "slug", "markets"})


def add_commands(commands: Commands) -> None:
    """Declare `load`."""
    load = add_command(commands, "load", _load, "publish the stories and markets of a JSON file on a running server")
    load.add_argument("file", type=Path, help='{"stories": [...]}, in the form of POST /v1/stories')
    load.add_argument("--url", help="the server (default: host and port of the settings)")
    load.add_argument("--key", help="an operator's key (default: TIDINGS_OPERATOR_KEY)")
    load.add_argument("--subsidy", default="500", help="credits for the AMM of markets that name none (default 500)")
    load.add_argument("--json", action="store_true", help="print the stories as JSON")


def _load(options: Namespace, settings: Settings) -> int:
    operator_key = settings.operator_key.get_secret_value() if settings.operator_key else None
    key: str | None = options.key or operator_key
    if key is None:
        complain("an operator's key is needed: --key or TIDINGS_OPERATOR_KEY")
        return WRONG_USE
    url = options.url or server_url(settings.host, settings.port)
    return load(options.file, url, key, subsidy=options.subsidy, as_json=options.json)


def load(file: Path, url: str, key: str, *, subsidy: str, as_json: bool) -> int:
    """Publish every story of the file (`{"stories": [...]}`, in the form of the API); return the exit code.

    A story's slug, or without one its content, makes its id. So a file that is loaded again changes nothing, and a story
    whose fields have changed since is refused. Raises UnreachableError.
    """
    from tidings_client import ApiError, Client

    try:
        bodies = read_stories(file, subsidy)
    except (OSError, ValueError) as error:
        complain(f"{file}: {getattr(error, 'strerror', None) or error}")
        return WRONG_USE
    try:
        client = Client(url, key, retry_seconds=10, wait_for_server=False)
    except ValueError as error:
        complain(error)
        return WRONG_USE
    published: list[dict[str, Any]] = []
    with client:
        head = client.get_status().data.engine.position
        for number, body in enumerate(bodies, 1):
            try:
                answer = client.send(_publication(body))
            except ApiError as error:
                details = f" {json.dumps(error.details)}" if error.details else ""
                complain(f"{file}: story {number} ({body.get('slug') or body.get('title')}): {error}{details}")
                return NO
            published.append({**answer, "created": answer["position"] > head})
            if not as_json:
                _print_story(published[-1], url)
    if as_json:
        print(json.dumps(published))
    elif not published:
        print("the file has no stories")
    return DONE


def read_stories(file: Path, subsidy: str) -> list[dict[str, Any]]:
    """Return the stories of a file in the form of the API. Raises ValueError and OSError, with a message for people.

    The server checks the fields; here only the form of the file counts.
    """
    from messages.json_text import parse_json

    try:
        content = parse_json(file.read_bytes())
    except UnicodeDecodeError:
        raise ValueError("the file is not JSON in UTF-8") from None
    except RecursionError:
        raise ValueError("the file is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the file is not JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("stories"), list):
        raise ValueError('expected a JSON object with a list of "stories"')  # noqa: TRY004  the value of a file
    bodies = []
    for number, story in enumerate(content["stories"], 1):
        if not isinstance(story, dict):
            raise ValueError(f"story {number} is not a JSON object")  # noqa: TRY004  likewise
        markets = story.get("markets")
        if markets is not None and not (isinstance(markets, list) and all(isinstance(each, dict) for each in markets)):
            raise ValueError(f"the markets of story {number} are not a list of JSON objects")
        bodies.append(story_body(story, subsidy))
    return bodies


def story_body(story: dict[str, Any], subsidy: str) -> dict[str, Any]:
    """Return a story in the form of the API: only its fields, and each market with the terms that the file leaves out."""
    from domain.money import MICRO
    from messages.wire import TIME_MAX, format_time, parse_time

    terms = {"subsidy": subsidy}
    with suppress(ValueError, TypeError):  # the server names what is wrong with the time
        published = parse_time(story.get("published_at", ""))
        terms["close_time"] = format_time(min(published + CLOSE_AFTER_SECONDS * MICRO, TIME_MAX))
    markets = [{**terms, **market} for market in story.get("markets") or []]
    return {name: value for name, value in story.items() if name in _STORY_FIELDS} | {"markets": markets}


def _publication(body: dict[str, Any]) -> Call[dict[str, Any]]:
    """Return the call that publishes a story as the file has it: the server says what is wrong with it."""
    from tidings_client.call import Call

    headers = {"idempotency-key": _id_of(body), "content-type": "application/json"}
    content = json.dumps(body).encode()
    return Call("POST", "/v1/stories", dict[str, Any], headers=headers, content=content, writes=True)


def _id_of(body: dict[str, Any]) -> str:
    """Return the id under which a story is published: the same whenever it is loaded."""
    name = body.get("slug") or json.dumps(body, sort_keys=True)
    return f"load-{sha256(str(name).encode()).hexdigest()[:32]}"


def _print_story(story: dict[str, Any], url: str) -> None:
    """Print what became of a story: its id, its address, and a line for each of its markets."""
    did = "published" if story["created"] else "was there already"
    print(f"{story['title']}\n  {did}: {url}/v1/stories/{quote(story['slug'])}  {story['story_id']}")
    for market in story["markets"]:
        print(f"    {url}/v1/markets/{quote(market['slug']):<16} {market['market_id']}  {market['question']}")
