"""Markets over HTTP, from draft to paid out, disputed, corrected and voided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


EVIDENCE = {"text": "It was in the papers", "url": "https://example.org/paper"}


def test_from_draft_to_paid_out(exchange: Exchange) -> None:
    """Each step returns the market after it and its position; a share of the winning outcome pays one credit."""
    market, trader = exchange.market(draft=True), exchange.trader("100")
    path = f"/markets/{market['market_id']}"
    assert market["status"] == "draft"
    statuses = [exchange.api.done(f"{path}/{act}")["status"] for act in ("activate", "halt", "resume")]
    bought = trader.place(market["market_id"], quantity="10")

    statuses += [
        exchange.api.done(f"{path}/clarify", {"resolution_source": "Only this paper"})["status"],
        exchange.api.done(f"{path}/add-liquidity", {"amount": "50"})["status"],
        exchange.api.done(f"{path}/close")["status"],
        exchange.api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": EVIDENCE})["status"],
    ]
    final = exchange.api.done(f"{path}/finalize")

    assert statuses[:3] == ["active", "halted", "active"]
    assert statuses[3:6] == ["active", "active", "closed"]
    assert statuses[6] in {"determined", "finalized"}
    assert final["status"] == "finalized"
    assert [row["payout"] for row in final["outcomes"]] == ["1.000000", "0.000000"]
    account = trader.api.data(f"/accounts/{trader.account_id}", min_position=final["position"])
    assert float(account["available"]) == 100 - float(bought["cost"]) + 10
    seen = exchange.api.data(path)
    assert [wording["version"] for wording in seen["resolutions"]] in ([1, 2], [2, 1])


def test_dispute_uphold_and_void(exchange: Exchange) -> None:
    """An upheld determination costs the disputer its bond; a void returns everything else."""
    market, trader = exchange.market(dispute_seconds=3600, dispute_bond="5"), exchange.trader("100")
    path = f"/markets/{market['market_id']}"
    trader.place(market["market_id"], quantity="10")
    exchange.api.done(f"{path}/close")
    exchange.api.done(f"{path}/determine", {"payouts": {"Yes": "0.5", "No": "0.5"}, "evidence": EVIDENCE})
    early = exchange.api.post(f"{path}/finalize")
    assert (early.status_code, early.json()["code"]) == (409, "DISPUTE_WINDOW_OPEN")

    small = trader.api.post(f"{path}/dispute", {"reason": "no", "bond": "1"})
    assert (small.status_code, small.json()["code"]) == (422, "BOND_TOO_SMALL")
    assert trader.api.done(f"{path}/dispute", {"reason": "It was otherwise", "bond": "5"})["status"] == "disputed"
    assert exchange.api.done(f"{path}/uphold")["status"] == "determined"
    voided = exchange.api.done(f"{path}/void", {"reason": "The question made no sense"})
    assert voided["status"] == "voided"

    account = trader.api.data(f"/accounts/{trader.account_id}", min_position=voided["position"])
    assert account["available"] == "100.000000"


def test_a_correction_pays_the_others(exchange: Exchange) -> None:
    """After a correction the other side is paid, and the first side has what it would have had."""
    market, yes, no = exchange.market(), exchange.trader("100"), exchange.trader("100")
    path = f"/markets/{market['market_id']}"
    cost_yes = yes.place(market["market_id"], quantity="10")["cost"]
    cost_no = no.place(market["market_id"], quantity="10", outcome="No")["cost"]
    exchange.api.done(f"{path}/close")
    exchange.api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": EVIDENCE})
    exchange.api.done(f"{path}/finalize")

    position = exchange.api.done(f"{path}/correct", {"payouts": {"No": "1"}, "evidence": EVIDENCE})["position"]

    account = yes.api.data(f"/accounts/{yes.account_id}", min_position=position)
    other = no.api.data(f"/accounts/{no.account_id}", min_position=position)
    assert float(account["available"]) == 100 - float(cost_yes)
    assert float(other["available"]) == 110 - float(cost_no)


def test_the_odds_of_a_finalized_market_are_its_payouts(exchange: Exchange) -> None:
    """The last prices stand beside them: in the market, in lists, in its story, in the past, and after a correction."""
    market, trader = exchange.market(), exchange.trader("100")
    market_id, path = market["market_id"], f"/markets/{market['market_id']}"
    before = trader.place(market_id, quantity="10")["position"]
    exchange.api.done(f"{path}/close")
    determined = exchange.api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": EVIDENCE})
    finalized = exchange.api.done(f"{path}/finalize")
    payouts = {"Yes": "0.25", "No": "0.75"}
    corrected = exchange.api.done(f"{path}/correct", {"payouts": payouts, "evidence": EVIDENCE})
    prices = {"Yes": "0.517322", "No": "0.482678"}

    assert (determined["odds"], determined["last_prices"]) == (prices, prices)
    assert finalized["odds"] == {"Yes": "1.000000", "No": "0.000000"}
    assert [row["price"] for row in finalized["outcomes"]] == ["0.517322", "0.482678"]
    assert corrected["odds"] == {"Yes": "0.250000", "No": "0.750000"}
    for position, odds in (
        (before, prices),
        (determined["position"], prices),
        (finalized["position"], finalized["odds"]),
        (corrected["position"], corrected["odds"]),
    ):
        found = [
            exchange.api.data(path, as_of_position=position),
            exchange.api.data("/markets", as_of_position=position, story=market["story_id"])[0],
            exchange.api.data(f"/stories/{market['story_id']}", as_of_position=position)["markets"][0],
        ]
        assert [(row["odds"], row["last_prices"]) for row in found] == [(odds, prices)] * 3


def test_the_odds_of_a_voided_market_are_its_last_prices(exchange: Exchange) -> None:
    """It pays nothing, so nothing takes the place of the prices, not even payouts that were named before."""
    market, trader = exchange.market(dispute_seconds=60), exchange.trader("100")
    path = f"/markets/{market['market_id']}"
    trader.place(market["market_id"], quantity="10")
    exchange.api.done(f"{path}/close")
    exchange.api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": EVIDENCE})
    voided = exchange.api.done(f"{path}/void", {"reason": "wrong"})

    assert voided["odds"] == voided["last_prices"] == {"Yes": "0.517322", "No": "0.482678"}
    assert voided["open_interest"] == "0.000000"


def test_open_interest_is_the_most_that_the_market_may_have_to_pay(exchange: Exchange) -> None:
    """Thirty complete sets of two outcomes are 30, because one outcome comes true; five more of one outcome are 35."""
    market, trader = exchange.market(), exchange.trader("100")
    path = f"/markets/{market['market_id']}"
    position = trader.api.done(f"{path}/split", {"amount": "30"})["position"]
    sets = exchange.api.data(path, min_position=position)
    position = trader.place(market["market_id"], outcome="No", quantity="5")["position"]
    more = exchange.api.data(path, min_position=position)

    assert sets["open_interest"] == "30.000000"
    assert more["open_interest"] == "35.000000"
    assert [row["open_interest"] for row in more["outcomes"]] == ["30.000000", "35.000000"]


def test_payouts_must_be_right(exchange: Exchange) -> None:
    """A sum other than 1, an unknown outcome or a JSON number is refused with its code; the market stays as it was."""
    market = exchange.market()
    path = f"/markets/{market['market_id']}"
    exchange.api.done(f"{path}/close")
    cases = [
        ({"Yes": "0.5"}, 422, "INVALID_PAYOUTS"),
        ({"Yes": "0.6", "No": "0.6"}, 422, "INVALID_PAYOUTS"),
        ({"Maybe": "1"}, 422, "UNKNOWN_OUTCOME"),
        ({"Yes": 1}, 422, "INVALID_FIELD"),
        ({"Yes": "-1", "No": "2"}, 422, "INVALID_FIELD"),
    ]

    for payouts, status, code in cases:
        response = exchange.api.post(f"{path}/determine", {"payouts": payouts, "evidence": EVIDENCE})
        assert (response.status_code, response.json()["code"]) == (status, code)
    assert exchange.api.data(path)["status"] == "closed"


def test_what_the_status_does_not_allow(exchange: Exchange) -> None:
    """Actions that the status of an active market does not allow are 409."""
    market = exchange.market()
    path = f"/markets/{market['market_id']}"
    body = {"payouts": {"Yes": "1"}, "evidence": EVIDENCE}
    for act, sent in (("activate", {}), ("resume", {}), ("determine", body), ("finalize", {}), ("correct", body)):
        response = exchange.api.post(f"{path}/{act}", sent)
        assert (response.status_code, response.json()["code"]) == (409, "MARKET_STATUS"), act


def test_bad_markets(exchange: Exchange) -> None:
    """Invalid terms are a 422 that names the field."""
    story = exchange.market()["story_id"]
    terms = {
        "slug": "terms", "question": "Does it?", "outcomes": ["Yes", "No"], "subsidy": "100",
        "close_time": "2090-01-01T00:00:00Z", "resolution_source": "us",
    }  # fmt: skip
    cases = [
        ({"outcomes": ["Yes"]}, "outcomes"),
        ({"outcomes": ["Yes", "Yes"]}, "outcomes"),
        ({"outcomes": [str(i) for i in range(65)]}, "outcomes"),
        ({"initial_prices": ["0.5", "0.4"]}, "initial_prices"),
        ({"initial_prices": ["0.5"]}, "initial_prices"),
        ({"initial_prices": [0.5, 0.5]}, "initial_prices[0]"),
        ({"subsidy": "0"}, "subsidy"),
        ({"subsidy": 100}, "subsidy"),
        ({"fee_rate": "1.5"}, "fee_rate"),
        ({"close_time": "tomorrow"}, "close_time"),
        ({"close_time": "2090-01-01T00:00:00"}, "close_time"),
        ({"slug": "No Slug"}, "slug"),
        ({"dispute_seconds": -1}, "dispute_seconds"),
        ({"colour": "red"}, "colour"),
    ]

    for change, field in cases:
        response = exchange.api.post(f"/stories/{story}/markets", terms | change)
        assert (response.status_code, response.json()["code"]) == (422, "INVALID_FIELD"), change
        assert response.json()["details"]["field"] == field
    past = exchange.api.post(f"/stories/{story}/markets", terms | {"close_time": "2001-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["code"]) == (409, "CLOSE_TIME_PASSED")
