"""A whole exchange in this process (PostgreSQL, engine, projector, HTTP on a socket), and helpers to use it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from api import logs
from api.processes import Embedded
from local.postgres import create_database, drop_database
from local.processes import free_port
from settings import Settings, environment
from tests.api import contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OPERATOR_KEY = "operator-key-of-the-tests-0123456789"
FAR = "2090-01-01T00:00:00Z"
_numbers = itertools.count(1)


@dataclass
class Api:
    """An HTTP client with a key; `get`, `post` and `send` return the response."""

    client: httpx.Client
    key: str | None = OPERATOR_KEY

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request with this client's key."""
        return {} if self.key is None else {"authorization": f"Bearer {self.key}"}

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send a request under /v1 with this client's key."""
        headers = {**self.headers, **options.pop("headers", {})}
        if body is not None:
            options["json"] = body
        response = self.client.request(
            method, path if path.startswith("/v1") else f"/v1{path}", headers=headers, **options
        )
        if method == "GET" and response.status_code == 200:
            answer = response.json()
            assert not isinstance(answer["data"], list) or "next_cursor" in answer, f"{path} is a list without a cursor"
        return response

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Read."""
        return self.send("GET", path, params=parameters)

    def data(self, path: str, **parameters: Any) -> Any:
        """Read what must be there: the data of the envelope. However slow the machine is, a position that is named comes."""
        patience = {"wait_ms": 30_000} if "min_position" in parameters else {}
        response = self.get(path, **patience | parameters)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Write."""
        return self.send("POST", path, {} if body is None else body, **options)

    def done(self, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """Write what must be accepted: the answer."""
        response = self.post(path, body, **options)
        assert response.status_code in {200, 201}, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def as_key(self, key: str | None) -> Api:
        """Return the same client with another key."""
        return Api(self.client, key)


@dataclass
class Trader:
    """An account with a key of its own."""

    api: Api
    account_id: str
    name: str

    def order(self, market_id: str, /, **fields: Any) -> dict[str, Any]:
        """Return the body of a market buy of 1 share of Yes, with these fields changed; None takes one out."""
        body = {
            "client_order_id": f"c{next(_numbers)}",
            "market_id": market_id,
            "outcome": "Yes",
            "side": "buy",
            "type": "market",
            "quantity": "1",
        } | fields
        return {name: value for name, value in body.items() if value is not None}

    def place(self, market_id: str, /, **fields: Any) -> dict[str, Any]:
        """Place an order that must be accepted."""
        return self.api.done("/orders", self.order(market_id, **fields))


@dataclass
class Exchange:
    """The exchange under test: its settings, so that it can be started again, and an operator's client."""

    running: Embedded
    api: Api
    slugs: dict[str, str] = field(default_factory=dict)

    def market(self, **terms: Any) -> dict[str, Any]:
        """Open a market with Yes and No on a story of its own."""
        number = next(_numbers)
        market = {
            "slug": f"market-{number}",
            "question": "Does it?",
            "outcomes": ["Yes", "No"],
            "subsidy": "100",
            "close_time": FAR,
            "resolution_source": "The test says so",
            "dispute_seconds": 0,
        } | terms
        story = {
            "slug": f"story-{number}",
            "title": f"Story {number}",
            "body": "Something happened.",
            "category": "tests",
            "published_at": "2024-10-24T10:02:00Z",
            "markets": [market],
        }
        answer: dict[str, Any] = self.api.done("/stories", story)["markets"][0]
        return answer

    def trader(self, deposit: str | None = "100") -> Trader:
        """Open an account with this deposit, and make a key for it."""
        name = f"trader {next(_numbers)}"
        account_id = self.api.done("/accounts", {"name": name})["account_id"]
        if deposit:
            self.api.done(f"/accounts/{account_id}/deposits", {"amount": deposit})
        key = self.api.done("/keys", {"roles": ["trader"], "account": account_id})["key"]
        return Trader(self.api.as_key(key), account_id, name)

    def head(self) -> int:
        """Return the log's last position."""
        position: int = self.api.get("/status").json()["data"]["engine"]["position"]
        return position

    def events_after(self, position: int) -> list[dict[str, Any]]:
        """Return the events after a position, without `CommandsRead`."""
        events = self.api.data("/events", after=position, limit=1000)
        return [event for event in events if event["type"] != "CommandsRead"]


def start(dsn: str, home: Path, **more: Any) -> Embedded:
    """Return an exchange on this database, not started yet."""
    chosen = {
        "withdrawal_hold_seconds": 0,
        "operator_key": SecretStr(OPERATOR_KEY),
        "log_level": "error",
        "port": 0,
        **more,
    }
    settings = Settings(dsn=dsn, home=home, **chosen)
    logs.configure(settings)
    return Embedded(settings, one_process=True)


def connected(running: Embedded) -> Exchange:
    """Return a started exchange with a client."""
    return Exchange(running, Api(httpx.Client(base_url=running.url, timeout=60)))


@pytest.fixture(scope="session", autouse=True)
def _contract() -> Iterator[None]:
    """Hold every answer that a client of httpx gets to the OpenAPI document, whichever server it comes from."""
    send = httpx.Client.send

    def checked(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(client, request, **options)
        if type(client._transport) is httpx.HTTPTransport and not options.get("stream"):  # it is a server's, and whole
            contract.check(response)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "send", checked)
        yield


@pytest.fixture
def begin() -> Iterator[Callable[[str, Path], Exchange]]:
    """A function that starts an exchange on a database; all exchanges that still run end with the test."""
    with ExitStack() as stack:

        def begun(dsn: str, home: Path) -> Exchange:
            found = connected(stack.enter_context(start(dsn, home)))
            stack.callback(found.api.client.close)
            return found

        yield begun


@pytest.fixture(scope="session")
def exchange(postgres_dsn: str, run_folder: Path) -> Iterator[Exchange]:
    """One exchange for all tests that can share it: each makes its own markets and accounts."""
    name = f"api_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    with start(make_conninfo(postgres_dsn, dbname=name), run_folder) as running:
        found = connected(running)
        yield found
        found.api.client.close()
    drop_database(postgres_dsn, name)


def start_another(settings: Settings) -> subprocess.CompletedProcess[str]:
    """Start a second server on the same database, and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "api", "serve"],
        env=environment(settings.model_copy(update={"port": free_port()})),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
