"""A person trades on the page: every test in a real browser, against a real exchange."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Route

    from tests.page.conftest import Newsroom, Visitor


def test_a_newcomer_buys_and_sees_it_in_the_portfolio(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """Sign in, type an amount, read what it does, confirm: the shares of the review are those that are bought."""
    visitor = visitors()
    visitor.sign_in(newsroom.trader.api.key or "")
    page = visitor.open(f"/markets/{newsroom.binary['slug']}")
    page.get_by_label("Credits to spend").fill("25")
    confirm = page.get_by_role("button", name=re.compile("^Buy Yes for "))
    review = page.locator("#review")
    expect(review).to_contain_text("otherwise 0")
    shares = review.locator("dd strong").first.inner_text()

    confirm.click()

    expect(page.locator("#placed")).to_contain_text(f"You bought {shares} Yes")
    expect(page.locator("#mine")).to_contain_text(f"{shares} shares")
    (position,) = newsroom.trader.api.data(
        f"/accounts/{newsroom.trader.account_id}/positions", min_position=newsroom.exchange.head()
    )
    assert f"{float(position['shares']):.2f}" == shares
    portfolio = visitor.open("/portfolio")
    expect(portfolio.locator("#positions")).to_contain_text("Will they return?")


def test_a_double_click_is_one_order(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """The form's id of the order makes it one, however often it is sent: by hand, by two tabs, without JavaScript."""
    visitor = visitors(java_script_enabled=False)
    visitor.sign_in(newsroom.trader.api.key or "")
    page = visitor.open(f"/markets/{newsroom.binary['slug']}")
    page.get_by_label("Credits to spend").fill("10")
    page.get_by_role("button", name="Show what it costs").click()
    fields = {
        each.get_attribute("name") or "": each.input_value()
        for each in page.locator(
            "#order input[type=hidden], #order input[name=amount], #order input[name=tolerance]"
        ).all()
    }
    form = fields | {"side": "buy", "outcome": "Yes", "kind": "market", "price": "", "step": "confirm"}
    headers = {"origin": visitor.url}
    sent = [
        visitor.context.request.post(
            f"{visitor.url}/markets/{newsroom.binary['slug']}/orders", form=form, headers=headers, max_redirects=0
        )
        for _ in range(2)
    ]

    assert [each.status for each in sent] == [303, 303]
    page.get_by_role("button", name=re.compile("^Buy Yes for ")).click()
    expect(page.locator("#placed")).to_contain_text("You bought")
    (order,) = newsroom.trader.api.data(
        f"/accounts/{newsroom.trader.account_id}/orders", min_position=newsroom.exchange.head()
    )
    assert order["status"] == "filled"


def test_odds_that_moved_refuse_the_order(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """Between review and confirm somebody else buys: nothing is bought, the new price is shown, what was typed stays."""
    visitor = visitors(java_script_enabled=False)
    visitor.expected = ("422",)
    visitor.sign_in(newsroom.trader.api.key or "")
    page = visitor.open(f"/markets/{newsroom.binary['slug']}")
    page.get_by_label("Credits to spend").fill("10")
    page.get_by_role("button", name="Show what it costs").click()
    newsroom.exchange.trader("1000").place(newsroom.binary["market_id"], quantity="200")

    page.get_by_role("button", name=re.compile("^Buy Yes for ")).click()

    expect(page.get_by_role("alert")).to_contain_text("The odds moved meanwhile, so nothing was traded")
    expect(page.get_by_label("Credits to spend")).to_have_value("10")
    positions = f"/accounts/{newsroom.trader.account_id}/positions"
    assert newsroom.trader.api.data(positions, min_position=newsroom.exchange.head()) == []
    page.get_by_role("button", name=re.compile("^Buy Yes for ")).click()
    expect(page.locator("#placed")).to_contain_text("You bought")


def test_too_little_money_is_said_beside_the_field(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """The words stand at the amount, which keeps what was typed; no button confirms what cannot be done."""
    visitor = visitors()
    visitor.expected = ("422",)
    visitor.sign_in(newsroom.trader.api.key or "")
    page = visitor.open(f"/markets/{newsroom.binary['slug']}")
    page.get_by_label("Credits to spend").fill("5000")

    expect(page.get_by_role("alert")).to_contain_text("You do not have enough credits")
    expect(page.get_by_label("Credits to spend")).to_have_value("5000")
    expect(page.get_by_role("button", name=re.compile("^Buy Yes for "))).to_have_count(0)


def test_a_large_order_is_asked_for_twice(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """More than half of what is available: the second button has other words than the first."""
    visitor = visitors()
    visitor.sign_in(newsroom.trader.api.key or "")
    page = visitor.open(f"/markets/{newsroom.binary['slug']}?outcome=No")
    page.get_by_label("Credits to spend").fill("600")
    page.get_by_role("button", name="Go on with this large order").click()
    page.get_by_role("button", name="Yes, place the large order").click()

    expect(page.locator("#placed")).to_contain_text("You bought")
    expect(page.locator("input[name=outcome][value=No]")).to_be_checked()  # people go on with what they traded


def test_the_keyboard_alone_buys_and_cancels(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """Sign in, place an order that waits, and cancel it, without a pointer."""
    visitor = visitors()
    page = visitor.open("/sign-in")
    page.keyboard.type(newsroom.trader.api.key or "")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()
    page.goto(f"{visitor.url}/markets/{newsroom.binary['slug']}")
    page.get_by_text("More options").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Kind").focus()
    page.keyboard.press("End")
    page.get_by_label("My price, in percent").focus()
    page.keyboard.type("10")
    page.locator("#amount").focus()
    page.keyboard.type("20")
    confirm = page.get_by_role("button", name="Wait to buy Yes at 10%")
    expect(confirm).to_be_enabled()
    expect(page.locator("#review")).to_contain_text("Set aside for it2.00")
    confirm.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#placed")).to_contain_text("20.00 shares wait at 10.0%")
    cancel = page.locator("#mine").get_by_role("button", name=re.compile("^Cancel"))
    expect(cancel).to_have_count(1)
    cancel.focus()
    page.keyboard.press("Enter")

    expect(page.locator("#mine")).not_to_contain_text("waiting")
    (order,) = newsroom.trader.api.data(
        f"/accounts/{newsroom.trader.account_id}/orders", min_position=newsroom.exchange.head()
    )
    assert order["status"] == "canceled"


def test_a_wrong_result_is_disputed_on_the_page(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """The bond is named before; a dispute without a reason is refused in words; afterwards everybody sees the reason."""
    api, market = newsroom.exchange.api, newsroom.exchange.market(dispute_seconds=3600)
    path = f"/markets/{market['market_id']}"
    newsroom.trader.place(market["market_id"], quantity="20")
    api.done(f"{path}/close")
    position = api.done(f"{path}/determine", {"payouts": {"No": "1"}, "evidence": "A mistake."})["position"]
    visitor = visitors()
    visitor.expected = ("422",)
    visitor.sign_in(newsroom.trader.api.key or "")
    page = visitor.open(f"/markets/{market['slug']}?min_position={position}")
    page.get_by_text("Is this result wrong?").click()
    expect(page.locator("#ticket-box")).to_contain_text("a bond of 1.00 credits")
    reason = page.get_by_label("What is wrong, and where one can see it")
    reason.fill("x" * 20_000)
    page.get_by_role("button", name="Dispute the result").click()
    expect(page.get_by_role("alert")).to_have_text("Say what is wrong.")
    reason.fill("It was seen on Monday.")
    page.get_by_role("button", name="Dispute the result").click()

    expect(page.locator("#notes")).to_contain_text("disputed: “It was seen on Monday.”")
    expect(page.locator("#state")).to_contain_text("Disputed")
    assert api.data(path, min_position=newsroom.exchange.head())["status"] == "disputed"


def test_an_order_without_an_answer_keeps_its_form(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """Trading is halted meanwhile, and the page hears of it: sent again with its id, the order is found, and is still one."""
    trader, market = newsroom.trader, newsroom.binary
    visitor = visitors()
    visitor.expected = ("Failed to load resource",)
    visitor.sign_in(trader.api.key or "")
    page = visitor.open(f"/markets/{market['slug']}")
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_label("Credits to spend").fill("5")
    confirm = page.get_by_role("button", name=re.compile("^Buy Yes for "))
    expect(confirm).to_be_enabled()
    sent = page.locator("#review [name=client_order_id]").input_value()

    def lose(route: Route) -> None:
        if "step=confirm" not in (route.request.post_data or ""):
            return route.continue_()
        route.fetch(max_redirects=0)
        newsroom.exchange.api.done(f"/markets/{market['market_id']}/halt")
        return route.abort()

    page.route("**/orders", lose)
    confirm.click()
    expect(page.locator("#state")).to_contain_text("Trading is halted")
    expect(confirm).to_be_enabled()
    assert page.locator("#review [name=client_order_id]").input_value() == sent
    page.unroute("**/orders")
    confirm.click()
    expect(page.locator("#placed")).to_contain_text("You bought")
    expect(page.locator("#ticket-box")).to_contain_text("Nobody can trade until it is resumed.")
    orders = trader.api.data(f"/accounts/{trader.account_id}/orders", min_position=newsroom.exchange.head())
    assert [each["client_order_id"] for each in orders] == [sent]
