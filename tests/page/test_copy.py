"""What is shown only once can be copied: links of invitations, keys; and the page says so before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.api.conftest import FAR, OPERATOR_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.conftest import Exchange
    from tests.page.conftest import Visitor


def test_what_is_shown_once_is_copied(exchange: Exchange, visitors: Callable[..., Visitor]) -> None:
    """With a button that says it is done; without JavaScript the text stands there to be selected."""
    desk = visitors()
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=desk.url)
    page = desk.sign_in(OPERATOR_KEY)
    page.goto(f"{desk.url}/desk/people")
    expect(page.get_by_text("The link is shown once, on the next page")).to_be_visible()
    expect(page.get_by_text("The key is shown once, on the next page")).to_be_visible()
    for button, label in (("Make the link", "Link"), ("Make the key", "Key")):
        page.get_by_label("Name of its account").fill(exchange.trader().name)
        page.get_by_role("button", name=button).click()
        shown = page.get_by_label(label, exact=True).input_value()
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == shown

    plain = visitors(java_script_enabled=False)
    page = plain.sign_in(OPERATOR_KEY)
    page.goto(f"{plain.url}/desk/people")
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_label("Link", exact=True)
    expect(link).to_be_visible()
    expect(link).not_to_be_editable()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)


def test_an_invitation_outlives_a_reload(exchange: Exchange, visitors: Callable[..., Visitor]) -> None:
    """Its code leaves the address, and is in the form again when the page is loaded again."""
    made = exchange.api.done("/invitations", {"credits": "5", "uses": 1, "expires_at": FAR})
    page = visitors().open(made["link"])
    field = page.get_by_label("Invitation")
    expect(field).to_have_value(made["code"])
    assert made["code"] not in page.url
    page.reload()
    expect(field).to_have_value(made["code"])
