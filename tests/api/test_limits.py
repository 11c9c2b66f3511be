"""An exchange with every field at its limit goes through its whole life over HTTP, and everything agrees in the end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from domain.account import OpenAccount
from domain.market import DISPUTE_SECONDS_MAX, OUTCOMES_MAX, SECOND, SUBSIDY_MAX, Evidence, OpenMarket
from domain.money import AMOUNT_MAX, MICRO, format_decimal
from domain.orders import OPEN_ORDERS_MAX
from domain.story import PublishStory
from messages.codecs import command_codec
from messages.fields import OUTCOME, Text
from messages.name_fields import Name
from messages.wire import format_time
from settings import Settings
from tests.api.command_line import tidings
from tests.api.conftest import Api, connected, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import httpx

NOON = 1_800_000_000 * SECOND
"""The time of the first command."""

JSON_INTEGER_MAX = 1 << 53
"""The largest integer that every reader of JSON keeps exactly."""


def longest(command: type[Any], name: str, start: str = "", filler: str = "市") -> str:
    """Return the longest text that a field takes, with this start; the filler has three bytes in UTF-8."""
    codec = command_codec(command).fields[name]
    codec = getattr(codec, "codec", codec)  # that of a field that may be null
    codec = getattr(codec, "item", codec)  # that of a list's items
    if isinstance(codec, Name):
        codec = OUTCOME
    assert isinstance(codec, Text)
    return start + filler * (codec.longest - len(start))


NAMES = [longest(OpenMarket, "outcomes", f"{number:02}") for number in range(OUTCOMES_MAX)]
EVIDENCE = {
    "text": longest(Evidence, "text"),
    "url": longest(Evidence, "url", "https://example.org/", "x"),
}
REASON = {"reason": "市" * 2_000}


def exact(text: str) -> int:
    """Return an integer of a JSON answer, which every reader must be able to keep exactly."""
    assert abs(int(text)) <= JSON_INTEGER_MAX, text
    return int(text)


@dataclass
class AtLimits:
    """The exchange, whose time stands where `time` says; every answer is checked for integers that JSON readers round."""

    api: Api
    time: int = NOON
    positions: list[int] = field(default_factory=list)

    def write(self, path: str, body: Any = None, key: str | None = None) -> dict[str, Any]:
        """Write what must be accepted; return the answer."""
        response = self.tried(path, body, key)
        assert response.status_code in {200, 201}, (path, response.text)
        answer: dict[str, Any] = json.loads(response.text, parse_int=exact)
        self.positions.append(answer.get("position", 0))
        return answer

    def tried(self, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        """Write; return the response."""
        api = self.api if key is None else self.api.as_key(key)
        return api.post(path, body, headers={"tidings-time": format_time(self.time)})

    def read(self, path: str, **parameters: Any) -> Any:
        """Read what must be there; return the data."""
        response = self.api.get(path, **parameters)
        assert response.status_code == 200, (path, response.text)
        return json.loads(response.text, parse_int=exact)["data"]

    def market(self, number: int, name: str, **terms: Any) -> dict[str, Any]:
        """Return a market's terms, all texts as long as may be."""
        return {
            "slug": longest(OpenMarket, "slug", f"{name}-{number}-", "x"),
            "question": longest(OpenMarket, "question", name),
            "outcomes": NAMES,
            "resolution_source": longest(OpenMarket, "resolution_source"),
            "close_time": "9999-12-31T23:59:59.999999Z",
            "dispute_seconds": DISPUTE_SECONDS_MAX,
            **terms,
        }

    def story(self) -> dict[str, Any]:
        """Publish a story; return its markets by the first word of their slugs."""
        largest, smallest = format_decimal(SUBSIDY_MAX), "1"
        yes_no, far = ["Yes", "No"], ["0.999", "0.001"]
        markets = [
            self.market(0, "large", subsidy=largest, fee_rate="1", dispute_bond=format_decimal(10_000_000 * MICRO)),
            self.market(1, "small", subsidy=smallest, fee_rate="0", dispute_bond="0"),
            self.market(2, "pair", subsidy=largest, fee_rate="1", outcomes=yes_no, initial_prices=far),
            self.market(3, "voided", subsidy=smallest, fee_rate="1", outcomes=yes_no),
        ]
        story = {
            "slug": longest(PublishStory, "slug", "the-", "x"),
            "title": longest(PublishStory, "title"),
            "body": longest(PublishStory, "body"),
            "category": longest(PublishStory, "category"),
            "source_url": longest(PublishStory, "source_url", "https://example.org/", "x"),
            "published_at": "1970-01-01T00:00:00Z",
            "markets": markets,
        }
        published = self.write("/stories", story)
        return {market["slug"].partition("-")[0]: market["market_id"] for market in published["markets"]} | {
            "story": published["story_id"]
        }

    def account(self, start: str, deposit: str) -> tuple[str, str]:
        """Open an account with a deposit; return its id and a key of its own."""
        account = self.write("/accounts", {"name": longest(OpenAccount, "name", start)})["account_id"]
        self.write(f"/accounts/{account}/deposits", {"amount": deposit})
        return account, self.write("/keys", {"roles": ["trader"], "account": account})["key"]


@pytest.fixture
def limits(database: str, run_folder: Path) -> Iterator[tuple[AtLimits, Settings]]:
    """An exchange that takes its clock from the commands, and the settings for the command line."""
    with start(database, run_folder, clock="command") as running:
        exchange = connected(running)
        yield AtLimits(exchange.api), Settings(dsn=database, home=run_folder, log_level="error")
        exchange.api.client.close()


def order(number: int, market: str, **fields: Any) -> dict[str, Any]:
    """Return an order with the longest client order id."""
    return {"client_order_id": str(number).zfill(64), "market_id": market, "side": "buy", "type": "market"} | fields


def trade(limits: AtLimits, markets: Mapping[str, str], rich: str) -> None:
    """Trade at the limits of prices and sizes, against the AMM: all of it in the large markets, and in the smallest."""
    wishes = [
        order(1, markets["large"], outcome=NAMES[0], spend="5000000"),
        order(2, markets["large"], outcome=NAMES[63], quantity="0.01"),
        order(3, markets["pair"], outcome="No", quantity=format_decimal(AMOUNT_MAX)),
        order(4, markets["pair"], outcome="Yes", spend="0.01"),
        order(5, markets["small"], outcome=NAMES[1], spend="100"),
        order(6, markets["small"], outcome=NAMES[0], quantity="1000000"),
        order(7, markets["voided"], outcome="Yes", quantity="1000"),
        order(8, markets["voided"], outcome="No", type="limit", limit_price="0.001", quantity="1000000000"),
        order(9, markets["voided"], outcome="No", type="limit", limit_price="0.999", quantity="0.01"),
    ]
    for wish in wishes:
        quote = {name: value for name, value in wish.items() if name != "client_order_id"}
        assert limits.tried("/quotes", quote, rich).status_code == 200
        limits.write("/orders", wish, rich)
    for market in ("large", "small", "pair"):
        limits.write(f"/markets/{markets[market]}/split", {"amount": "10000000"}, rich)
    for number, market in enumerate(("large", "pair"), 20):
        outcome = NAMES[5] if market == "large" else "No"
        sale = order(number, markets[market], side="sell", outcome=outcome, quantity="10000000")
        limits.write("/orders", sale, rich)
    limits.write(f"/markets/{markets['small']}/merge", {"amount": "0.000001"}, rich)


def rest(limits: AtLimits, markets: Mapping[str, str], key: str) -> None:
    """Rest a thousand orders of one account on all 64 outcomes; one more is refused."""
    wishes = [
        order(number, markets["large"], outcome=NAMES[number % 64], type="limit", quantity="0.01", limit_price="0.001")
        for number in range(100, 100 + OPEN_ORDERS_MAX)
    ]
    for begin in range(0, OPEN_ORDERS_MAX, 100):
        response = limits.tried("/orders/batch", {"orders": wishes[begin : begin + 100]}, key)
        assert response.status_code == 200, response.text
        assert [result.get("status") for result in response.json()["results"]] == ["resting"] * 100
    refused = limits.tried("/orders", wishes[0] | {"client_order_id": "one more"}, key)
    assert (refused.status_code, refused.json()["code"]) == (422, "TOO_MANY_ORDERS")


def resolve(limits: AtLimits, markets: Mapping[str, str], rich: str) -> None:
    """Close, determine, dispute, uphold, and finalize at the end of the longest window."""
    halves = {"payouts": {"Yes": "0.000001", "No": "0.999999"}, "evidence": EVIDENCE}
    equal = {"payouts": dict.fromkeys(NAMES, "0.015625"), "evidence": EVIDENCE}
    for name in ("large", "small", "pair"):
        path = f"/markets/{markets[name]}"
        limits.write(f"{path}/close")
        limits.write(f"{path}/determine", halves if name == "pair" else equal)
        limits.write(f"{path}/dispute", REASON, rich)
        limits.write(f"{path}/uphold")
    limits.time += DISPUTE_SECONDS_MAX * SECOND
    for name in ("large", "small", "pair"):
        path = f"/markets/{markets[name]}"
        assert limits.write(f"{path}/finalize")["odds"] in (halves["payouts"], dict.fromkeys(NAMES, "0.015625"))


def take_back(limits: AtLimits, markets: Mapping[str, str], rich: str, account: str) -> None:
    """Withdraw everything, then correct all markets that have paid and void the other one: the account is overdrawn."""
    available = limits.read(f"/accounts/{account}", min_position=limits.positions[-1])["available"]
    limits.write(f"/accounts/{account}/withdrawals", {"amount": available}, rich)
    for name in ("large", "small", "pair"):
        winner = "Yes" if name == "pair" else NAMES[63]
        body = {"payouts": {winner: "1"}, "evidence": EVIDENCE}
        corrected = limits.write(f"/markets/{markets[name]}/correct", body)
        assert corrected["odds"][winner] == "1.000000"
    limits.write(f"/markets/{markets['voided']}/void", REASON)
    assert limits.read(f"/accounts/{account}", min_position=limits.positions[-1])["overdrawn"]


def read_all(limits: AtLimits, names: Mapping[str, list[str]]) -> int:
    """Send every `GET` of the API for each of these names, now and at past positions; return how many answered 200."""
    schema = limits.api.client.get("/openapi.json").json()
    last = max(limits.positions)
    limits.read("/markets", min_position=last)
    answered = 0
    for path, methods in schema["paths"].items():
        if "get" not in methods or path.endswith(("/stream", "/ws")) or "{key_id}" in path:
            continue
        variable = path.partition("{")[2].partition("}")[0]
        for name in names.get(variable, []) if variable else [""]:
            for past in ({}, {"as_of_position": last // 2}, {"as_of_position": last}):
                response = limits.api.client.get(
                    path.replace(f"{{{variable}}}", name),
                    params=past if path.startswith("/v1") else {},
                    headers={"authorization": f"Bearer {limits.api.key}"},
                )
                assert response.status_code < 500, (path, name, past, response.text)
                if response.status_code == 200 and "json" in response.headers["content-type"]:
                    json.loads(response.text, parse_int=exact)
                answered += response.status_code == 200
    return answered


def test_an_exchange_at_its_limits(limits: tuple[AtLimits, Settings]) -> None:
    """64 outcomes of the longest names, the largest and smallest subsidies, fees of 0 and 1, 1,000 resting orders."""
    exchange, settings = limits
    markets = exchange.story()
    account, rich = exchange.account("rich", format_decimal(AMOUNT_MAX))
    other, key = exchange.account("rest", "10000000")
    trade(exchange, markets, rich)
    rest(exchange, markets, key)
    exchange.write(f"/markets/{markets['small']}/add-liquidity", {"amount": "9999999"})
    exchange.write(f"/markets/{markets['small']}/halt")
    exchange.write(f"/markets/{markets['small']}/resume")
    exchange.write(f"/markets/{markets['large']}/clarify", {"resolution_source": "市" * 2_000})
    names = {
        "market": [markets[name] for name in ("large", "small", "pair", "voided")],
        "account": [account, other],
        "story": [markets["story"]],
    }
    read_all(exchange, names)
    resolve(exchange, markets, rich)
    take_back(exchange, markets, rich, account)
    assert read_all(exchange, names) > 100

    ledger = exchange.read("/ledger", min_position=exchange.positions[-1])
    assert ledger["sum"] == "0.000000"
    assert all(row["parked"] == 0 for row in exchange.read("/status")["projections"])
    verified = tidings(settings, "verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
