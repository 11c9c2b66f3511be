"""An operator publishes, invites, resolves wrongly and corrects, with what each does shown before: on the page alone."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect
from psycopg import connect

from tests.api.conftest import OPERATOR_KEY
from tests.page.conftest import SAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.api.conftest import Exchange
    from tests.page.conftest import Clients, Visitor

numbers = itertools.count(1)


def publish(page: Page, title: str, count: int = 1) -> None:
    """Write a story with markets, look at it, and publish it."""
    page.get_by_role("link", name="Write a story").click()
    page.get_by_label("Title").fill(title)
    page.get_by_label("Text;").fill("First.\n\nSecond.")
    page.get_by_label("Category").fill("desk")
    for number in range(count):
        if number:
            page.get_by_role("button", name="Add a market").click()
        fields = page.locator("fieldset").nth(number)
        fields.get_by_label("Question").fill(f"{title}: question {number}?")
        fields.get_by_label("Trading ends").fill("2090-01-01T00:00")
        fields.get_by_text("First odds, subsidy").click()
        fields.get_by_label("Hours in which").fill("0")
        fields.get_by_label("How it resolves").fill("The test says so.")
    page.get_by_role("button", name="Show how it will look").click()
    expect(page.get_by_text(f"The most the house can lose with this story: {200 * count}.00")).to_be_visible()
    page.get_by_role("button", name="Publish it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


def buy(page: Page, credits_: str) -> None:
    """Buy Yes for so many credits."""
    page.get_by_label("Credits to spend").fill(credits_)
    expect(page.locator("#review")).to_contain_text("Buy Yes for")
    page.get_by_role("button", name=re.compile("^Buy Yes for ")).click()
    expect(page.locator("#placed")).to_contain_text("You bought")


def act(page: Page, name: str) -> str:
    """Ask what a command does, confirm it, and return what was shown before."""
    page.get_by_role("button", name=f"Show what it does: {name}").click()
    review = page.locator("#review").inner_text()
    page.get_by_role("button", name=f"Yes: {name}").click()
    expect(page.locator(".note.good")).to_contain_text(name)
    return review


def test_a_story_from_the_first_word_to_its_correction(exchange: Exchange, visitors: Callable[..., Visitor]) -> None:
    """What the desk says will happen to an account is what happens to it."""
    title = f"The desk writes {next(numbers)}"
    desk = visitors()
    page = desk.sign_in(OPERATOR_KEY)
    page.goto(f"{desk.url}/desk")
    publish(page, title, count=3)
    page.goto(f"{desk.url}/desk/people")
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_label("Link").input_value()

    friend = visitors(viewport={"width": 390, "height": 844})
    theirs = friend.open(link.removeprefix(friend.url))
    theirs.get_by_label("Your name here").fill(f"Friend of {title}")
    theirs.get_by_role("button", name="Join").click()
    expect(theirs.get_by_label("Your key")).to_have_value(re.compile("^tdg_"))
    theirs.get_by_role("link", name="I have kept it").click()
    theirs.get_by_role("link", name=f"{title}: question 0?").first.click()
    buy(theirs, "100")
    shares = theirs.locator("#mine .num").first.inner_text().split()[0]

    slug = theirs.url.partition("/markets/")[2].partition("?")[0]
    page.goto(f"{desk.url}/desk/markets/{slug}")
    assert "changes" not in act(page, "Close for good").partition("canceled")[2]
    page.get_by_label("What came true").select_option("No")
    page.get_by_label("Evidence: what shows it").fill("A mistake.")
    assert "Result: No" in act(page, "Say what happened")
    act(page, "Pay out")
    expect(theirs.locator("#state")).to_contain_text("Resolved: No")
    page.get_by_label("What came true").select_option("Yes")
    page.get_by_label("Evidence: what shows it").fill("Now right.")
    review = act(page, "Correct the result")
    assert f"+{shares}" in review
    assert "Result: Yes" in review
    expect(theirs.locator("#state")).to_contain_text("Resolved: Yes")
    theirs.goto(f"{friend.url}/portfolio")
    expect(theirs.locator("#entries")).to_contain_text(f"+{shares}")

    theirs.goto(f"{friend.url}/")
    theirs.get_by_role("link", name=f"{title}: question 1?").first.click()
    buy(theirs, "50")
    page.goto(f"{desk.url}/desk/markets/{theirs.url.partition('/markets/')[2].partition('?')[0]}")
    assert "+50.00" in act(page, "Void the market")
    expect(theirs.locator("#state")).to_contain_text("Voided")
    expect(theirs.locator("#said")).to_contain_text("Voided")  # what a screen reader hears


def test_what_cannot_be_done_is_said_in_words(exchange: Exchange, visitors: Callable[..., Visitor]) -> None:
    """A story without its fields, a payout within the window: nothing is done, what was typed stays."""
    desk = visitors()
    desk.expected = ("422",)
    page = desk.sign_in(OPERATOR_KEY)
    page.goto(f"{desk.url}/desk/stories/new")
    page.get_by_label("Title").fill("No market yet")
    page.get_by_label("Text;").fill("Words.")
    page.get_by_label("Category").fill("desk")
    page.locator("fieldset").get_by_label("Question").fill("When?")
    show = page.get_by_role("button", name="Show how it will look")
    show.click()
    expect(page.get_by_role("alert")).to_have_text("Say when trading ends: a time in the future.")
    expect(page.get_by_label("Trading ends")).to_be_focused()
    expect(page.get_by_label("Title")).to_have_value("No market yet")
    page.get_by_label("Trading ends").fill("2090-01-01T00:00")
    page.get_by_label("How it resolves").fill("The test says so.")
    page.get_by_text("First odds, subsidy").click()
    page.get_by_label("First odds").fill("70\n40")
    show.click()
    expect(page.get_by_role("alert")).to_contain_text("Together they must be 100")
    page.get_by_label("First odds").fill("70\n30")
    page.get_by_label("Fee in percent").fill("much")
    show.click()
    expect(page.get_by_role("alert")).to_have_text("Type a percentage from 0 to 100.")
    page.get_by_label("Fee in percent").fill("1")
    show.click()
    expect(page.get_by_role("button", name="Publish it")).to_be_visible()


def test_what_was_set_aside_is_shown(exchange: Exchange, visitors: Callable[..., Visitor]) -> None:
    """An event that a read model could not fold, with the reason; the desk says that there is one."""
    desk = visitors()
    page = desk.sign_in(OPERATOR_KEY)
    page.goto(f"{desk.url}/desk")
    expect(page.get_by_text("All parts are up to date.")).to_be_visible()
    park = (
        "INSERT INTO read_models.projection_parked (projection, partition, position, keys, topic, error) "
        "VALUES ('trades', 0, 999999, '{}', 'TradeSettled', 'it has no price')"
    )
    with connect(exchange.running.settings.dsn or "", autocommit=True) as connection:
        connection.execute(park)
        try:
            page.reload()
            expect(page.get_by_text("1 event could not be understood by a part.")).to_be_visible()
            page.get_by_role("link", name="What was set aside").click()
            expect(page.get_by_role("row").filter(has_text="it has no price")).to_contain_text("TradeSettled")
        finally:
            connection.execute("DELETE FROM read_models.projection_parked WHERE position = 999999")


def test_the_desk_says_how_a_proposed_result_becomes_right(exchange: Exchange, clients: Clients) -> None:
    """The rules let nobody change it while it can be disputed: the desk says what does, and it does."""
    trader, market = exchange.trader(), exchange.market(dispute_seconds=3600)
    path = f"/markets/{market['market_id']}"
    exchange.api.done(f"{path}/close")
    done = exchange.api.done(f"{path}/determine", {"payouts": {"No": "1"}, "evidence": "A mistake."})
    desk = clients.signed_in(exchange.api.key)
    page = desk.get(f"/desk{path}", params={"min_position": done["position"]}).text
    assert "Is the proposed result wrong?" in page
    assert f'href="/markets/{market["slug"]}">Page of the market' in page
    assert "Say what happened" not in page
    disputed = trader.api.done(f"{path}/dispute", {"reason": "It was not so."})
    page = desk.get(f"/desk{path}", params={"min_position": disputed["position"]}).text
    assert "say again what happened: the bond goes back" in page
    form = {"action": "determine", "step": "confirm", "winner": "Yes", "evidence": "Now right.", "form_key": "again"}
    assert desk.post(f"/desk{path}", data=form, headers=SAME).status_code == 303
    account = trader.api.data(f"/accounts/{trader.account_id}", min_position=exchange.head())
    assert account["available"] == "100.000000"
    assert exchange.api.data(path, min_position=exchange.head())["status"] == "determined"
