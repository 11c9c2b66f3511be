"""What errors of the API say to people: words by their code or, for a value that cannot be used, by its field.

The API's own messages are for programs and name their fields. No page shows one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.page.languages import translate as _

if TYPE_CHECKING:
    from collections.abc import Mapping


def problem_words(code: str, details: Mapping[str, Any]) -> str:
    """Return an error in words; a code without words of its own is named, and so is a field."""
    if found := _codes().get(code):
        return found
    field = str(details.get("field") or ", ".join(details.get("parameters", ())))
    if field:
        return (_fields() | _more_fields()).get(field) or _("This cannot be used: %(field)s.") % {"field": field}
    return _("This did not work. The exchange calls it %(code)s.") % {"code": code}


def field_words(field: str) -> str | None:
    """Return what a field of a form of the desk must be, beside which the words stand; None for any other."""
    return _fields().get(field)


def _codes() -> dict[str, str]:
    busy = _("The exchange is busy; nothing was done. Try again in a moment.")
    unknown = _(
        "The exchange did not answer in time. If you sent something, look whether it was done before you send it again."
    )
    return _order_codes() | {
        "NOT_FOUND": _("There is no such page."),
        "STORY_NOT_FOUND": _("There is no such story."),
        "MARKET_NOT_FOUND": _("There is no such market."),
        "ACCOUNT_NOT_FOUND": _("There is no account of this name."),
        "INVITATION_NOT_FOUND": _("There is no such invitation. Is the link whole?"),
        "INVITATION_EXPIRED": _("The invitation has expired."),
        "INVITATION_REVOKED": _("The invitation was taken back."),
        "INVITATION_USED_UP": _("The invitation was used up by others."),
        "ACCOUNT_EXISTS": _("Somebody has this name already, or one that looks like it."),
        "FORBIDDEN": _("Your key does not allow this, or the form came from another site."),
        "MARKET_STATUS": _("Meanwhile the market is in another state. What can be done now stands below."),
        "DISPUTE_WINDOW_OPEN": _("The result can still be disputed. Pay out when the window has ended."),
        "DISPUTE_WINDOW_CLOSED": _("The time for disputes is over."),
        "CLOSE_TIME_PASSED": _("Say when trading ends: a time in the future."),
        "TOO_MANY_MARKETS": _("This story has as many markets as it may have."),
        "TOO_MANY_ACCOUNTS": _("The exchange has as many accounts as it may have."),
        "TOO_MANY_KEYS": _("The account has as many keys as it may have."),
        "NOT_YET_PROJECTED": _("This page is not up to date yet. Load it again in a moment."),
        "INTERNAL": _("The exchange made a mistake. Whoever runs it finds the details in its log."),
        "LOG_LOST": _("The exchange stands still until people have restored its log."),
        **dict.fromkeys(("BUSY", "TOO_MANY_WAITS", "TOO_MANY_CONNECTIONS"), busy),
        **dict.fromkeys(("READ_TIMEOUT", "UNAVAILABLE"), unknown),  # perhaps of a read after a write that was decided
    }


def _order_codes() -> dict[str, str]:
    return {
        "INSUFFICIENT_FUNDS": _("You do not have enough credits for this."),
        "INSUFFICIENT_SHARES": _("You do not have that many shares to sell."),
        "REDUCE_ONLY": _("You have no shares of this outcome to sell."),
        "ORDER_TOO_SMALL": _("That is too little: the smallest order is 0.01."),
        "ORDER_NOT_OPEN": _("This order does not wait any more."),
        "ORDER_NOT_FOUND": _("There is no such order."),
        "SLIPPAGE": _("The odds moved meanwhile, so nothing was traded. Here is the new price."),
        "ACCOUNT_OVERDRAWN": _("Your balance is below zero: you can only sell or cancel."),
        "MARKET_NOT_ACTIVE": _("This market takes no orders now."),
        "TOO_MANY_ORDERS": _("You have as many waiting orders as you may have. Cancel one first."),
        "BOOK_FULL": _("Too many orders wait in this market. Cancel one of yours first."),
        "RATE_LIMITED": _("That was too fast. Try again in a moment."),
        "REPLY_TIMEOUT": _("No answer came in time. Send it again: it is still done only once."),
        "COMMAND_ID_REUSED": _("This form was sent before with something else in it. Load the page again."),
        "INVALID_PRICE": _("The price must lie between 0.1 and 99.9 percent, in steps of 0.1."),
    }


def _fields() -> dict[str, str]:
    """Return what each field of the desk must be, by the names of the forms' fields."""
    return {
        "title": _("Write a title, of at most 300 characters."),
        "body": _("Write the text of the story."),
        "category": _("Name a category, of at most 64 characters."),
        "published_at": _("Say when the story was published."),
        "source_url": _("An address begins with http:// or https://."),
        "evidence_url": _("An address begins with http:// or https://."),
        "question": _("Ask a question, of at most 500 characters."),
        "outcomes": _("Name 2 to 64 outcomes, one a line, all different."),
        "prices": _("Give one number for each outcome, one a line, from 0.1 to 99.9. Together they must be 100."),
        "subsidy": _("Type a number of credits, from 1 to 1000000000."),
        "fee": _("Type a percentage from 0 to 100."),
        "close_time": _("Say when trading ends: a time in the future."),
        "hours": _("Type a whole number of hours, from 0 to 8760."),
        "resolution_source": _("Say who or what decides the result."),
        "winner": _("Choose what came true, or type what each outcome pays. Together they must pay 100 percent."),
        "evidence": _("Say what shows it."),
        "reason": _("Give a reason."),
        "amount": _("Type a number of credits above zero."),
        "credits": _("Type a number of credits."),
        "uses": _("Type a whole number from 1 to 1000000."),
        "days": _("Type a whole number of days, from 1 to 3650."),
        "name": _("Type a name, of at most 100 characters: letters of one script, no signs that cannot be seen."),
        "account": _("Name the account."),
    }


def _more_fields() -> dict[str, str]:
    """Return what is wrong with other fields, and with parameters of addresses."""
    number = _("This number is too large, or has more than six decimals.")
    return {
        "code": _("There is no such invitation. Is the link whole?"),
        "form_key": _("This form is not whole. Load the page again."),
        "as_of": _("This is no time: write it as 2024-11-12T10:02."),
        "as_of_position": _("This is no position: it is a whole number."),
        **dict.fromkeys(("quantity", "spend", "limit_price", "max_cost", "min_proceeds"), number),
    }
