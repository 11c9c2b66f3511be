"""A class of thirty: each joins with the same link and trades on the page at once."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.page.conftest import Newsroom

SAME = {"accept": "text/html", "sec-fetch-site": "same-origin"}
TRADES = 10


def fields_of(page: str, form: str) -> dict[str, str]:
    """Return the hidden fields of the form with this id or action, as a browser sends them."""
    part = page.partition(form)[2].partition("</form>")[0]
    found = re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"', part)
    return {name: unescape(value) for name, value in found}


def join_and_trade(url: str, code: str, number: int, slug: str) -> str:
    """Join as a person, trade ten times, the first time with a double click, and return the name."""
    with httpx.Client(base_url=url, headers=SAME, timeout=60, follow_redirects=True) as client:
        form = fields_of(client.get("/join").text, 'action="/join"')
        joined = client.post("/join", data=form | {"name": f"Pupil {number} of {slug}", "code": code})
        assert joined.status_code == 200, joined.text
        page = client.get(f"/markets/{slug}").text
        for trade in range(TRADES):
            asked = {"side": "buy", "outcome": "Yes" if (number + trade) % 2 else "No", "kind": "market", "price": ""}
            given = asked | {"amount": "5", "tolerance": "50"}
            order_id = fields_of(page, 'id="order"')["client_order_id"]
            form = given | {"client_order_id": order_id, "step": "review"}
            review = client.post(f"/markets/{slug}/orders", data=form).text
            form = given | fields_of(review, 'id="order"') | {"step": "confirm"}
            placed = [client.post(f"/markets/{slug}/orders", data=form) for _ in range(2 if trade == 0 else 1)]
            assert 'id="placed"' in placed[0].text, placed[0].text
            page = placed[-1].text
        return f"Pupil {number} of {slug}"


@pytest.mark.chaos
def test_thirty_people_trade_at_once(newsroom: Newsroom) -> None:
    """No order is placed twice, the odds are the same for all, and nobody sees another's orders."""
    exchange, slug = newsroom.exchange, newsroom.binary["slug"]
    link = exchange.api.done("/invitations", {"uses": 30, "expires_at": "2090-01-01T00:00:00Z", "credits": "1000"})
    url = exchange.running.url
    with ThreadPoolExecutor(30) as pool:
        names = list(pool.map(lambda number: join_and_trade(url, link["code"], number, slug), range(30)))

    position = exchange.head()
    for name in names:
        orders = exchange.api.data(f"/accounts/{name}/orders", min_position=position)
        assert [order["status"] for order in orders] == ["filled"] * TRADES
        assert len({order["client_order_id"] for order in orders}) == TRADES
    assert exchange.api.data(f"/markets/{slug}", min_position=position)["traders"] == 30
