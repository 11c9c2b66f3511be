"""What the portfolio and the page of a market say of one's own shares and credits, against the API's numbers."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest

from api.page.filters import signed
from domain.money import parse_decimal
from tests.api.http.test_rate_limits import at, serving

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Exchange
    from tests.page.conftest import Clients


def text_of(html: str) -> str:
    """Return the words of a piece of a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split(" ")).replace("\n", " ")


def rows_of(page: httpx.Response, table: str) -> list[list[str]]:
    """Return the texts of the cells of a table's rows."""
    (body,) = re.findall(rf'<tbody id="{table}".*?</tbody>', page.text, re.DOTALL)
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [[" ".join(text_of(cell).split(" ")).strip() for cell in re.findall(r"<td.*?</td>", row)] for row in rows]


def tiles_of(page: httpx.Response) -> dict[str, str]:
    """Return the numbers on top of the portfolio by their names."""
    return dict(re.findall(r"<div><dt>(.*?)</dt><dd[^>]*>([^<]*)", page.text))


ENDS = {
    "won": ({"Yes": "1"}, ["came true"]),
    "lost": ({"No": "1"}, ["did not come true"]),
    "split": ({"Yes": "0.25", "No": "0.75"}, ["paid in part"]),
    "voided": (None, ["voided: trades undone"]),
    "corrected": ({"No": "1"}, ["came true", "corrected: taken back", "did not come true"]),
}
"""What is paid at the end of a market, and the words for each payment to a holder of Yes, newest first."""


@pytest.mark.parametrize("end", ENDS)
def test_shares_that_ended_keep_a_line(exchange: Exchange, clients: Clients, end: str) -> None:
    """Also where nothing was paid. The amounts are those of the API; the market's page says the same."""
    api, trader, market = exchange.api, exchange.trader(), exchange.market(dispute_seconds=0)
    payouts, words = ENDS[end]
    path = f"/markets/{market['market_id']}"
    trader.place(market["market_id"], quantity="20")
    api.done(f"{path}/close")
    if payouts is None:
        done = api.done(f"{path}/void", {"reason": "It was wrong."})
    else:
        api.done(f"{path}/determine", {"payouts": payouts, "evidence": "It was seen."})
        done = api.done(f"{path}/finalize")
    if end == "corrected":
        done = api.done(f"{path}/correct", {"payouts": {"Yes": "1"}, "evidence": "Now right."})
    position = max(done["position"], exchange.head())
    paid = trader.api.data(f"/accounts/{trader.account_id}/settlements", min_position=position)
    client = clients.signed_in(trader.api.key)

    page = client.get("/portfolio", params={"min_position": position})

    assert page.status_code == 200
    assert rows_of(page, "positions")[0][0].startswith("No open positions.")
    rows = rows_of(page, "settled")
    assert [row[2] for row in rows] == words
    assert [row[4] for row in rows] == [signed(parse_decimal(each["amount"])) for each in paid]
    assert all(row[0] == market["question"] and row[1] == "Yes" and row[3] == "20.00" for row in rows)
    told = text_of(client.get(f"{path}?min_position={position}").text.partition('id="mine"')[2])
    assert all(word in told for word in words)


def test_a_bond_is_named_while_the_dispute_is_open(exchange: Exchange, clients: Clients) -> None:
    """It left the available credits and no total has it; when it returns, or is lost, it is named no more."""
    api = exchange.api
    for answer, left in (("uphold", "99.00"), ("determine", "100.00")):
        trader, market = exchange.trader(), exchange.market(dispute_seconds=3600)
        path = f"/markets/{market['market_id']}"
        client = clients.signed_in(trader.api.key)
        result = {"payouts": {"No": "1"}, "evidence": "It was seen."}
        api.done(f"{path}/close")
        api.done(f"{path}/determine", result)
        position = trader.api.done(f"{path}/dispute", {"reason": "It was not seen."})["position"]
        tiles = tiles_of(client.get("/portfolio", params={"min_position": position}))
        assert tiles["Available"] == "99.00"
        assert tiles["Bonds of your disputes, in no total"] == "1.00"

        position = api.done(f"{path}/{answer}", result if answer == "determine" else {})["position"]
        tiles = tiles_of(client.get("/portfolio", params={"min_position": position}))
        assert tiles["Available"] == left
        assert "Bonds of your disputes, in no total" not in tiles


def test_beside_the_value_stands_what_a_sale_would_bring(
    exchange: Exchange, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thin market one's own purchase lifts the value at once; the sale brings what the column said, and not more."""
    monkeypatch.setattr("api.page.sales.PATIENCE_SECONDS", 60)  # however busy this machine is
    monkeypatch.setattr("api.page.sales.KEPT_SECONDS", 0)
    trader, market = exchange.trader(), exchange.market(fee_rate="0.02")
    placed = trader.place(market["market_id"], quantity="60")
    client = clients.signed_in(trader.api.key)
    page = client.get("/portfolio", params={"min_position": placed["position"]})
    head = re.findall(r"<th[^>]*>([^<]*)", page.text.partition('id="positions"')[0].rpartition("<thead>")[2])
    ((*cells,),) = rows_of(page, "positions")
    row = dict(zip(head, cells, strict=True))
    assert float(row["Value"]) > float(row["Cost"]) > float(row["If sold now"])
    past = client.get("/portfolio", params={"as_of_position": placed["position"]}).text
    assert "If sold now" not in past  # nobody can sell then
    assert "If sold now" not in clients.new().get(f"/accounts/{trader.account_id}").text

    monkeypatch.setattr("api.page.sales.PATIENCE_SECONDS", 0)
    page = client.get("/portfolio", params={"min_position": placed["position"]})
    assert "\N{EN DASH}" in rows_of(page, "positions")[0]  # the page waits no longer for the engine than that
    monkeypatch.setattr("api.page.sales.PATIENCE_SECONDS", 60)
    waiting = trader.place(market["market_id"], side="sell", type="limit", quantity="60", limit_price="0.9")
    page = client.get("/portfolio", params={"min_position": waiting["position"]})
    assert "\N{EN DASH}" in rows_of(page, "positions")[0]  # these shares wait to be sold already
    trader.api.done("/orders/cancel", {})
    sold = trader.place(market["market_id"], side="sell", quantity="60")
    assert f"{float(sold['cost']) - float(sold['fee']):.2f}" == row["If sold now"]


def test_quotes_of_a_portfolio_are_charged_and_kept(
    exchange: Exchange, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded again and again they go to the engine once, as long as the shares stay; beyond the rate of writes not at all."""
    monkeypatch.setattr("api.page.sales.PATIENCE_SECONDS", 60)
    monkeypatch.setattr("api.page.sales.KEPT_SECONDS", 600)
    trader, market = exchange.trader(), exchange.market()
    position = trader.place(market["market_id"], quantity="10")["position"]
    with serving(exchange, key_writes_per_second=0.002, burst_ms=1_000_000) as api:  # two writes
        client = clients.signed_in(trader.api.key)
        client.base_url = api.client.base_url

        def sale() -> str:
            answer = client.get("/portfolio", params={"min_position": position})
            assert answer.status_code == 200
            return rows_of(answer, "positions")[0][6]

        first = sale()
        assert float(first) > 0
        assert [sale() for _ in range(4)] == [first] * 4
        position = trader.place(market["market_id"], quantity="10")["position"]  # by the other server
        assert float(sale()) > float(first)
        position = trader.place(market["market_id"], quantity="10")["position"]
        assert sale() == "\N{EN DASH}"
        assert at(api, trader).post("/orders", trader.order(market["market_id"])).status_code == 429
