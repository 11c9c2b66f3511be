"""Random requests that schemathesis makes from the OpenAPI document, with ids, names and keys of a real exchange in them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

from api.key_store import ROLES
from tests.api import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case
    from schemathesis.schemas import APIOperation

    from tests.api.conftest import Exchange


@dataclass(frozen=True)
class World:
    """What random requests can name: ids and names by the parameter or field that takes them, and a key for each role."""

    url: str
    names: dict[str, list[str]]
    keys: dict[str, str | None]

    @property
    def roles(self) -> list[str]:
        """The roles to choose from, those that may do most more often."""
        return [*sorted(self.keys), "all", "all", "trader", "trader"]


def world_of(exchange: Exchange, url: str | None = None) -> World:
    """Fill an exchange, perhaps one that runs elsewhere, with markets of several statuses, traders, fills and resting orders."""
    markets = [exchange.market() for _ in range(3)]
    markets.append(exchange.market(outcomes=["Café", "B", "C"], dispute_seconds=60, fee_rate="0.05"))
    markets += [exchange.market(draft=True), exchange.market()]
    traders = [exchange.trader(), exchange.trader()]
    orders = []
    for market in markets[:3]:
        traders[0].place(market["market_id"], quantity="5")
        resting = {"type": "limit", "limit_price": "0.1", "quantity": "3"}
        orders += [trader.place(market["market_id"], **resting)["order_id"] for trader in traders]
    done = exchange.api.done
    closed = markets[-1]["market_id"]
    done(f"/markets/{closed}/close")
    done(f"/markets/{closed}/determine", {"payouts": {"Yes": "1"}, "evidence": {"text": "so it is"}})
    spare = done("/keys", {"roles": ["operator"]})["key_id"]
    stories = exchange.api.data("/stories")
    names = {
        "market": [market[name] for market in markets for name in ("market_id", "slug")],
        "story": [story[name] for story in stories for name in ("story_id", "slug")],
        "account": [name for trader in traders for name in (trader.account_id, trader.name)],
        "order_id": orders,
        "key_id": [spare],
        "outcome": ["Yes", "No", "Café"],
        "category": ["tests"],
        "cursor": [exchange.api.get("/markets", limit=2).json()["next_cursor"]],
        "quantity": ["0.01", "1", "10000000"],
        "amount": ["0.000001", "1", "10000000"],
        "spend": ["1", "1000000000"],
        "limit_price": ["0.001", "0.55", "0.999"],
        "price": ["0.3", "0.9"],
        "max_cost": ["0", "1"],
        "min_proceeds": ["0", "1"],
        "min_position": ["1"],
        "as_of_position": ["0", "20"],
        "subsidy": ["1", "10000000"],
        "close_time": ["2090-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
    }
    names["market_id"] = names["market"]
    for name in ("as_of", "start", "end"):
        names[name] = ["2090-01-01T00:00:00Z", "2024-10-24T10:02:00+01:00", "2024-10-24", "1729764120"]
    keys = {role: done("/keys", {"roles": [role], "account": traders[0].account_id})["key"] for role in ROLES}
    return World(url or exchange.running.url, names, {"anonymous": None, "all": exchange.api.key, **keys})


def operations() -> Iterator[APIOperation]:
    """Yield every operation of the document."""
    for found in schemathesis.openapi.from_dict(deepcopy(contract.document())).get_all_operations():
        yield found.ok()


def cases(operation: APIOperation) -> st.SearchStrategy[Case]:
    """Return requests for an operation: as it declares them, and others."""
    modes = [GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    return st.sampled_from(modes).flatmap(lambda mode: operation.as_strategy(generation_mode=mode))


@st.composite
def placed(draw: st.DrawFn, case: Case, world: World) -> Case:
    """Give a request values that an exchange has, and leave out some of what may be left out.

    Otherwise nearly all requests would be refused for a name that does not exist, or for one of their many fields.
    """
    body = case.body if isinstance(case.body, dict) else {}
    optional = {*(case.query or {}), *(set(body) - required_fields(case))}
    for part in (case.path_parameters, case.query, body):
        for name in list(part or {}):
            choices = ["keep", *["real"] * 2 * (name in world.names), *["drop"] * 2 * (name in optional)]
            match draw(st.sampled_from(choices)):
                case "real":
                    part[name] = draw(st.sampled_from(world.names[name]))
                case "drop":
                    del part[name]
    return case


def required_fields(case: Case) -> set[str]:
    """Return the fields that the body of a request must have."""
    declared = case.operation.definition.raw.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = declared.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return set(contract.document()["components"]["schemas"].get(name, {}).get("required", ()))


def send(case: Case, world: World, key: str | None) -> httpx.Response:
    """Send a request with a key and return the answer."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = case.call(base_url=world.url, headers=headers)
    request = httpx.Request(case.method, str(answer.request.url))
    kept = {name: values[0] for name, values in answer.headers.items() if name != "content-encoding"}
    return httpx.Response(answer.status_code, headers=kept, content=answer.content, request=request)


def problem(answer: httpx.Response, body: Any) -> str | None:
    """Return what is wrong with an answer: an error of the server, or one that breaks the document."""
    found = "an error of the server" if answer.status_code == 500 else contract.violation(answer)
    return found and f"{answer.request.method} {answer.request.url} {body!r}: {answer.status_code}, {found}"
